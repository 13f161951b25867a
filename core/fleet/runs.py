"""Runs of jobs, from what workers tell of them to their rows, and how one is ended that somebody wants to end.

A run is written in the transaction of what its worker sent with its end. One that takes longer than a second is on
record while it is under way. Runs in a row of which there is nothing to tell share a row: they found nothing to do and
came to a good end, or failed for the same reason and were started by messages. How many they are is written with the
next row of the job, or after EXTEND_SECONDS; an engine that is killed loses that count and nothing else.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from core import clock, errors
from core.bus.base import Bus
from core.fleet.left_out import LeftOut
from core.model import frames
from core.model.principal import Caller
from core.model.run import UNKNOWN, Run
from core.model.states import RunState
from core.model.workload import WorkloadRow
from core.store import audit, job_runs
from core.store.database import Database
from core.store.job_runs import Change, Ended, Gone, Minute, More
from core.triggers import canceling
from core.triggers.canceling import Canceler
from core.worker.runs import OVERTAKEN

EXTEND_SECONDS = 10.0
MOST_PAST = 1_000  # runs without an item that are remembered
MINUTE_NS = 60 * clock.NANOSECONDS
MESSAGE, CONTINUOUS = "message", "continuous"  # triggers
SCHEDULE = "schedule"  # who ends a run when its next firing comes due
_SCHEDULED = ("interval", "cron")


class _Alike(NamedTuple):
    """What runs have in common that share a row."""

    version: str
    worker: str
    cause: str
    state: str
    reason: str
    by: str


@dataclass(slots=True)
class _Several:
    """A row that stands for several runs, and what it does not say yet."""

    id: int
    alike: _Alike
    more: More | None = None


class _UnderWay(NamedTuple):
    """A run that is on record and has not ended."""

    id: int
    worker: str
    delivery: int = 0


class Past(NamedTuple):
    """A run that was on record while it was under way, and of whose good end there is no item."""

    tenant: str
    workload: str
    name: str
    started_ns: int
    ended_ns: int


class _Wish(NamedTuple):
    """Who wants the end of a run, and why."""

    by: str
    reason: str


class Runs:
    """Use from the engine's loop."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        ids: clock.Ids,
        canceler: Canceler,
        add: Callable[[Change], None],
        flush: Callable[[], None],
    ) -> None:
        """`add` has a change written with what workers sent in this tick, and `flush` ends the tick (Traffic)."""
        self._database = database
        self._bus = bus
        self._ids = ids
        self._canceler = canceler
        self._add = add
        self._flush = flush
        self._under_way: dict[tuple[str, str], _UnderWay] = {}  # by workload, and what its worker calls the run
        self._past: dict[int, Past] = {}
        self._cut_short: dict[str, set[str]] = {}  # by worker, whose runs on record have ended with its last process
        self._several: dict[str, _Several] = {}  # the last row of a workload, if it may stand for more
        self._minutes: dict[tuple[str, str, int], Minute] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._touched: set[tuple[str, str]] = set()  # jobs with new rows
        self._canceling: dict[int, asyncio.Task[None]] = {}
        self._wishes: dict[tuple[str, int], _Wish] = {}  # by workload and delivery, the oldest first
        canceler.listeners.append(self._wished)

    # -- what workers tell ---------------------------------------------------------------------------------

    def began(self, of: WorkloadRow, worker: str, told: frames.Began, restarts: int, by: str = "") -> None:
        """A run is under way and takes longer than most; `by` is who asked for it."""
        cause = told.cause or _cause(told.trigger, restarts)
        run = self._row(of, worker, told, RunState.RUNNING, cause, by)
        run.events_in = run.events_out = run.refused = UNKNOWN
        self._under_way[of.id, told.run] = _UnderWay(run.id, worker, told.delivery)
        self._write(run)

    def ended(self, of: WorkloadRow, worker: str, told: frames.Run, restarts: int, by: str = "") -> int:
        """A run has ended, or several that messages started; the id of its row, 0 for one that has none."""
        known = self._under_way.pop((of.id, told.run), None) if told.run else None
        if known is not None and not told.canceled:
            self._wishes.pop((of.id, known.delivery), None)
        if told.trigger == MESSAGE:
            self._count(of, told)
            failed = told.failed or (not told.ok and not told.canceled)
            if not failed and not told.canceled:
                if known is not None:
                    self._leave_out(known.id, of, told)
                return 0
        state = RunState.CANCELED if told.canceled else RunState.SUCCEEDED if told.ok else RunState.FAILED
        cause = told.cause or _cause(told.trigger, restarts)
        overtaken = told.canceled and told.reason == OVERTAKEN
        wish = self._wish(of.id, known) if told.canceled and not overtaken else None
        reason = "" if told.canceled and not overtaken else errors.shorten(told.reason, 1000)
        by = SCHEDULE if overtaken else by
        if wish is not None:
            by, reason = wish
        nothing = told.ok and not (told.events_in or told.events_out or told.errors)
        alike = _Alike(of.version, worker, cause, state.value, reason, by)
        shared = nothing or (told.trigger == MESSAGE and state is RunState.FAILED)
        if shared and (several := self._several.get(of.id)) is not None and several.alike == alike:
            if known is not None:
                self._leave_out(known.id, of, told)
            self._extend(several, told)
            return several.id
        if known is not None:
            confirmed = 1 if told.canceled else None
            ended = Ended(
                known.id,
                state.value,
                told.ended_ns,
                events_in=told.events_in,
                events_out=told.events_out,
                refused=_refused(told),
                reason=reason,
                confirmed=confirmed,
                by=SCHEDULE if overtaken else wish.by if wish is not None else "",  # any other is on record
            )
            self._write_behind(of.id, ended)
            self._touched.add((of.tenant, of.job))
            return known.id
        all_failed = told.trigger != MESSAGE or told.failed in (0, told.runs)
        run = dataclasses.replace(
            self._row(of, worker, told, state, cause, by),
            ended_ns=told.ended_ns,
            count=told.failed or 1,
            events_in=told.events_in if all_failed else 0,  # of those that came through nobody knows here
            events_out=told.events_out if all_failed else 0,
            refused=_refused(told),
            reason=reason,
            confirmed=1 if told.canceled else None,
        )
        self._write_behind(of.id, run)
        if shared:
            self._several[of.id] = _Several(run.id, alike)
        return run.id

    def _leave_out(self, id: int, of: WorkloadRow, told: frames.Run) -> None:
        """A run that was on record gets no item of its own; who follows its log knows it by its id."""
        if len(self._past) >= MOST_PAST:
            del self._past[next(iter(self._past))]
        self._past[id] = Past(of.tenant, of.id, told.run, told.started_ns, told.ended_ns)
        self._add(Gone(id))

    def past(self, tenant: str, id: int) -> Past | None:
        """A run of not long ago that has no item any more."""
        found = self._past.get(id)
        return found if found is not None and found.tenant == tenant else None

    def left_out(self, of: WorkloadRow, worker: str, left: LeftOut) -> None:
        """Times of a schedule had no run: a row says what kept them, in the place of the runs."""
        told = frames.Began(of.id, "", "", left.first_ns, 0, "schedule", left.first_ns)
        run = dataclasses.replace(
            self._row(of, worker, told, left.state, told.cause),
            last_started_ns=left.last_ns,
            ended_ns=left.last_ns,
            count=left.count,
            reason=left.reason,
        )
        self._write_behind(of.id, run)

    def _row(
        self,
        of: WorkloadRow,
        worker: str,
        told: frames.Began | frames.Run,
        state: RunState,
        cause: str,
        by: str = "",
    ) -> Run:
        """A row of a run as it begins."""
        return Run(
            id=self._ids.next(),
            tenant=of.tenant,
            job=of.job,
            deployment=of.deployment,
            version=of.version,
            workload=of.id,
            worker=worker,
            name=told.run,
            trigger=told.trigger,
            cause=cause,
            scheduled_ns=told.scheduled_ns,
            started_ns=told.started_ns,
            last_started_ns=told.started_ns,
            state=state.value,
            by=by,
        )

    def _extend(self, several: _Several, told: frames.Run) -> None:
        more = several.more or More(several.id, 0, 0, 0, 0, 0, 0)
        all_failed = told.failed in (0, told.runs)
        several.more = More(
            several.id,
            more.runs + (told.failed or 1),
            told.started_ns,
            told.ended_ns,
            more.events_in + (told.events_in if all_failed else 0),
            more.events_out + (told.events_out if all_failed else 0),
            more.refused + _refused(told),
        )
        self._soon()

    def _count(self, of: WorkloadRow, told: frames.Run) -> None:
        minute = told.ended_ns - told.ended_ns % MINUTE_NS
        key = (of.tenant, of.job, minute)
        failed = told.failed or int(told.runs == 1 and not told.ok and not told.canceled)
        new = Minute(*key, told.runs, failed, told.events_in, told.events_out, _refused(told))
        known = self._minutes.get(key)
        self._minutes[key] = new if known is None else known.plus(new)
        self._soon()

    def _write_behind(self, workload: str, change: Run | Ended) -> None:
        """Write a row behind what the last one of its workload stands for."""
        several = self._several.pop(workload, None)
        if several is not None and several.more is not None:
            self._add(several.more)
        self._write(change)

    def _write(self, change: Run | Ended) -> None:
        if isinstance(change, Run):
            self._touched.add((change.tenant, change.job))
        self._add(change)

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EXTEND_SECONDS, self._tell_sums)

    def _tell_sums(self) -> None:
        """Have all be written that is only counted yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for several in self._several.values():
            if several.more is not None:
                self._add(several.more)
                several.more = None
        for minute in self._minutes.values():
            self._add(minute)
        self._minutes.clear()

    def counted(self, run: Run) -> Run:
        """A row with what is not written yet of the runs that it stands for."""
        several = self._several.get(run.workload)
        if several is None or several.id != run.id or several.more is None:
            return run
        more = several.more
        return dataclasses.replace(
            run,
            count=run.count + more.runs,
            last_started_ns=more.last_started_ns,
            ended_ns=more.ended_ns,
            events_in=run.events_in + more.events_in,
            events_out=run.events_out + more.events_out,
            refused=run.refused + more.refused,
        )

    async def last(self, tenant: str, job: str, count: int) -> list[Run]:
        """The newest runs of a job that are on record, with what is not written yet of those that stand for several."""
        return [self.counted(run) for run in await self._database.read(job_runs.last, tenant, job, count)]

    async def minutes(self, tenant: str, job: str, since_ns: int) -> list[Minute]:
        """The sums of a job since a time, the oldest first, with what is not written yet."""
        written = await self._database.read(job_runs.minutes, tenant, job, since_ns)
        sums = {one.minute_ns: one for one in written}
        for key, more in self._minutes.items():
            if key[:2] == (tenant, job) and more.minute_ns >= since_ns:
                known = sums.get(more.minute_ns)
                sums[more.minute_ns] = more if known is None else known.plus(more)
        return [sums[at] for at in sorted(sums)]

    async def settled(self) -> None:
        """Until all that was told so far can be read in the table, the sums too."""
        self._tell_sums()
        await self._written()

    async def _written(self) -> None:
        self._flush()
        await self._database.write(job_runs.record, ())  # writes are done in order

    def worker_gone(self, worker: str, why: str) -> None:
        """What was under way on a worker has come to its end with it."""
        cut_short = self._cut_short[worker] = set()
        for key, one in list(self._under_way.items()):
            if one.worker == worker:
                del self._under_way[key]
                cut_short.add(key[0])
                self._wishes.pop((key[0], one.delivery), None)
                self._add(Ended(one.id, RunState.FAILED.value, clock.now_ns(), reason=why))

    def died(self, of: WorkloadRow, trigger: str, started_ns: int, ended_ns: int, restarts: int, why: str) -> None:
        """A worker died while this workload was at work: its run is on record, also when nothing was told of it."""
        if of.id in self._cut_short.get(of.worker, ()):
            return
        told = frames.Began(of.id, "", trigger, started_ns)
        run = self._row(of, of.worker, told, RunState.FAILED, _cause(trigger, restarts))
        run.events_in = run.events_out = run.refused = UNKNOWN
        self._write_behind(of.id, dataclasses.replace(run, ended_ns=ended_ns, reason=errors.shorten(why, 1000)))
        self._flush()

    def forget(self, workloads: Iterable[str]) -> None:
        """These workloads are not wanted any more."""
        for id in workloads:
            several = self._several.pop(id, None)
            if several is not None and several.more is not None:
                self._add(several.more)

    # -- life ----------------------------------------------------------------------------------------------

    async def load(self, alive_ns: int) -> list[Run]:
        """End what an earlier engine left, which was alive until then; a worker that outlived it may still tell how it
        went. Returns these runs, with their ends."""
        cut_off = []
        for run in await self._database.read(job_runs.under_way):
            self._under_way[run.workload, run.name] = _UnderWay(run.id, run.worker)
            ended_ns = max(run.started_ns, alive_ns)
            reason = "the engine ended while it was under way"
            self._add(Ended(run.id, RunState.FAILED.value, ended_ns, reason=reason))
            cut_off.append(dataclasses.replace(run, ended_ns=ended_ns))
        return cut_off

    async def prune(self, now_ns: int) -> int:
        touched, self._touched = self._touched, set()
        return await self._database.write(job_runs.prune, touched, now_ns)

    def close(self) -> None:
        """The last sums go with the last flush."""
        self._tell_sums()
        for task in self._canceling.values():
            task.cancel()

    # -- the end that somebody wants -----------------------------------------------------------------------

    async def cancel(self, run: Run, caller: Caller, reason: str) -> None:
        """End a run that is under way; returns when it has ended. One that has ended stays as it is.

        Raises InvalidParams for a job that runs until it is stopped.
        """
        if run.trigger == CONTINUOUS:
            raise errors.InvalidParams(
                f"Job {errors.shorten(run.job, 100)} reads until it is stopped: its run is all that it does.",
                hint="Stop the job: job_undeploy, or a plan of its deployment without it.",
            )
        task = self._canceling.get(run.id)
        if task is None:
            one = self._under_way.get((run.workload, run.name))
            if one is None or one.id != run.id:
                return
            task = self._canceling[run.id] = asyncio.create_task(self._cancel(run, one, caller, reason))
            task.add_done_callback(lambda task: self._canceled(run.id, task))
        await asyncio.shield(task)

    def _wished(self, workload: str, delivery: int, by: str, reason: str) -> Callable[[], None]:
        """Somebody ends the invocation of a run, and with it the run."""
        key = workload, delivery
        self._wishes[key] = _Wish(by, reason)

        def over() -> None:
            if all(one.delivery != delivery for one in self._under_way.values()):  # otherwise its end may yet come
                self._wishes.pop(key, None)

        return over

    def _wish(self, workload: str, known: _UnderWay | None) -> _Wish | None:
        """Why a run was canceled that has ended now.

        One that ended before it was on record does not say its delivery: then it is of the oldest wish that is open,
        since workers tell the ends in the order in which they were asked for them.
        """
        if known is not None:
            return self._wishes.pop((workload, known.delivery), None)
        named = {one.delivery for one in self._under_way.values()}
        key = next((key for key in self._wishes if key[0] == workload and key[1] not in named), None)
        return None if key is None else self._wishes.pop(key)

    def _canceled(self, id: int, task: asyncio.Task[None]) -> None:
        del self._canceling[id]
        if not task.cancelled():
            task.exception()  # told to whoever waits; nobody may

    async def _cancel(self, run: Run, one: _UnderWay, caller: Caller, reason: str) -> None:
        note = audit.row(self._ids.next(), caller, "run_cancel", f"{run.tenant}/{run.text_id}", reason=reason)
        if not await self._database.write(job_runs.request_cancel, run.id, caller.username, reason, note):
            return
        held = self._bus.held(one.delivery) if one.delivery else None
        if held is not None and held.invocation_id is not None:  # its record is to say so, too
            await self._canceler.cancel(held.invocation_id, caller, reason)
        elif one.delivery:
            await canceling.ask(self._bus, one.worker, "cancel", [run.workload, one.delivery])
        else:
            await canceling.ask(self._bus, one.worker, "cancel_run", [run.workload, run.name])
        await self._written()
        if (run.workload, run.name) in self._under_way:  # it stays there: what its worker tells later is noted
            wish = Ended(run.id, RunState.CANCELED.value, clock.now_ns(), confirmed=0)
            await self._database.write(job_runs.end, wish)


def _refused(told: frames.Run) -> int:
    """What was lost on the way, by whichever side refused it."""
    return told.refused + told.skipped


def _cause(trigger: str, restarts: int) -> str:
    """Why a run was, where its worker does not say it."""
    if trigger in _SCHEDULED:
        return "schedule"
    if trigger == MESSAGE:
        return MESSAGE
    return "retry" if restarts else "once"
