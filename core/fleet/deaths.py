"""How a worker ended, and which job was at work when it did. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import StrEnum

from core.witness import NOBODY, Seen

ASKED_TO_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Cause(StrEnum):
    """How a worker ended."""

    SILENT = "silent"  # it was not heard for several heartbeats, and was killed
    MEMORY = "memory"  # it had more memory than it may, or than there was
    CRASHED = "crashed"  # a signal or an exit that nobody asked for


@dataclass(frozen=True, slots=True)
class Death:
    """The end of a worker, and the job that was at work."""

    tenant: str
    job: str
    version: str
    workload: str
    worker: str
    cause: Cause
    at_ns: int

    def __str__(self) -> str:
        what = {
            Cause.SILENT: "fell silent and was killed",
            Cause.MEMORY: "ran out of memory",
            Cause.CRASHED: "died",
        }[self.cause]
        return f"worker {self.worker} {what} while {self.job} was at work"


@dataclass(frozen=True, slots=True)
class Ended:
    """What a worker of another machine tells of an earlier life of its process, when a job is to blame for its end."""

    life: str
    cause: Cause
    number: int  # of the workload in the witness of that life
    at_ns: int  # wall clock of the engine


def blame(code: int | None, silent: bool, out_of_memory: bool, seen: Seen) -> tuple[Cause, int] | None:
    """Why a worker ended and the number of the workload that is to blame; None when nobody is.

    `code` is its exit code (None: it has none), `silent` that we killed it because it was not heard,
    `out_of_memory` that the system has killed processes for want of memory meanwhile.
    """
    if seen.full:
        cause, number = Cause.MEMORY, seen.grew
    elif silent:
        cause, number = Cause.SILENT, seen.running
    elif code == -signal.SIGKILL:  # by the system, or by somebody who wanted it gone
        cause, number = Cause.MEMORY, (seen.running or seen.grew) if out_of_memory else NOBODY
    elif code is None or code == 0 or -code in ASKED_TO_END:
        return None
    else:
        cause, number = Cause.CRASHED, seen.running
    return (cause, number) if number != NOBODY else None
