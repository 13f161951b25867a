"""Notes in the witness of this worker whose code runs, for every task that a workload has, and the tasks of those.

What workloads do on the loop of their worker happens in steps of tasks; a step of one that does not return is what
makes a worker fall silent. So the coroutine of each is wrapped, and each step is noted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from core.witness import ENDED, Witness


class Turnbook:
    """Of one worker. Without a witness (in tests, and under an engine that has none) nothing is noted."""

    def __init__(self, witness: Witness | None = None) -> None:
        self._cells = witness.cells if witness is not None else memoryview(bytearray(4)).cast("I")

    def noted(self, number: int, coroutine: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        """The coroutine of a workload, as one that notes its steps."""
        return _Noted(coroutine, self._cells, number)

    def call(self, number: int, function: Callable[[Any], None], argument: Any) -> None:
        """Call what runs code of a workload outside of its tasks."""
        cells = self._cells
        cells[0] = number
        try:
            function(argument)
        finally:
            cells[0] = number | ENDED

    def inherit(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note the steps of tasks that the code of a workload starts, too."""

        def make(
            loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
        ) -> asyncio.Task[Any]:
            turn = self._cells[0]
            if turn and not turn & ENDED and type(coro) is not _Noted:
                coro = _Noted(coro, self._cells, turn)  # type: ignore[arg-type]
            return asyncio.Task(coro, loop=loop, **options)

        loop.set_task_factory(make)


class _Noted(Coroutine[Any, Any, Any]):
    """A coroutine that does what another one does, and notes when."""

    __slots__ = ("_cells", "_ended", "_inner", "_number", "_send")

    def __init__(self, inner: Coroutine[Any, Any, Any], cells: memoryview, number: int) -> None:
        self._inner = inner
        self._send = inner.send
        self._cells = cells
        self._number = number
        self._ended = number | ENDED

    def send(self, value: Any) -> Any:
        cells = self._cells
        cells[0] = self._number
        try:
            return self._send(value)
        finally:
            cells[0] = self._ended

    def throw(self, *error: Any) -> Any:
        cells = self._cells
        cells[0] = self._number
        try:
            return self._inner.throw(*error)
        finally:
            cells[0] = self._ended

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._inner.__await__()
