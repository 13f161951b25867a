"""The schedule of a job: where it stands, who paused it, and what it was asked to run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

MOST_BACKFILLED = 500  # runs of one backfill
MOST_CAUGHT_UP = 100  # missed firings that are made up for
MOST_ORDERED = 10  # runs that wait because somebody asked for one now


class Cause(StrEnum):
    """Why a scheduled job runs."""

    SCHEDULE = "schedule"  # its time came
    CATCH_UP = "catch-up"  # its time came while the engine or the worker was down, or while it was paused
    MANUAL = "manual"  # somebody asked for it now
    BACKFILL = "backfill"  # somebody asked for the times of a stretch that is past


class Policy(StrEnum):
    """What becomes of firings that were missed."""

    SKIP = "skip"
    LAST = "last"
    ALL = "all"


@dataclass(slots=True)
class Schedule:
    """Where the schedule of one job stands; times in ns since the epoch, 0: never."""

    tenant: str
    job: str
    timing: str
    """Names the times at which it fires (core.dsl.language.timers): with another one it begins anew."""
    settled_ns: int
    """What came due up to here has run, or is known not to: what comes after it and did not run was missed."""
    last_ns: int = 0
    """When the last firing of the timetable was due."""
    ended_ns: int = 0
    """When the last run ended, whatever its cause."""
    ok: int = 1
    """Whether that run succeeded."""
    succeeded_ns: int = 0
    """When the last run that succeeded ended."""
    failures: int = 0
    """Runs in a row that failed."""
    missed: int = 0
    """Firings that came due while nothing could run them, and that nothing made up for."""
    skipped: int = 0
    """Firings that came due during a run and were left out."""
    missed_at_ns: int = 0
    """When the last of the missed ones was due."""
    missed_since: int = 0
    """How many were missed since a firing ran in its time."""
    paused_at_ns: int = 0
    """0: it is not paused."""
    paused_by: str = ""
    pause_reason: str = ""
    paused_until_ns: int = 0
    """When it resumes by itself; 0: when somebody says so."""

    @property
    def key(self) -> tuple[str, str]:
        return self.tenant, self.job

    @property
    def paused(self) -> bool:
        return self.paused_at_ns > 0


class Order(NamedTuple):
    """One run that somebody asked for; it is kept until it has ended."""

    id: int
    tenant: str
    job: str
    cause: str
    scheduled_ns: int
    asked_by: str


class Punctuality(NamedTuple):
    """Whether a scheduled job runs at its times; `on_time` is None when that cannot be known (it is paused)."""

    on_time: bool | None
    code: str
    """on_time, missed, late, paused"""
    message: str
    missed: int
    """Firings that were missed since one ran in its time."""
    since_ns: int
    """When the last of these was due, or the one that is late; 0 when nothing is wrong."""
