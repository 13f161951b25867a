"""Work that is done in a thread, which nobody can stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def each(waiting: list[Callable[[], None]]) -> None:
    """What waits to be done, one after the other in a thread; what was begun waits no more. Raises what one raises."""
    while waiting:
        await whole(waiting.pop(0))


async def whole(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`function` in a thread; a cancellation waits until it is done: nobody meets a half of it."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        if not work.cancelled():
            work.exception()  # the cancellation is what is told
        raise
