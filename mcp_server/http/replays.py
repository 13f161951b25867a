"""The Idempotency-Key header: the same key with the same request gets the same answer, and nothing is done twice."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from core import errors
from core.documents import canonical
from core.model import operation, principal
from mcp_server import session
from mcp_server.http import arguments, problems

HEADER = "idempotency-key"
ARGUMENT = "idempotency_key"  # of operations that know keys themselves
PATTERN = "^[ -~]{1,255}$"
LARGEST_INTEGER = 2**53  # beyond it, two numbers may be one to another reader of JSON, so they cannot be compared
_KEY = re.compile("[ -~]{1,255}")
_NOTHING_DONE = frozenset({400, 401, 403, 404, 413, 422, 429, 503})
_log = logging.getLogger(__name__)

Answer = tuple[int, bytes]
"""Status and JSON body."""
REPLAYED = "idempotent-replayed"  # the header of an answer that was kept


def key_of(op: operation.Operation, given: list[str], call: dict[str, Any]) -> str | None:
    """The idempotency key of a write, from its header or (where the operation has one) its argument.

    The argument is set from the header, so that the operation keeps the key itself. Raises Malformed for what is no
    key or cannot be compared, InvalidParams when header and argument differ.
    """
    if op.effect is operation.Effect.READ:
        return None
    own = ARGUMENT in op.schema.get("properties", {})
    argument = call.get(ARGUMENT) if own else None
    if len(given) > 1:
        raise arguments.Malformed("A request carries at most one Idempotency-Key.")
    key = given[0] if given else argument
    if key is None or not isinstance(key, str):
        return None  # of another type: the schema says so
    if _KEY.fullmatch(key) is None:
        raise arguments.Malformed(
            "The idempotency key is not one.",
            hint="A key has 1 to 255 printable ASCII characters; a UUID is a good one.",
            errors=[errors.Problem(f"/{ARGUMENT}", "must have 1 to 255 printable ASCII characters")],
        )
    if _beyond(call):
        raise arguments.Malformed(
            "With an idempotency key, integers are at most 2^53 in size, so that two requests can be compared.",
            hint="Send larger ones as strings, or leave the key out.",
        )
    if own:
        if argument not in (None, key):
            raise errors.InvalidParams(
                "The header Idempotency-Key and the argument idempotency_key differ.",
                errors=[errors.Problem(f"/{ARGUMENT}", "must be the key of the header, or left out")],
            )
        call[ARGUMENT] = key
        return None  # the operation keeps it
    return key


async def once(
    engine: session.EngineSession,
    op: operation.Operation,
    key: str,
    call: dict[str, Any],
    caller: principal.Caller,
    do: Callable[[], Awaitable[Answer]],
) -> tuple[Answer, bool]:
    """Do a write under a key, or give the answer that it had: (answer, whether it was kept from before).

    What was refused before anything was done is not kept: the key is free again. Raises what the beginning of a
    request raises, and Busy when the request is under way or was cut off; `do` raises nothing.
    """
    who = {"operation": op.name, "key": key}
    held = await engine.call("replay_begin", {**who, "digest": canonical.params_digest(call).hex()}, caller)
    if held["state"] == "done":
        return (held["status"], held["answer"].encode()), True
    if held["state"] == "running":
        raise InProgress("A request with this idempotency key is under way.", hint="Ask again in a moment.")
    if held["state"] == "interrupted":
        raise InProgress(
            "A request with this idempotency key was cut off, and it may or may not have been done.",
            hint="Look at the present state; if it was not done, send the request with a new key.",
        )
    status, body = await do()
    kept = {**who, "status": 0} if status in _NOTHING_DONE else {**who, "status": status, "answer": body.decode()}
    try:
        await engine.call("replay_end", kept, caller)
    except errors.SluiceError as error:
        # The answer stands; a repeat is told that the outcome is open, which is safe.
        _log.error("the answer of %s is not kept: %s", op.name, error.message)
    return (status, body), False


class InProgress(errors.Busy):
    """The key is held by a request that has no answer yet (HTTP 409)."""

    status = 409


def problem(error: errors.SluiceError) -> tuple[int, bytes]:
    """A fault as an answer that can be kept."""
    status = problems.status_of(error)
    return status, orjson.dumps(problems.body(error, status), default=str)


def _beyond(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack += item.values()
        elif isinstance(item, list):
            stack += item
        elif isinstance(item, int) and not -LARGEST_INTEGER <= item <= LARGEST_INTEGER:
            return True
    return False
