"""In which run a line of a log is written: what a run calls, waits for or starts, also in a thread, is in that run.

That is over with the run: what it has left behind (a connection, a task) writes no lines of it later, and what lives
beside the runs of a job (a listener, a stream) writes lines of none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from core.dsl.component import Run
from core.model import message
from core.model.log_line import NO_RUN, InRun


class Begun:
    """A run of a workload that is under way as long as the `with` block that it stands for."""

    __slots__ = ("_before", "in_run", "workload")

    def __init__(self, workload: str, run: str, event: Mapping[str, Any] | None) -> None:
        """`event` is the message that started it, if one did."""
        self.workload = workload
        self.in_run = InRun(run, "" if event is None else message.invocation_of(event))
        self._before: Begun | None = None

    def __enter__(self) -> None:
        self._before = _begun.get()
        _begun.set(self)

    def __exit__(self, *_: object) -> None:
        _begun.set(self._before)
        self.in_run = NO_RUN

    def slices(self, work: Iterator[Run]) -> Iterator[Run]:
        """The same for a run that does its work slice by slice, between which other things are done."""
        try:
            while True:
                before = _begun.get()
                _begun.set(self)
                try:
                    one = next(work)
                except StopIteration:
                    return
                finally:
                    _begun.set(before)
                yield one
        finally:
            self.in_run = NO_RUN


_begun: ContextVar[Begun | None] = ContextVar("begun", default=None)


def of(workload: str) -> InRun:
    """The run of a workload in which the caller is; to be asked in the thread that writes."""
    begun = _begun.get()
    return NO_RUN if begun is None or begun.workload != workload else begun.in_run
