"""What an instance of a job takes in and tells: messages delivered to it, reports of its runs, and totals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from core.dsl.component import Run
from core.errors import SluiceError
from core.model import frames

MOST_ATTEMPTS = 10  # after that many runs of a job that failed with it, a message is given up
STOPPED = "stopped"  # why a run did not come to its end, when its job was stopped
CANCELED = "canceled"  # the same, when somebody wanted it
OVERTAKEN = "the next firing of its schedule came due"  # the same, when the schedule did (`overlap: cancel`)
GIVEN_UP = f"given up after {MOST_ATTEMPTS} runs of the job that failed with it"
FIRST_PAUSE_SECONDS = 0.5  # before a message whose run failed is tried again; it doubles
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(slots=True)
class Delivery:
    """One message on its way to one job.

    `message` is the event form of core.model.message. `settle(None)` acknowledges it; `settle(text)` says that the
    run failed and why, and that trying again would not help. A delivery that is never settled comes again.
    """

    id: int
    attempt: int
    message: dict[str, Any]
    settle: Callable[[str | None], None]
    replay: bool = False  # of a dead letter: tried once, and no letter of its own
    spans: tuple[frames.Span, ...] = ()  # of its run, when that is sampled


class RunReport(NamedTuple):
    """What one firing did. A continuous job reports once, when it ends."""

    run_id: str
    trigger: str  # once, interval, cron, message or continuous
    started_ns: int
    ended_ns: int
    events_in: int
    events_out: int
    errors: int
    ok: bool
    reason: str
    cause: str = ""  # of a scheduled job, with what follows (core.model.schedule)
    scheduled_ns: int = 0
    order: int = 0
    canceled: bool = False  # somebody wanted its end
    told: bool = False  # the engine has heard of it before its end
    refused: int = 0  # events, by actions or the output
    skipped: int = 0  # what the input left out


@dataclass(slots=True)
class Metrics:
    """Totals of a workload since its worker was told to run it, over restarts after failures."""

    events_in: int = 0
    events_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    errors: int = 0
    runs: int = 0
    runs_failed: int = 0
    refused_by_input: int = 0  # files, objects and lines that the input left out
    refused_by_actions: int = 0  # events that an action dropped, because it could not be done
    refused_by_output: int = 0  # events that the output refused
    conditions_failed: int = 0  # events for which a condition could not be worked out
    letters_dropped: int = 0  # of refused events that are in no box: there was no room
    last_event_at: int = 0  # ns since the epoch, 0 = none yet


def lost(run: Run) -> str:
    """Why a run failed that came to its end, because actions or output refused its events and none came through; empty
    when it did not fail. What its input leaves out is none of its events: one object that cannot be read, and that is
    looked at again and again, must not make each poll a failure."""
    if run.events_out or not (run.failed or run.left_out):
        return ""
    return run.last_error or "no event came through; the log of the job says why"


class RunCanceled(Exception):
    """Somebody wants the end of the run that is at work."""


def reason_of(error: BaseException) -> str:
    """Why a run failed, in words for its sender and its log."""
    if isinstance(error, SluiceError):
        return f"{error.message} ({error.hint})" if error.hint else error.message
    return str(error) or type(error).__name__
