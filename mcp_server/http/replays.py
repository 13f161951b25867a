"""The Idempotency-Key header: which key a request has. What a key does is in core/replays.py."""

from __future__ import annotations

import re
from typing import Any

from core import errors
from core.model import operation
from mcp_server.http import arguments

HEADER = "idempotency-key"
ARGUMENT = "idempotency_key"  # of operations that know keys themselves
PATTERN = "^[ -~]{1,255}$"
LARGEST_INTEGER = 2**53  # beyond it, two numbers may be one to another reader of JSON, so they cannot be compared
_KEY = re.compile("[ -~]{1,255}")
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
