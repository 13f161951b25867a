"""The worker channels that a job document names: where its events come from and where they go. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def reads(document: Mapping[str, Any]) -> str:
    """The channel that the job reads; empty when its input is of another kind."""
    return _channel(document.get("input"))


def writes(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The channels that the job writes to, that of its refused events among them."""
    end, on_error = document.get("output"), document.get("on-error")
    named: list[Any] = [_channel(end) or None]
    spread = end.get("dispatch") if isinstance(end, Mapping) else None
    if isinstance(spread, Mapping):
        outputs, copies = spread.get("outputs"), spread.get("copies")
        named += outputs.values() if isinstance(outputs, Mapping) else ()
        named += copies if isinstance(copies, list) else ()
    send = on_error.get("send") if isinstance(on_error, Mapping) else None
    named.append(send.get("channel") if isinstance(send, Mapping) else None)
    return tuple(dict.fromkeys(name for name in named if isinstance(name, str)))


def _channel(end: Any) -> str:
    declared = end.get("worker-channel") if isinstance(end, Mapping) else None
    name = declared.get("channel") if isinstance(declared, Mapping) else declared
    return name if isinstance(name, str) else ""
