"""Schedules as people handle them: paused and resumed, run now, and run for times that are past."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from core import clock, errors
from core.dsl.language import firings
from core.dsl.language.timers import Timer
from core.fleet.scheduled import Key, Scheduled
from core.fleet.timetables import Timetables
from core.model import frames
from core.model.principal import Caller
from core.model.schedule import MOST_BACKFILLED, MOST_ORDERED, Cause, Order, Policy, Schedule
from core.store import audit

if TYPE_CHECKING:
    from core.model.results import runs


class Schedules:
    """Of one engine."""

    def __init__(self, ids: clock.Ids, timetables: Timetables) -> None:
        self._ids = ids
        self._timetables = timetables

    def known(self, tenant: str, job: str) -> Schedule:
        """The schedule of a job that is deployed, or paused. Raises NotFound."""
        found = self._timetables.get(tenant, job)
        if found is None:
            raise errors.NotFound(
                f"No job {errors.shorten(job, 100)} of tenant {tenant} runs by a schedule.",
                hint="A schedule is the interval or cron of a job that is deployed; schedule_list shows what there is.",
            )
        return found

    def _deployed(self, tenant: str, job: str) -> Scheduled:
        self.known(tenant, job)
        found = self._timetables.scheduled(tenant, job)
        if found is None:
            raise errors.NotFound(
                f"Job {errors.shorten(job, 100)} is not deployed any more; only its pause is kept.",
                hint="Deploy it, or forget the pause with schedule_resume.",
            )
        return found

    async def pause(self, caller: Caller, job: str, reason: str, until_ns: int) -> Schedule:
        """Have a job fire by its times no more, until a time (0: until somebody says so). Raises NotFound."""
        schedule = self.known(caller.tenant, job)
        if until_ns and until_ns <= clock.now_ns():
            raise errors.InvalidParams(
                "A pause ends in the future.", errors=[errors.Problem("/until", "lies in the past")]
            )
        note = self._note(caller, "schedule_pause", job, reason)
        await self._timetables.pause(schedule, caller.username, reason, until_ns, note)
        return schedule

    async def resume(self, caller: Caller, job: str, policy: Policy) -> tuple[Schedule, firings.Missed]:
        """Have it fire by its times again, from now on; what came due in the pause, and is made up for as `policy`
        says. One that is not paused stays as it is. Raises NotFound."""
        schedule = self.known(caller.tenant, job)
        scheduled = self._timetables.scheduled(caller.tenant, job)
        if not schedule.paused:
            return schedule, firings.Missed()
        missed = firings.Missed()
        if scheduled is not None and not scheduled.timer.sequenced:
            now, seed = clock.now_ns(), scheduled.workload
            missed = firings.paused(scheduled.timer, schedule.paused_at_ns, now, policy, seed)
        ordered = self._orders(caller, schedule.key, Cause.CATCH_UP, missed.owed)
        note = self._note(caller, "schedule_resume", job)
        await self._timetables.resume(schedule, caller.username, ordered, note=note)
        return schedule, missed

    async def run_now(self, caller: Caller, job: str, wait_seconds: float) -> tuple[Order, frames.Run | None]:
        """Have a job run now, also while it is paused: what was asked, and the end of that run if it ended in time.

        Raises NotFound, Busy when too many runs wait, InvalidParams for a job whose windows follow each other.
        """
        scheduled = self._deployed(caller.tenant, job)
        self._refuse_sequence(scheduled.timer, job)
        key = (caller.tenant, job)
        waiting = [one for one in self._timetables.orders.of(key) if one.cause == Cause.MANUAL]
        if len(waiting) >= MOST_ORDERED:
            raise errors.Busy(f"{len(waiting)} runs of job {job} wait already.", hint="Wait for the end of one.")
        (order,) = ordered = self._orders(caller, key, Cause.MANUAL, (clock.now_ns(),))
        await self._timetables.order(key, ordered, self._note(caller, "job_run_now", job))
        return order, await self._timetables.orders.ended(order.id, wait_seconds) if wait_seconds else None

    async def backfill(self, caller: Caller, job: str, from_ns: int, to_ns: int, *, dry_run: bool) -> list[int]:
        """Have a job run for each of its times from one moment and before another one, one run after the other; those
        times. With `dry_run` nothing runs.

        Raises NotFound, InvalidParams for a stretch without times or with too many, Busy while another backfill runs.
        """
        scheduled = self._deployed(caller.tenant, job)
        self._refuse_sequence(scheduled.timer, job)
        key = (caller.tenant, job)
        if from_ns >= to_ns or to_ns > clock.now_ns():
            raise errors.InvalidParams(
                "A backfill is about a stretch of time that is past.",
                hint="Name `since` and a later `until` that is not in the future.",
                errors=[errors.Problem("/until", "must be after since, and not in the future")],
            )
        times = firings.within(scheduled.timer, from_ns, to_ns, MOST_BACKFILLED, scheduled.workload)
        if not times or len(times) > MOST_BACKFILLED:
            many = f"more than {MOST_BACKFILLED} times" if times else "no time"
            raise errors.InvalidParams(
                f"{many.capitalize()} of job {job} in that stretch.",
                hint="Name a shorter one." if times else "schedule_get shows when it fires.",
                errors=[errors.Problem("/since", f"{many} of the schedule in that stretch")],
            )
        if dry_run:
            return times
        if any(one.cause == Cause.BACKFILL for one in self._timetables.orders.of(key)):
            raise errors.Busy(f"A backfill of job {job} is under way.", hint="schedule_get shows how much is left.")
        ordered = self._orders(caller, key, Cause.BACKFILL, times)
        await self._timetables.order(key, ordered, self._note(caller, "schedule_backfill", job))
        return times

    def _orders(self, caller: Caller, key: Key, cause: Cause, times: Any) -> tuple[Order, ...]:
        return tuple(Order(self._ids.next(), *key, cause.value, at, caller.username) for at in times)

    def _note(self, caller: Caller, operation: str, job: str, reason: str = "") -> audit.AuditRow:
        return audit.row(self._ids.next(), caller, operation, f"{caller.tenant}/{job}", reason=reason)

    def _refuse_sequence(self, timer: Timer, job: str) -> None:
        if timer.sequenced:
            raise errors.InvalidParams(
                f"The windows of job {job} follow each other, and each is taken once it is over.",
                hint="To take windows again, deploy it with an earlier start-time.",
            )

    def detailed(self, schedule: Schedule, count: int, last: list[runs.RunItem]) -> runs.ScheduleShown:
        """All of a schedule, with that many of the next firings, and its last runs."""
        shown: runs.ScheduleShown = {**self.answer(schedule, count), "runs": last}  # type: ignore[typeddict-item]
        scheduled = self._timetables.scheduled(*schedule.key)
        if scheduled is not None:
            keys = {"missed", "catch_up", "overlap", "start", "end", "pause_on_failure", "random_offset", "immediate"}
            timer = scheduled.timer
            shown["time_zone"] = str(timer.zone)
            shown["settings"] = timer.model_dump(mode="json", by_alias=True, include=keys)
            shown["replicas"] = scheduled.replicas
        return shown

    def answer(self, schedule: Schedule, count: int = 1) -> runs.Schedule:
        """A schedule as answers show it, with the next firings."""
        scheduled = self._timetables.scheduled(*schedule.key)
        following = self._timetables.upcoming(*schedule.key, count)
        zone = scheduled.timer.zone if scheduled is not None else None
        orders = self._timetables.orders.of(schedule.key)
        found = self._timetables.punctuality(*schedule.key)
        return {
            "name": schedule.job,
            "deployment": scheduled.deployment or None if scheduled is not None else None,
            "state": _state(schedule, scheduled, following),
            "schedule": scheduled.timer.text if scheduled is not None else "",
            "next": [clock.iso_in(at, zone) for at in following],
            "last_scheduled": clock.iso_in(schedule.last_ns, zone) if schedule.last_ns else None,
            "last_run": _last_run(schedule),
            "last_success_at": clock.iso(schedule.succeeded_ns) if schedule.succeeded_ns else None,
            "failures": schedule.failures,
            "missed": schedule.missed,
            "skipped": self._timetables.skipped(schedule),
            "on_time": found.on_time if found is not None else None,
            "reason": found.message if found is not None else "",
            "waiting": len(orders),
            "paused": _paused(schedule),
        }


def _state(
    schedule: Schedule, scheduled: Scheduled | None, following: list[int]
) -> Literal["active", "paused", "over", "not_deployed"]:
    if scheduled is None:
        return "not_deployed"
    if schedule.paused:
        return "paused"
    return "active" if following else "over"


def _last_run(schedule: Schedule) -> runs.LastRun | None:
    return {"ended_at": clock.iso(schedule.ended_ns), "ok": bool(schedule.ok)} if schedule.ended_ns else None


def _paused(schedule: Schedule) -> runs.Pause | None:
    if not schedule.paused:
        return None
    return {
        "by": schedule.paused_by,
        "at": clock.iso(schedule.paused_at_ns),
        "reason": schedule.pause_reason,
        "until": clock.iso(schedule.paused_until_ns) if schedule.paused_until_ns else None,
    }
