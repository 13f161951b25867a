"""What is known of a job that runs by a timer: when next, how it is measured, whether it runs at its times. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from core import clock
from core.dsl.language import firings
from core.dsl.language.timers import Interval, Timer
from core.model.schedule import Punctuality, Schedule

Key = tuple[str, str]  # tenant and job
LATE_NS = 300 * clock.NANOSECONDS  # after which a firing that has not come is late


class Scheduled(NamedTuple):
    """A job that shall run by a timer."""

    timer: Timer
    workload: str
    """Of its first replica, which also does what somebody asks for."""
    replica: int
    deployment: str
    replicas: int

    @property
    def workloads(self) -> list[str]:
        """Those of all its replicas."""
        job, _, _ = self.workload.rpartition("#")
        return [f"{job}#{replica}" for replica in range(self.replicas)]

    @property
    def kept_lazily(self) -> bool:
        """Whether a restart tells what was missed without knowing which firing was the last one."""
        timer = self.timer
        return timer.sequenced or (isinstance(timer, Interval) and timer.immediate and timer.missed != "all")


def upcoming(schedule: Schedule, scheduled: Scheduled, now_ns: int, count: int) -> list[int]:
    """The next firings; none while it is paused."""
    if schedule.paused:
        return []
    origin = schedule.last_ns or schedule.settled_ns
    return firings.upcoming(scheduled.timer, now_ns, count, scheduled.workload, origin)


def brief(schedule: Schedule, scheduled: Scheduled, now_ns: int) -> dict[str, Any]:
    """When it runs next and ran last, in the zone of its schedule, for answers about something else."""
    zone, following = scheduled.timer.zone, upcoming(schedule, scheduled, now_ns, 1)
    return {
        "next": clock.iso_in(following[0], zone) if following else None,
        "last": clock.iso_in(schedule.last_ns, zone) if schedule.last_ns else None,
        "paused": schedule.paused,
    }


def figures(schedule: Schedule, scheduled: Scheduled, now_ns: int) -> dict[str, float]:
    """What is measured of it: `next` and `last_success` in seconds since the epoch (0: none), how many firings were
    `missed`, whether it is `paused`."""
    following = upcoming(schedule, scheduled, now_ns, 1)
    return {
        "next": following[0] / clock.NANOSECONDS if following else 0,
        "last_success": schedule.succeeded_ns / clock.NANOSECONDS,
        "missed": schedule.missed,
        "paused": int(schedule.paused),
    }


def punctuality(schedule: Schedule, scheduled: Scheduled, now_ns: int, *, under_way: bool) -> Punctuality:
    """Whether it runs at its times; `under_way`: a run of it has begun and not ended."""
    missed = schedule.missed_since
    if schedule.paused:
        return Punctuality(None, "paused", f"paused by {schedule.paused_by}", missed, schedule.paused_at_ns)
    if missed:
        firing = "firing was" if missed == 1 else "firings were"
        text = f"{missed} {firing} missed, the last one of {clock.iso(schedule.missed_at_ns)}"
        return Punctuality(False, "missed", text, missed, schedule.missed_at_ns)
    if not under_way and not scheduled.timer.sequenced:
        due = firings.upcoming(scheduled.timer, schedule.settled_ns, 1, scheduled.workload, schedule.settled_ns)
        if due and now_ns - due[0] > LATE_NS:
            return Punctuality(False, "late", f"the firing of {clock.iso(due[0])} has not come", 0, due[0])
    return Punctuality(True, "on_time", "", 0, 0)
