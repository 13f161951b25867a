"""JSON Pointers (RFC 6901): `/a/0/x~1y` names the value at key `x/y` of item 0 of key `a`."""

from __future__ import annotations

from collections.abc import Iterable


def escape(step: object) -> str:
    """A key or an index as one step."""
    return str(step).replace("~", "~0").replace("/", "~1")


def join(steps: Iterable[object]) -> str:
    """The pointer of these keys and indexes; empty for none, which is the whole document."""
    return "".join("/" + escape(step) for step in steps)


def split(pointer: str) -> list[str]:
    """The keys and indexes of a pointer, each as text."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
