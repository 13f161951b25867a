"""What is known of a job that runs by a timer: when next, how it is measured, whether it runs at its times. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core import clock
from core.dsl.language import firings
from core.dsl.language.timers import NEVER_NS, Timer
from core.model.schedule import Punctuality, Schedule

if TYPE_CHECKING:
    from core.model.results import jobs, workloads

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
        return self.timer.sequenced


def upcoming(schedule: Schedule, scheduled: Scheduled, now_ns: int, count: int) -> list[int]:
    """The next firings; none while it is paused."""
    if schedule.paused:
        return []
    origin = schedule.last_ns or schedule.settled_ns
    return firings.upcoming(scheduled.timer, now_ns, count, scheduled.workload, origin)


def brief(schedule: Schedule, scheduled: Scheduled, now_ns: int) -> workloads.ScheduleBrief:
    """When it runs next and ran last, in the zone of its schedule, for answers about something else."""
    zone, following = scheduled.timer.zone, upcoming(schedule, scheduled, now_ns, 1)
    return {
        "next": clock.iso_in(following[0], zone) if following else None,
        "last": clock.iso_in(schedule.last_ns, zone) if schedule.last_ns else None,
        "paused": schedule.paused,
    }


def overdue(schedule: Schedule, scheduled: Scheduled, now_ns: int, *, under_way: bool) -> int:
    """When the oldest firing came due that was not made; 0: there is none. `under_way`: a run has begun and not ended.

    Windows that follow each other are waited for, so that a firing is due when its window is over; with nothing under
    way it is not known here which one that is.
    """
    timer, after = scheduled.timer, schedule.settled_ns
    if schedule.paused or (timer.sequenced and not under_way):
        return 0
    due = next(iter(firings.upcoming(timer, after, 1, scheduled.workload, after)), NEVER_NS)
    if timer.sequenced and timer.window is not None:
        due = timer.window.ready_ns(due)
    return due if due <= now_ns else 0


def overlapped(schedule: Schedule, scheduled: Scheduled, now_ns: int) -> list[int]:
    """The firings that are left out because of the run that is under way: all that came due, but for the one that waits
    for its end where one is made up for."""
    timer, after = scheduled.timer, schedule.settled_ns
    if schedule.paused:
        return []
    due = firings.newest(timer, after, now_ns, firings.MOST_COUNTED, scheduled.workload)
    return due if timer.skips else due[:-1]


def figures(schedule: Schedule, scheduled: Scheduled, now_ns: int, *, under_way: bool) -> jobs.ScheduleFigures:
    """What is measured of it: `next` and `last_success` in seconds since the epoch (0: none), how many firings were
    `missed`, whether it is `paused`. A firing that came due and was not made stays the next one."""
    due = overdue(schedule, scheduled, now_ns, under_way=under_way)
    following = [due] if due else upcoming(schedule, scheduled, now_ns, 1)
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
    due = overdue(schedule, scheduled, now_ns, under_way=under_way)
    if due and now_ns - due > LATE_NS:
        why = "; a run is still under way" if under_way else ""
        return Punctuality(False, "late", f"the firing of {clock.iso(due)} has not come{why}", 0, due)
    return Punctuality(True, "on_time", "", 0, 0)
