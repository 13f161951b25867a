"""Where the schedule of every job stands, in memory and on record, and what its worker is told of it.

The worker keeps the timetable: it fires, and says so. What came due up to `settled_ns` has run or is known not to; the
worker is told that time before it is told to run the job, so that it knows what it has missed, whether it was away or
the engine. A pause is no outage: the time moves with it. What a run changes is written a little later, together;
what was lost by that with a crash is run again, or told as missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import structlog

from core import clock, errors
from core.dsl.language import firings
from core.dsl.language.timers import Interval, Timer
from core.model import frames
from core.model.message import Type
from core.model.schedule import Cause, Order, Punctuality, Schedule
from core.model.workload import parse
from core.store import schedules as table
from core.store.audit import AuditRow
from core.store.database import Database

log = structlog.get_logger("core.fleet")

Key = tuple[str, str]  # tenant and job
FOLD_SECONDS = 1.0  # between two writes of what runs change
LAZY_SECONDS = 30.0  # the same where a restart needs none of it to know what was missed
LATE_NS = 300 * clock.NANOSECONDS  # after which a firing that has not come is late
LOOK_SECONDS = 30.0  # how often the end of pauses is looked for, at least
SLUICE = "sluice"  # who pauses a schedule whose runs fail


class Scheduled(NamedTuple):
    """A job that shall run by a timer."""

    timer: Timer
    workload: str
    """Of its first replica, which also does what somebody asks for."""
    replica: int
    deployment: str
    replicas: int


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
        self._orders: dict[Key, list[Order]] = {}
        self._asked: dict[Key, int] = {}  # the order that its worker was told
        self._under_way: set[Key] = set()
        self._waiters: dict[int, asyncio.Future[frames.Run]] = {}
        self._progress = table.Progress()
        self._timer: asyncio.TimerHandle | None = None
        self._recording = False
        self._look = asyncio.Event()  # for the end of a pause

    # -- life ----------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read what an earlier engine kept."""
        self._schedules = {one.key: one for one in await self._database.read(table.all_rows)}
        for order in await self._database.read(table.orders):
            self._orders.setdefault((order.tenant, order.job), []).append(order)

    def adopt(self, scheduled: Mapping[Key, Scheduled]) -> None:
        """These jobs shall run by a timer now. A new one begins now, and so does one with other times; what is paused
        stays so."""
        now = clock.now_ns()
        self._scheduled = scheduled
        for key, one in scheduled.items():
            known = self._schedules.get(key)
            if known is None:
                known = self._schedules[key] = Schedule(*key, timing=one.timer.timing, settled_ns=now)
            elif known.timing != one.timer.timing:
                known.timing, known.settled_ns = one.timer.timing, now
            else:
                continue
            self._changed(known, 0.0)
        for key in self._schedules.keys() - scheduled.keys():
            self._under_way.discard(key)
            if not self._schedules[key].paused:
                self._forget(key)

    async def begin(self) -> None:
        """From now on everything is written."""
        self._recording = True
        if self._progress:
            self._write_within(0.0)

    async def keep(self) -> None:
        """End the pauses whose time has come, and wait."""
        now = clock.now_ns()
        for one in [one for one in self._schedules.values() if 0 < one.paused_until_ns <= now]:
            await self.resume(one, SLUICE, (), "its time was over")
        self._look.clear()
        ends = [one.paused_until_ns - now for one in self._schedules.values() if one.paused_until_ns]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(
                self._look.wait(), max(0.0, min([LOOK_SECONDS, *(end / clock.NANOSECONDS for end in ends)]))
            )

    async def end(self) -> None:
        """The engine ends: write what is not written."""
        if self._timer is not None:
            self._timer.cancel()
        self._recording, recorded = False, self._recording
        for future in self._waiters.values():
            future.cancel()
        if self._progress and recorded:
            try:
                await self._database.write(table.record, self._progress.copied())
            except errors.SluiceError as error:  # the next engine counts from what was written before
                log.warning("schedules_not_recorded", error=error.message, count=len(self._progress.schedules))

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

    def waiting(self, tenant: str, job: str) -> list[Order]:
        """The runs that somebody asked for and that have not ended."""
        return self._orders.get((tenant, job), [])

    def asker(self, workload: str, order: int) -> str:
        """Who asked for a run that has not ended; empty when nobody did."""
        orders = self._orders.get(parse(workload).group, ()) if order else ()
        return next((one.asked_by for one in orders if one.id == order), "")

    def upcoming(self, tenant: str, job: str, count: int) -> list[int]:
        """The next firings; none while it is paused, and of what is not deployed."""
        schedule, scheduled = self.get(tenant, job), self.scheduled(tenant, job)
        if schedule is None or scheduled is None or schedule.paused:
            return []
        now = clock.now_ns()
        origin = schedule.last_ns or schedule.settled_ns
        return firings.upcoming(scheduled.timer, now, count, scheduled.workload, origin)

    def brief(self, tenant: str, job: str) -> dict[str, Any] | None:
        """When a job runs next and ran last, in the zone of its schedule; None when it has no timer."""
        schedule, scheduled = self.get(tenant, job), self.scheduled(tenant, job)
        if schedule is None or scheduled is None:
            return None
        zone, following = scheduled.timer.zone, self.upcoming(tenant, job, 1)
        return {
            "next": clock.iso_in(following[0], zone) if following else None,
            "last": clock.iso_in(schedule.last_ns, zone) if schedule.last_ns else None,
            "paused": schedule.paused,
        }

    def figures(self, tenant: str, job: str) -> dict[str, float] | None:
        """What is measured of a schedule: `next` and `last_success` in seconds since the epoch (0: none), how many
        firings were `missed`, whether it is `paused`; None when the job has no timer."""
        schedule = self.get(tenant, job)
        if schedule is None or self.scheduled(tenant, job) is None:
            return None
        following = self.upcoming(tenant, job, 1)
        return {
            "next": following[0] / clock.NANOSECONDS if following else 0,
            "last_success": schedule.succeeded_ns / clock.NANOSECONDS,
            "missed": schedule.missed,
            "paused": int(schedule.paused),
        }

    def punctuality(self, tenant: str, job: str) -> Punctuality | None:
        """Whether a job runs at its times; None when it has no timer."""
        schedule, scheduled = self.get(tenant, job), self.scheduled(tenant, job)
        if schedule is None or scheduled is None:
            return None
        under_way = schedule.key in self._under_way
        return punctuality(schedule, scheduled, clock.now_ns(), under_way=under_way)

    # -- what workers are told -----------------------------------------------------------------------------

    def before_assignment(self, tenant: str, job: str, workload: str) -> frames.Schedule | None:
        """What a worker has to know before it is told to run a workload."""
        schedule = self.get(tenant, job)
        if schedule is None or (tenant, job) not in self._scheduled:
            return None
        return frames.Schedule(workload, schedule.settled_ns, schedule.paused)

    def assigned(self, tenant: str, job: str, workload: str) -> None:
        """A worker was told to run a workload: what it was asked for before, it is asked for again."""
        scheduled = self.scheduled(tenant, job)
        if scheduled is not None and scheduled.workload == workload:
            self._under_way.discard((tenant, job))
            self._asked.pop((tenant, job), None)
            self._ask((tenant, job))

    def _ask(self, key: Key) -> None:
        """Tell the worker the next run that somebody asked for, unless it is at one. One asked for now goes first."""
        orders, scheduled = self._orders.get(key), self._scheduled.get(key)
        if not orders or scheduled is None or key in self._asked:
            return
        order = min(orders, key=lambda one: (one.cause != Cause.MANUAL, one.id))
        self._asked[key] = order.id
        self._send(scheduled.workload, frames.Fire(scheduled.workload, order.id, order.cause, order.scheduled_ns))

    # -- what workers say ----------------------------------------------------------------------------------

    def fired(self, told: frames.Fired) -> None:
        """A run begins."""
        schedule = self._of(told.workload)
        if schedule is None:
            return
        self._under_way.add(schedule.key)
        if told.cause in (Cause.SCHEDULE, Cause.CATCH_UP):
            schedule.settled_ns = max(schedule.settled_ns, told.scheduled_ns)
        if told.cause == Cause.SCHEDULE:
            schedule.last_ns = max(schedule.last_ns, told.scheduled_ns)
            schedule.skipped += told.skipped
            schedule.missed_since = 0
        self._changed(schedule, FOLD_SECONDS)

    def missed(self, told: frames.Missed) -> bool:
        """Times came due that nothing could run; whether that is news."""
        schedule = self._of(told.workload)
        if schedule is None or schedule.paused or told.last_ns <= schedule.settled_ns:
            return False
        schedule.settled_ns = schedule.missed_at_ns = told.last_ns
        schedule.missed += told.count
        schedule.missed_since += told.count
        self._changed(schedule, 0.0)
        data = {"job": schedule.job, "workload": told.workload, "missed": told.count, "caught_up": told.owed}
        data |= {"first": clock.iso(told.first_ns), "last": clock.iso(told.last_ns)}
        self._tell(*schedule.key, Type.SCHEDULE_MISSED, data)
        return True

    def run_ended(self, told: frames.Run) -> None:
        """A run of a schedule has ended."""
        schedule = self._of(told.workload)
        if schedule is None or not told.cause:
            return
        key = schedule.key
        self._under_way.discard(key)
        schedule.ended_ns, schedule.ok = told.ended_ns, int(told.ok)
        if told.ok:
            schedule.succeeded_ns, schedule.failures = told.ended_ns, 0
        elif not told.canceled:
            schedule.failures += 1
        self._changed(schedule, FOLD_SECONDS)
        if told.order:
            self._order_done(key, told)
        scheduled = self._scheduled.get(key)
        limit = scheduled.timer.pause_on_failure if scheduled is not None else None
        if limit is not None and schedule.failures >= limit and not schedule.paused:
            self._pause_failing(schedule)

    def _order_done(self, key: Key, told: frames.Run) -> None:
        left = [one for one in self._orders.get(key, ()) if one.id != told.order]
        if left:
            self._orders[key] = left
        else:
            self._orders.pop(key, None)
        self._progress.orders_done.append(told.order)
        self._write_within(0.0)
        waiter = self._waiters.pop(told.order, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(told)
        self._asked.pop(key, None)
        self._ask(key)

    def gone(self, workloads: Iterable[str]) -> None:
        """The worker of these is gone, and so are the runs that were under way."""
        for workload in workloads:
            self._under_way.discard(parse(workload).group)
            if (scheduled := self._scheduled.get(parse(workload).group)) and scheduled.workload == workload:
                self._asked.pop(parse(workload).group, None)

    def _of(self, workload: str) -> Schedule | None:
        return self._schedules.get(parse(workload).group)

    # -- what people say -----------------------------------------------------------------------------------

    async def pause(
        self, schedule: Schedule, by: str, reason: str, until_ns: int, note: AuditRow | None = None
    ) -> None:
        """Have nothing fire by its time any more."""
        now = clock.now_ns()
        values: dict[str, Any] = {"paused_at_ns": schedule.paused_at_ns or now, "paused_until_ns": until_ns}
        values |= {"paused_by": by, "pause_reason": reason}
        await self._database.write(table.pause, dataclasses.replace(schedule, **values), (), note)
        self._set(schedule, values)
        self._tell(*schedule.key, Type.SCHEDULE_PAUSED, {"job": schedule.job, "by": by, "reason": reason})

    def _pause_failing(self, schedule: Schedule) -> None:
        """Pause a schedule whose runs fail."""
        reason = f"{schedule.failures} runs in a row failed"
        values = {"paused_at_ns": clock.now_ns(), "paused_by": SLUICE, "pause_reason": reason}
        self._set(schedule, values)

        def done(result: Any, error: BaseException | None) -> None:
            if error is not None:  # it is paused all the same, until this engine ends
                log.error("pause_not_recorded", error=str(error), job=schedule.job)

        self._database.submit(done, table.pause, dataclasses.replace(schedule))
        self._tell(*schedule.key, Type.SCHEDULE_PAUSED, {"job": schedule.job, "by": SLUICE, "reason": reason})

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

    async def ended(self, order: int, seconds: float) -> frames.Run | None:
        """The end of a run that was asked for; None when it does not end within that time."""
        future = self._waiters.setdefault(order, asyncio.get_running_loop().create_future())
        try:
            return await asyncio.wait_for(asyncio.shield(future), seconds)
        except TimeoutError:
            return None
        finally:
            self._waiters.pop(order, None)

    def _add(self, key: Key, ordered: tuple[Order, ...]) -> None:
        if ordered:
            self._orders.setdefault(key, []).extend(ordered)
            self._ask(key)

    def _set(self, schedule: Schedule, values: Mapping[str, Any]) -> None:
        """Change it here and at its workers."""
        for name, value in values.items():
            setattr(schedule, name, value)
        self._look.set()
        scheduled = self._scheduled.get(schedule.key)
        if scheduled is not None:
            for replica in range(scheduled.replicas):
                workload = f"{scheduled.workload.rpartition('#')[0]}#{replica}"
                self._send(workload, frames.Schedule(workload, schedule.settled_ns, schedule.paused))

    # -- on record -----------------------------------------------------------------------------------------

    def _forget(self, key: Key) -> None:
        self._schedules.pop(key, None)
        self._orders.pop(key, None)
        self._asked.pop(key, None)
        self._progress.schedules.pop(key, None)
        self._progress.gone.add(key)
        self._write_within(0.0)

    def _changed(self, schedule: Schedule, seconds: float) -> None:
        self._progress.gone.discard(schedule.key)
        self._progress.schedules[schedule.key] = schedule
        scheduled = self._scheduled.get(schedule.key)
        if seconds and scheduled is not None and not matters(scheduled.timer):
            seconds = LAZY_SECONDS
        self._write_within(seconds)

    def _write_within(self, seconds: float) -> None:
        if not self._recording:
            return
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + seconds:
                return
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self._write)

    def _write(self) -> None:
        self._timer = None
        written, self._progress = self._progress, table.Progress()

        def done(result: Any, error: BaseException | None) -> None:
            if error is not None:
                log.error("schedules_not_recorded", error=str(error), count=len(written.schedules))
                self._progress = written.then(self._progress)
                self._write_within(FOLD_SECONDS)

        self._database.submit(done, table.record, written.copied())


def matters(timer: Timer) -> bool:
    """Whether a restart has to know which firing was the last one, to tell what was missed."""
    return not (timer.sequenced or (isinstance(timer, Interval) and timer.immediate and timer.missed != "all"))


def punctuality(schedule: Schedule, scheduled: Scheduled, now_ns: int, *, under_way: bool) -> Punctuality:
    """Whether a job runs at its times. Pure."""
    missed = schedule.missed_since
    if schedule.paused:
        return Punctuality(None, "paused", f"paused by {schedule.paused_by}", missed, schedule.paused_at_ns)
    if missed:
        times = "firing was" if missed == 1 else "firings were"
        text = f"{missed} {times} missed, the last one of {clock.iso(schedule.missed_at_ns)}"
        return Punctuality(False, "missed", text, missed, schedule.missed_at_ns)
    if not under_way and not scheduled.timer.sequenced:
        due = firings.upcoming(scheduled.timer, schedule.settled_ns, 1, scheduled.workload, schedule.settled_ns)
        if due and now_ns - due[0] > LATE_NS:
            return Punctuality(False, "late", f"the firing of {clock.iso(due[0])} has not come", 0, due[0])
    return Punctuality(True, "on_time", "", 0, 0)
