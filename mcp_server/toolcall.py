"""One tool call, resolved: which operation it is and with which arguments; how the flat form of a trigger's tool maps.

Pure; door.py finds what a name stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from core import errors
from core.model.operation import Operation
from core.model.trigger import MAX_WAIT_SECONDS

_RESERVED = {"_idempotency_key": "idempotency_key", "_wait_timeout_seconds": "wait_timeout_seconds"}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool: the operation that it is, and the operation's arguments as plain JSON values.

    What a user is asked about, and what then runs, is this one value.
    """

    tool: str
    operation: Operation
    arguments: dict[str, Any]

    def with_arguments(self, arguments: Mapping[str, Any]) -> ToolCall:
        """The same call with these arguments of the operation over its own."""
        return replace(self, arguments={**self.arguments, **arguments})

    def as_tool_error(self, error: errors.SluiceError) -> errors.SluiceError:
        """An error of the operation with pointers into the arguments that the caller gave to the tool."""
        return error if self.tool == self.operation.name else _as_flat_error(error)


def of_trigger(tool: str, invoke: Operation, slug: str, arguments: Mapping[str, Any]) -> ToolCall:
    """The call of trigger_invoke that a call of a trigger's own tool is, out of its flat arguments."""
    params = {key: value for key, value in arguments.items() if key not in _RESERVED}
    options = {_RESERVED[key]: value for key, value in arguments.items() if key in _RESERVED}
    return ToolCall(tool, invoke, {"slug": slug, "params": params, **options})


def flat(arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of a trigger's own tool out of those of trigger_invoke; None when it does not take all of them."""
    names = {inner: outer for outer, inner in _RESERVED.items()}
    options = {names[key]: value for key, value in arguments.items() if key in names}
    if arguments.keys() - names.keys() - {"slug", "params"}:
        return None
    return {**(arguments.get("params") or {}), **options}


def _as_flat_error(error: errors.SluiceError) -> errors.SluiceError:
    names = {f"/{inner}": f"/{outer}" for outer, inner in _RESERVED.items()}
    places = [
        replace(p, pointer=names.get(p.pointer, p.pointer.removeprefix("/params") if p.pointer != "/params" else ""))
        for p in error.errors
    ]
    message, hint = error.message, error.hint
    if any(place.pointer.removeprefix("/") in _RESERVED for place in places):  # trigger_invoke names what it is called
        message = "The control arguments of this tool do not fit."
        hint = f"_idempotency_key is a text of 1 to 255 characters, _wait_timeout_seconds from 0 to {MAX_WAIT_SECONDS}."
    return type(error)(message, hint=hint, errors=places, details=error.details)


def as_json(arguments: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """The arguments as the engine will see them in whichever process it runs: plain JSON values, bounded.

    Raises InvalidParams for what JSON cannot carry between processes (integers beyond 64 bits, lone surrogates, very
    deep nesting) and for arguments above `limit` bytes.
    """
    try:
        raw = orjson.dumps(arguments)
    except TypeError as error:
        raise errors.InvalidParams(
            "The arguments hold something that cannot be passed on.",
            hint="Integers must fit into 64 bits, strings must be Unicode, nesting is bounded.",
            errors=[errors.Problem("", errors.shorten(str(error)))],
        ) from error
    if len(raw) > limit:
        raise errors.InvalidParams(
            f"The arguments have {len(raw):,} bytes; at most {limit:,} are accepted.",
            hint="Put bulk data into a file or an object store, and pass a reference to it.",
        )
    plain: dict[str, Any] = orjson.loads(raw)
    return plain
