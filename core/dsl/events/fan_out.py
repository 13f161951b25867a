"""Copies of a batch for several receivers: events of their own, and one settling that waits for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Settle = Callable[[BaseException | None], None]


def when_all(count: int, settle: Settle) -> Settle:
    """A settle to be called `count` times: the original is settled then, with the first error there was."""
    left = count
    fault: BaseException | None = None

    def one(error: BaseException | None) -> None:
        nonlocal left, fault
        left -= 1
        fault = fault or error
        if not left:
            settle(fault)

    return one


def copy(value: Any) -> Any:
    """A deep copy of a JSON value."""
    if type(value) is dict:
        return {key: copy(inner) for key, inner in value.items()}
    if type(value) is list:
        return [copy(inner) for inner in value]
    return value
