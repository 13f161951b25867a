"""Where the schedule of every job stands, and what its worker is told of it.

The worker keeps the timetable: it fires, and says so. What came due up to `settled_ns` has run or is known not to; the
worker is told that time before it is told to run the job, so that it knows what it has missed, whether it was away or
the engine. A pause is no outage: the time moves with it. What a run changes is written a little later, together; what
is lost by that with a crash is run again, or told as missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from core import clock
from core.dsl.language import firings
from core.fleet import left_out
from core.fleet import scheduled as known_of
from core.fleet.left_out import LeftOut
from core.fleet.orders import Orders
from core.fleet.schedule_record import FOLD_SECONDS, LAZY_SECONDS, ScheduleRecord
from core.fleet.scheduled import LATE_NS, Key, Scheduled
from core.model import frames
from core.model.message import Type
from core.model.schedule import Cause, Order, Punctuality, Schedule
from core.model.states import RunState
from core.model.workload import parse
from core.store import schedules as table
from core.store.audit import AuditRow
from core.store.database import Database
from core.worker import runs

if TYPE_CHECKING:
    from core.model.results import jobs, workloads

log = structlog.get_logger("core.fleet")

LOOK_SECONDS = 30.0  # how often the end of pauses, and what is late, is looked for at least
CLOCK_SET_BACK_NS = 60 * clock.NANOSECONDS
SLUICE = "sluice"  # who pauses a schedule whose runs fail


class Timetables:
    """Of one engine."""

    def __init__(
        self,
        database: Database,
        tell: Callable[[str, str, Type, dict[str, Any]], None],
        send: Callable[[str, frames.Frame], None],
    ) -> None:
        """`tell` sends a message about a job (tenant, job, type, data), `send` a frame to the worker of a workload."""
        self._database = database
        self._tell = tell
        self._send = send
        self._schedules: dict[Key, Schedule] = {}
        self._scheduled: Mapping[Key, Scheduled] = {}
        self._under_way: set[Key] = set()
        self._busy: dict[Key, int] = {}  # until when a run was under way, as far as it is known here
        self._late: set[Key] = set()  # whose firing has not come
        self._look = asyncio.Event()
        self._record = ScheduleRecord(database)
        self.orders = Orders(send)
        self.listeners: list[Callable[[str, str], None]] = []
        """Called with tenant and job when it may have changed whether a job runs at its times."""

    # -- life ----------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read what an earlier engine kept."""
        self._schedules = {one.key: one for one in await self._database.read(table.all_rows)}
        self.orders.load(await self._database.read(table.orders))

    def adopt(self, scheduled: Mapping[Key, Scheduled]) -> None:
        """These jobs shall run by a timer now. A new one begins now, and so does one with other times; what is paused
        stays so. One of the future was kept by a clock that has been set back since."""
        now = clock.now_ns()
        self._scheduled = scheduled
        for key, one in scheduled.items():
            known = self._schedules.get(key)
            if known is None:
                known = self._schedules[key] = Schedule(*key, timing=one.timer.timing, settled_ns=now)
            elif known.timing != one.timer.timing or known.settled_ns > now + CLOCK_SET_BACK_NS:
                known.timing, known.settled_ns = one.timer.timing, now
            else:
                continue
            self._record.keep(known, 0.0)
        for key in self._schedules.keys() - scheduled.keys():
            self._under_way.discard(key)
            if not self._schedules[key].paused:
                self._forget(key)

    def begin(self) -> None:
        """From now on everything is written."""
        self._record.begin()

    async def keep(self) -> None:
        """End the pauses whose time has come, look for what is late, and wait."""
        now = clock.now_ns()
        for one in [one for one in self._schedules.values() if 0 < one.paused_until_ns <= now]:
            await self.resume(one, SLUICE, (), "its time was over")
        self._look_for_late(now)
        self._look.clear()
        ends = [one.paused_until_ns - now for one in self._schedules.values() if one.paused_until_ns]
        seconds = min([LOOK_SECONDS, *(end / clock.NANOSECONDS for end in ends)])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._look.wait()

    def _look_for_late(self, now_ns: int) -> None:
        """Time alone makes a firing late: nobody tells of what does not come."""
        late = set()
        for key in self._scheduled:
            if now_ns - self._schedules[key].settled_ns > LATE_NS:  # the others cannot be
                found = self.punctuality(*key)
                late |= {key} if found is not None and found.code == "late" else set()
        changed, self._late = late ^ self._late, late
        for key in changed:
            self._heard(key)

    async def end(self) -> None:
        """The engine ends: write what is not written."""
        self.orders.close()
        await self._record.end()

    # -- what is known -------------------------------------------------------------------------------------

    def get(self, tenant: str, job: str) -> Schedule | None:
        """Where a schedule stands; None when the job has none."""
        return self._schedules.get((tenant, job))

    def scheduled(self, tenant: str, job: str) -> Scheduled | None:
        """The timer of a job that shall run by one."""
        return self._scheduled.get((tenant, job))

    def of(self, tenant: str) -> list[Schedule]:
        """The schedules of a tenant, by job."""
        return sorted((one for one in self._schedules.values() if one.tenant == tenant), key=lambda one: one.job)

    def upcoming(self, tenant: str, job: str, count: int) -> list[int]:
        """The next firings; none while it is paused, and of what is not deployed."""
        both = self._both(tenant, job)
        return known_of.upcoming(*both, clock.now_ns(), count) if both is not None else []

    def brief(self, tenant: str, job: str) -> workloads.ScheduleBrief | None:
        """When a job runs next and ran last, in the zone of its schedule; None when it has no timer."""
        both = self._both(tenant, job)
        return known_of.brief(*both, clock.now_ns()) if both is not None else None

    def figures(self, tenant: str, job: str) -> jobs.ScheduleFigures | None:
        """What is measured of a schedule; None when the job has no timer."""
        both = self._both(tenant, job)
        if both is None:
            return None
        return known_of.figures(*both, clock.now_ns(), under_way=(tenant, job) in self._under_way)

    def skipped(self, schedule: Schedule) -> int:
        """How many firings of a schedule were left out, those included that the run under way makes be left out."""
        both = self._both(*schedule.key)
        if both is None or schedule.key not in self._under_way:
            return schedule.skipped
        return schedule.skipped + len(known_of.overlapped(*both, clock.now_ns()))

    def punctuality(self, tenant: str, job: str) -> Punctuality | None:
        """Whether a job runs at its times; None when it has no timer."""
        both = self._both(tenant, job)
        if both is None:
            return None
        return known_of.punctuality(*both, clock.now_ns(), under_way=(tenant, job) in self._under_way)

    def _both(self, tenant: str, job: str) -> tuple[Schedule, Scheduled] | None:
        schedule, scheduled = self._schedules.get((tenant, job)), self._scheduled.get((tenant, job))
        return (schedule, scheduled) if schedule is not None and scheduled is not None else None

    def asker(self, workload: str, order: int) -> str:
        """Who asked for a run that has not ended; empty when nobody did."""
        orders = self.orders.of(parse(workload).group) if order else ()
        return next((one.asked_by for one in orders if one.id == order), "")

    # -- what workers are told -----------------------------------------------------------------------------

    def before_assignment(self, tenant: str, job: str, workload: str) -> frames.Schedule | None:
        """What a worker has to know before it is told to run a workload."""
        both = self._both(tenant, job)
        return frames.Schedule(workload, both[0].settled_ns, both[0].paused) if both is not None else None

    def assigned(self, tenant: str, job: str, workload: str) -> None:
        """A worker was told to run a workload: what was asked of it before, it is asked again."""
        scheduled = self.scheduled(tenant, job)
        if scheduled is not None and scheduled.workload == workload:
            self._cut_off((tenant, job))
            self.orders.forget_asking((tenant, job))
            self.orders.ask((tenant, job), workload)

    def gone(self, workloads: Iterable[str]) -> None:
        """The worker of these is gone, and so are the runs that were under way."""
        for workload in workloads:
            key = parse(workload).group
            scheduled = self._scheduled.get(key)
            if scheduled is not None and scheduled.workload == workload:
                self._cut_off(key)
                self.orders.forget_asking(key)

    def cut_off(self, workload: str, at_ns: int) -> None:
        """A run was under way when an earlier engine ended, at that time."""
        key = parse(workload).group
        scheduled = self._scheduled.get(key)
        if scheduled is not None and scheduled.workload == workload:
            self._busy[key] = at_ns

    def _cut_off(self, key: Key) -> None:
        """A run that was under way until now is not any more."""
        if key in self._under_way:
            self._under_way.discard(key)
            self._busy[key] = clock.now_ns()

    # -- what workers say ----------------------------------------------------------------------------------

    def fired(self, told: frames.Fired) -> list[LeftOut]:
        """A run begins; the firings that were left out before it."""
        schedule = self._of(told.workload)
        if schedule is None:
            return []
        self._under_way.add(schedule.key)
        at = told.scheduled_ns
        left: list[LeftOut] = []
        if told.cause == Cause.SCHEDULE:
            scheduled = self._scheduled.get(schedule.key)
            if told.skipped and scheduled is not None:
                times = firings.between(scheduled.timer, schedule.settled_ns, at, told.skipped, told.workload)
                left = left_out.of_firing(times, self._busy.get(schedule.key, 0), at)
            set_back = schedule.settled_ns - at > CLOCK_SET_BACK_NS
            schedule.last_ns = schedule.settled_ns = at if set_back else max(schedule.settled_ns, at)
            self._count(schedule, told.workload, left)
            if schedule.missed_since or schedule.key in self._late:
                schedule.missed_since = 0
                self._late.discard(schedule.key)
                self._heard(schedule.key)
        elif told.cause == Cause.CATCH_UP and not told.order:
            schedule.settled_ns = max(schedule.settled_ns, at)
            self._record.keep(schedule, 0.0)  # else a crash soon after the start makes up for all of them once more
        self._ran(schedule)
        return left

    def missed(self, told: frames.Missed) -> list[LeftOut]:
        """Times came due that nothing has run; those of them that are news: replicas miss the same ones."""
        schedule = self._of(told.workload)
        if schedule is None or schedule.paused or told.last_ns <= schedule.settled_ns:
            return []
        scheduled = self._scheduled.get(schedule.key)
        if scheduled is None:
            return []
        found = firings.within(scheduled.timer, told.first_ns, told.last_ns + 1, told.count, told.workload)
        times = [at for at in found if at > schedule.settled_ns][: told.count]
        left = left_out.of_outage(times, self._busy.get(schedule.key, 0))
        schedule.settled_ns = told.last_ns
        self._count(schedule, told.workload, left, told.owed)
        self._record.keep(schedule, 0.0)
        self._heard(schedule.key)
        return left

    def _count(self, schedule: Schedule, workload: str, left: Iterable[LeftOut], owed: int = 0) -> None:
        for one in left:
            if one.state is RunState.SKIPPED:
                schedule.skipped += one.count
                continue
            schedule.missed += one.count
            schedule.missed_since += one.count
            schedule.missed_at_ns = one.last_ns
            data = {"job": schedule.job, "workload": workload, "missed": one.count, "caught_up": owed}
            data |= {"first": clock.iso(one.first_ns), "last": clock.iso(one.last_ns), "reason": one.reason}
            self._tell(*schedule.key, Type.SCHEDULE_MISSED, data)

    def run_ended(self, told: frames.Run) -> list[LeftOut]:
        """A run of a schedule has ended. One that was stopped has not failed, and what asked for it asks again.

        What came due during it and is not made up for is left out by now.
        """
        schedule = self._of(told.workload)
        if schedule is None or not told.cause:
            return []
        key, scheduled = schedule.key, self._scheduled.get(schedule.key)
        self._under_way.discard(key)
        self._busy[key] = told.ended_ns
        left: list[LeftOut] = []
        if scheduled is not None and scheduled.timer.skips:
            left = left_out.of_run(known_of.overlapped(schedule, scheduled, told.ended_ns))
            schedule.settled_ns = max([schedule.settled_ns, *(one.last_ns for one in left)])
            self._count(schedule, told.workload, left)
        if not told.ok and told.reason == runs.STOPPED:
            return left
        schedule.ended_ns, schedule.ok = told.ended_ns, int(told.ok)
        if told.ok:
            schedule.succeeded_ns, schedule.failures = told.ended_ns, 0
        elif not told.canceled:
            schedule.failures += 1
        self._ran(schedule)
        if told.order:
            self._record.order_ended(told.order)
            self.orders.end(key, told)
        if scheduled is not None:
            self.orders.ask(key, scheduled.workload)
            limit = scheduled.timer.pause_on_failure
            if limit is not None and schedule.failures >= limit and not schedule.paused:
                self._pause_failing(schedule)
        return left

    def _ran(self, schedule: Schedule) -> None:
        scheduled = self._scheduled.get(schedule.key)
        lazy = scheduled is not None and scheduled.kept_lazily
        self._record.keep(schedule, LAZY_SECONDS if lazy else FOLD_SECONDS)

    def _of(self, workload: str) -> Schedule | None:
        return self._schedules.get(parse(workload).group)

    # -- what people say -----------------------------------------------------------------------------------

    async def pause(
        self, schedule: Schedule, by: str, reason: str, until_ns: int, note: AuditRow | None = None
    ) -> None:
        """Have nothing fire by its time any more."""
        values: dict[str, Any] = {"paused_at_ns": schedule.paused_at_ns or clock.now_ns(), "paused_until_ns": until_ns}
        values |= {"paused_by": by, "pause_reason": reason}
        await self._database.write(table.pause, dataclasses.replace(schedule, **values), (), note)
        self._set(schedule, values)
        self._tell_of_pause(schedule)

    def _pause_failing(self, schedule: Schedule) -> None:
        """Pause a schedule whose runs fail."""
        reason = f"{schedule.failures} runs in a row failed"
        self._set(schedule, {"paused_at_ns": clock.now_ns(), "paused_by": SLUICE, "pause_reason": reason})

        def done(result: Any, error: BaseException | None) -> None:
            if error is not None:  # it is paused all the same, until this engine ends
                log.error("pause_not_recorded", error=str(error), job=schedule.job)

        self._database.submit(done, table.pause, dataclasses.replace(schedule))
        self._tell_of_pause(schedule)

    def _tell_of_pause(self, schedule: Schedule) -> None:
        until = clock.iso(schedule.paused_until_ns) if schedule.paused_until_ns else None
        data = {"job": schedule.job, "by": schedule.paused_by, "reason": schedule.pause_reason, "until": until}
        self._tell(*schedule.key, Type.SCHEDULE_PAUSED, data)

    async def resume(
        self,
        schedule: Schedule,
        by: str,
        ordered: tuple[Order, ...] = (),
        reason: str = "",
        note: AuditRow | None = None,
    ) -> None:
        """Have it fire by its times again, from now on; `ordered` is what is made up for."""
        values: dict[str, Any] = {"paused_at_ns": 0, "paused_by": "", "pause_reason": "", "paused_until_ns": 0}
        values |= {"settled_ns": clock.now_ns(), "failures": 0}
        await self._database.write(table.pause, dataclasses.replace(schedule, **values), ordered, note)
        self._set(schedule, values)
        if schedule.key not in self._scheduled:
            self._forget(schedule.key)
        self._add(schedule.key, ordered)
        data = {"job": schedule.job, "by": by, "reason": reason, "caught_up": len(ordered)}
        self._tell(*schedule.key, Type.SCHEDULE_RESUMED, data)

    async def order(self, key: Key, ordered: tuple[Order, ...], note: AuditRow) -> None:
        """Have a job run because somebody asks for it, one run after the other."""
        await self._database.write(table.order, ordered, note)
        self._add(key, ordered)

    def _add(self, key: Key, ordered: tuple[Order, ...]) -> None:
        scheduled = self._scheduled.get(key)
        if ordered and scheduled is not None:
            self.orders.add(key, ordered)
            self.orders.ask(key, scheduled.workload)

    def _set(self, schedule: Schedule, values: Mapping[str, Any]) -> None:
        """Change it here and at its workers."""
        for name, value in values.items():
            setattr(schedule, name, value)
        scheduled = self._scheduled.get(schedule.key)
        for workload in scheduled.workloads if scheduled is not None else ():
            self._send(workload, frames.Schedule(workload, schedule.settled_ns, schedule.paused))
        self._look.set()
        self._heard(schedule.key)

    def _heard(self, key: Key) -> None:
        for listener in self.listeners:
            listener(*key)

    def _forget(self, key: Key) -> None:
        self._schedules.pop(key, None)
        self._late.discard(key)
        self._busy.pop(key, None)
        self.orders.forget(key)
        self._record.forget(key)
