"""Waits of a job that a drain or a failed batch may end early."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Waits:
    """The waits of one task, which is cancelled to end them and at no other moment."""

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._idle = False
        self._interrupted = False

    def begin(self) -> None:
        """The current task is the one that waits."""
        self._task = asyncio.current_task()

    async def wait(self, awaitable: Awaitable[T]) -> T | None:
        """The result, or None when the wait was interrupted."""
        self._idle = True
        try:
            return await awaitable
        except asyncio.CancelledError:
            if self._was_interrupted():
                return None
            raise
        finally:
            self._idle = False

    def interrupt(self) -> None:
        """End the wait that is under way, if there is one."""
        if self._idle and self._task is not None and not self._interrupted:
            self._interrupted = True
            self._task.cancel()

    def _was_interrupted(self) -> bool:
        """Whether a cancellation came from `interrupt` alone, and not (also) from outside."""
        if not self._interrupted:
            return False
        self._interrupted = False
        return self._task is not None and self._task.uncancel() == 0
