"""Job document in, runnable job out: validation with all faults at once, then one function per batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.dsl.component import Event, Input, Output, Run

Process = Callable[[list[Event], Run], list[Event]]


@dataclass(frozen=True)
class Step:
    """One action on its own, for a trace that shows the event before and after it."""

    index: int  # position in `actions`
    name: str  # of the action
    description: str
    process: Process


@dataclass(frozen=True)
class CompiledJob:
    """A job that is ready to run.

    `process(events, run)` takes the events over (it changes them in place) and returns those that the output
    gets. It adds to `run.events_in` and `run.errors`; `run.events_out` is for the executor to count when the
    output has accepted them. A fault of one event drops that event, is counted and logged, and the others go on.
    It raises JobAborted when an `abort` (or an `assert` that aborts) says so.
    """

    name: str
    description: str
    document: dict[str, Any]  # as staged
    input: Input
    output: Output
    process: Process
    steps: tuple[Step, ...]
