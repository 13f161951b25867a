"""In which run a line of a log is written: what a run calls, waits for or starts, also in a thread, is in that run.

That is over with the run: what it has left behind (a connection, a task) writes no lines of it later, and what lives
beside the runs of a job (a listener, a stream) writes lines of none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from core.model import message
from core.model.log_line import NO_RUN, InRun


class Begun:
    """A run of a workload that is under way as long as the `with` block that it stands for."""

    __slots__ = ("_before", "_claimed", "_in_run", "_run", "workload")

    def __init__(self, workload: str, run: str, event: Mapping[str, Any] | None) -> None:
        """`event` is the message that started it, if one did; what it says now counts, whatever becomes of it."""
        self.workload = workload
        self._run = run
        self._claimed = None if event is None else message.claimed_invocation(event)
        self._in_run: InRun | None = None  # made for the first line: most runs write none
        self._before: Begun | None = None

    @property
    def in_run(self) -> InRun:
        if self._in_run is None:
            self._in_run = InRun(self._run, message.checked_invocation(self._claimed))
        return self._in_run

    def __enter__(self) -> None:
        self._before = _begun.get()
        _begun.set(self)

    def __exit__(self, *_: object) -> None:
        _begun.set(self._before)
        self.end()

    def end(self) -> None:
        """Lines that are written from now on are of no run."""
        self._in_run = NO_RUN


class Sliced:
    """A run that does its work slice by slice, between which other things are done."""

    __slots__ = ("_begun", "_work")

    def __init__(self, begun: Begun, work: Iterator[object]) -> None:
        """`work` does a slice, and gives something for each but the last."""
        self._begun = begun
        self._work = work

    def step(self) -> bool:
        """Do the next slice; whether there is another one."""
        before = _begun.get()
        _begun.set(self._begun)
        goes_on = False
        try:
            goes_on = next(self._work, None) is not None
        finally:
            _begun.set(before)
            if not goes_on:
                self._begun.end()
        return goes_on

    def close(self) -> None:
        """It is left as it is."""
        self._begun.end()


_begun: ContextVar[Begun | None] = ContextVar("begun", default=None)


def of(workload: str) -> InRun:
    """The run of a workload in which the caller is; to be asked in the thread that writes."""
    begun = _begun.get()
    return NO_RUN if begun is None or begun.workload != workload else begun.in_run
