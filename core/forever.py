"""Tasks that last as long as their process: one step again and again, and no fault ends it.

A step does one round, its waiting included. What it raises is logged, counted and told by `failing`; then, after a
back-off that grows, the step comes again. So a step leaves nothing half done behind it that the next one would not
mend or find again.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import structlog

from core import backoff, clock, errors

log = structlog.get_logger("core.forever")

FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 30.0
SETTLED_SECONDS = 35.0  # longer than any pause: a step that goes on for so long has come through

Step = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class Loop:
    """One of them, and how it is."""

    name: str
    failures: int = 0  # since its start
    in_a_row: int = 0  # without a step that came through, or that went on for long
    reason: str = ""  # of the last one
    began: float = 0.0  # the present step, on the monotonic clock; or the pause before it

    @property
    def failing(self) -> bool:
        """Whether its last step failed, and the one after it has not gone on for long since."""
        return self.in_a_row > 0 and clock.monotonic() - self.began < SETTLED_SECONDS


@dataclass(slots=True)
class Loops:
    """Those of one engine."""

    _loops: dict[str, Loop] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Loop]:
        return iter(self._loops.values())

    @property
    def failing(self) -> list[Loop]:
        """Those that fail now."""
        return [loop for loop in self if loop.failing]

    def start(self, name: str, step: Step, longest_backoff: float = LONGEST_BACKOFF_SECONDS) -> asyncio.Task[None]:
        """Do `step` again and again until the task is cancelled. `name` says what it is, one of ours."""
        loop = self._loops[name] = Loop(name)
        return asyncio.create_task(_go_on(loop, step, longest_backoff), name=name)


async def _go_on(loop: Loop, step: Step, longest_backoff: float) -> None:
    while True:
        loop.began = clock.monotonic()
        try:
            await step()
        except asyncio.CancelledError as stray:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            _failed(loop, stray)  # of something that it waited for: nobody wants this task to end
        except Exception as error:  # the boundary of a step: what it was for is tried again
            _failed(loop, error)
        else:
            loop.in_a_row = 0
            await asyncio.sleep(0)
            continue
        await asyncio.sleep(backoff.pause(loop.in_a_row, FIRST_BACKOFF_SECONDS, longest_backoff))


def _failed(loop: Loop, error: BaseException) -> None:
    loop.failures += 1
    loop.in_a_row = loop.in_a_row + 1 if clock.monotonic() - loop.began < SETTLED_SECONDS else 1
    loop.began = clock.monotonic()
    told = error.message if isinstance(error, errors.SluiceError) else f"{type(error).__name__}: {error}"
    loop.reason = errors.shorten(told, 300)
    if loop.in_a_row & (loop.in_a_row - 1) == 0:  # what goes on for an hour is not said each time
        # Where it was, as text: a renderer that shows the locals of each frame would show what was sent.
        expected = isinstance(error, errors.SluiceError | OSError)
        where = {} if expected else {"traceback": "".join(traceback.format_exception(error))}
        log.error("loop_failed", loop=loop.name, failures=loop.failures, error=loop.reason, **where)
