"""What the engine announces, for commands that look again when something may have changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from mcp_server.cli import connect

LOOK_SECONDS = 2.0  # between two looks when nothing is announced: not every change is


@contextmanager
def heard(engine: connect.Client) -> Iterator[Callable[[float], Awaitable[None]]]:
    """Gives what waits until something was announced since the last such wait, and so many seconds at most."""
    news = anyio.Event()

    def notice(topic: str, data: dict[str, Any]) -> None:
        news.set()

    async def wait(seconds: float) -> None:
        nonlocal news
        with anyio.move_on_after(seconds):
            await news.wait()
        news = anyio.Event()  # before the look that follows, so that nothing after it is missed

    leave = engine.session.subscribe(notice)
    try:
        yield wait
    finally:
        leave()
