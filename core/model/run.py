"""A run of a job: one firing of it, from its start to its end, or several of them of which there is nothing to tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core import clock

if TYPE_CHECKING:
    from core.model.results import runs

PREFIX = "run_"
UNKNOWN = -1  # of an amount: nobody has told it


@dataclass(slots=True)
class Run:
    """One row. Times are nanoseconds since the epoch."""

    id: int
    tenant: str
    job: str
    deployment: str
    """Empty for a single job."""
    version: str
    workload: str
    worker: str
    name: str
    """What its worker calls it; empty for several."""
    trigger: str
    """once, interval, cron, message or continuous"""
    cause: str
    """schedule, once, message; retry: a job that runs once, again after it failed; and what schedules know besides."""
    scheduled_ns: int
    """Which time of its schedule it was for; 0: none."""
    started_ns: int
    state: str
    """core.model.states.RunState"""
    ended_ns: int = 0
    """0: it is under way."""
    count: int = 1
    """How many runs in a row this stands for, all alike; what follows is the sum of them."""
    last_started_ns: int = 0
    """When the last of them started."""
    events_in: int = 0
    """UNKNOWN while it is under way, and of one whose worker never told of its end; so are the next two."""
    events_out: int = 0
    refused: int = 0
    """Events that an action or the output refused, and files, objects and lines that the input left out."""
    reason: str = ""
    by: str = ""
    """Who asked for it, or canceled it."""
    confirmed: int | None = None
    """Of one that was canceled: whether its worker has said that it stopped."""
    late: str = ""
    """What its worker said after the end."""

    @property
    def text_id(self) -> str:
        return text_id(self.id)

    def to_answer(self) -> runs.Run:
        """The run as every door shows it."""
        shown: runs.Run = {
            "run_id": self.text_id,
            "name": self.name or None,
            "job": self.job,
            "deployment": self.deployment or None,
            "version": self.version,
            "workload": self.workload,
            "worker": self.worker,
            "cause": self.cause,
            "scheduled_for": clock.iso(self.scheduled_ns) if self.scheduled_ns else None,
            "state": self.state,
            "started_at": clock.iso(self.started_ns),
            "ended_at": clock.iso(self.ended_ns) if self.ended_ns else None,
            "events_in": _known(self.events_in),
            "events_out": _known(self.events_out),
            "refused": _known(self.refused),
            "reason": self.reason,
            "by": self.by or None,
        }
        if self.count > 1:
            shown["count"] = self.count
            shown["last_started_at"] = clock.iso(self.last_started_ns)
        if self.confirmed is not None:
            shown["confirmed"] = bool(self.confirmed)
        if self.late:
            shown["late"] = self.late
        return shown

    def to_item(self) -> runs.RunItem:
        """The run among others of its job: how it went, without what run_get says besides."""
        shown: runs.RunItem = {
            "run_id": self.text_id,
            "state": self.state,
            "cause": self.cause,
            "scheduled_for": clock.iso(self.scheduled_ns) if self.scheduled_ns else None,
            "started_at": clock.iso(self.started_ns),
            "ended_at": clock.iso(self.ended_ns) if self.ended_ns else None,
            "reason": self.reason,
        }
        if self.count > 1:
            shown["count"] = self.count
            shown["last_started_at"] = clock.iso(self.last_started_ns)
        return shown


def _known(amount: int) -> int | None:
    return None if amount == UNKNOWN else amount


def text_id(id: int) -> str:
    return PREFIX + clock.encode(id)


def parse_id(text: str) -> int | None:
    """The number behind an id; None for what is none."""
    body = text.removeprefix(PREFIX)
    return clock.decode(body) if text.startswith(PREFIX) and clock.is_encoded(body) else None
