"""The workloads that the store wants, beside what was last observed of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec
import orjson
import structlog

from core import clock, errors
from core.bus.base import Bus
from core.dsl.language import compile as compiler
from core.dsl.language.compile import Starts
from core.fleet import channels, failing
from core.fleet.conditions import Conditions, subject_of
from core.fleet.connection import Observed, Worker
from core.fleet.judge import Judge
from core.fleet.scheduled import Scheduled
from core.model import frames
from core.model.condition import Health, Outage
from core.model.message import Filter
from core.model.states import WorkloadState
from core.model.workload import WorkloadRow, WorkloadView, parse
from core.store import workloads
from core.store.database import Database
from core.store.series import Subject

if TYPE_CHECKING:
    from core.model.results import jobs
    from core.model.results import workloads as shown

log = structlog.get_logger("core.fleet")
OVER = (WorkloadState.COMPLETED, WorkloadState.QUARANTINED)  # states that last longer than the process of a worker


class _Parsed(NamedTuple):
    """The document of a workload: as text, as a value, and what makes it run."""

    text: str
    document: dict[str, Any]
    starts: Starts


def _starts(document: str) -> Starts:
    """What makes a document run; nothing, when it is none that runs, which its worker will say."""
    try:
        return compiler.starts(document)
    except errors.InvalidDocument:
        return Starts(None, None)


class Deployed(NamedTuple):
    """A job that shall run, whatever its replicas do: its document, and what it waits for."""

    deployment: str  # empty for a single job
    document: dict[str, Any]  # not to be changed
    filter: Filter | None


def _as_stored(row: WorkloadRow) -> Observed:
    """What is known of a workload that no worker has told of yet: only an end lasts longer than its process."""
    if row.state in OVER:
        return Observed(row.state, row.reason, row.restarts, row.version)
    return Observed(WorkloadState.ASSIGNED.value, "", row.restarts, row.version)


class Workloads:
    """Rows by id, with what workers reported; the reports are written back to the store."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        conditions: Conditions,
        changed: Callable[[str, str], None],
        told: Callable[[WorkloadRow, str, str], None],
        wake: Callable[[], None],
        judge: Judge,
    ) -> None:
        self._database = database
        self._bus = bus
        self._conditions = conditions
        self._loaded = False
        self._changed = changed  # (tenant, deployment) whose workloads changed
        self._told = told  # the row of a workload that has another state, with the state and its reason
        self._wake = wake  # after a change that no report brings
        self._judge = judge
        self._rows: dict[str, WorkloadRow] = {}
        self._by_worker: dict[str, list[WorkloadRow]] = {}
        self._documents: dict[str, _Parsed] = {}  # by id
        self._observed: dict[str, Observed] = {}
        self._reports: list[workloads.Report] = []
        self._held_back: dict[tuple[str, str, str], float] = {}  # (tenant, job, version) -> until, monotonic

    def __iter__(self) -> Iterator[WorkloadRow]:
        return iter(self._rows.values())

    def get(self, id: str) -> WorkloadRow | None:
        return self._rows.get(id)

    async def load(self) -> set[str]:
        """Read what the store wants; returns the ids that are wanted no more.

        A row whose document is no JSON object (somebody edited it) is as good as not there.
        """
        rows = {row.id: row for row in await self._database.read(workloads.all_rows) if self._readable(row)}
        if not self._loaded:
            await self._conditions.load(rows.values())
        gone = self._rows.keys() - rows.keys()
        for id in gone:
            self._told(self._rows[id], WorkloadState.STOPPED.value, "it is not deployed any more")
            self._observed.pop(id, None)
            self._judge.forget(id)
            self._documents.pop(id, None)
            self._conditions.forget(subject_of(self._rows[id]))
        for id, row in rows.items():
            seen = self._observed.get(id)
            old = self._rows.get(id)
            if seen is None or old is None or not row.runs_like(old):
                seen = self._observed[id] = _as_stored(row)
                if not self._loaded and row.state not in OVER:  # what failed under an earlier engine stands
                    seen.failure = self._conditions.failure(row)
                    seen.run_failed = seen.failure is not None and seen.failure.of_run
                self._judge.saw(row, seen)
            else:
                row.state = old.state  # what was reported may not be written yet
        self._rows, self._loaded, self._by_worker = rows, True, {}
        for row in rows.values():
            self._by_worker.setdefault(row.worker, []).append(row)
        return gone

    def wanted_on(self, worker: str) -> list[WorkloadRow]:
        """The workloads that a worker shall run: none that is complete, quarantined, or held back for a while."""
        mine = [row for row in self._by_worker.get(worker, ()) if row.state not in OVER]
        if not self._held_back:
            return mine
        now = clock.monotonic()
        self._held_back = {key: until for key, until in self._held_back.items() if until > now}
        return [row for row in mine if (row.tenant, row.job, row.version) not in self._held_back]

    def hold_back(self, tenant: str, job: str, version: str, seconds: float, reason: str, at_work: str) -> None:
        """Give nobody this job for a while; what runs of it stops with the next sync. `at_work` is the workload that
        is to blame."""
        self._held_back[tenant, job, version] = clock.monotonic() + seconds
        for row in self._of(tenant, job, version):
            if row.state not in OVER:
                seen = Observed(WorkloadState.ASSIGNED.value, reason, version=version)
                self.observe(row.id, seen, failed=row.id == at_work)

    def quarantine(self, tenant: str, job: str, version: str, reason: str, at_work: str) -> None:
        """Give nobody this job any more, until `release`. `at_work` is the workload that is to blame."""
        for row in self._of(tenant, job, version):
            row.state = WorkloadState.QUARANTINED.value
            seen = Observed(row.state, reason, version=version, at_ns=clock.now_ns())
            self.observe(row.id, seen, failed=row.id == at_work)

    def release(self, tenant: str, job: str) -> None:
        """End the quarantine of a job."""
        for row in self._rows.values():
            if (row.tenant, row.job) == (tenant, job) and row.state == WorkloadState.QUARANTINED:
                row.state = WorkloadState.ASSIGNED.value
                self.observe(row.id, Observed(row.state, version=row.version))

    def _of(self, tenant: str, job: str, version: str) -> list[WorkloadRow]:
        return [r for r in self._rows.values() if (r.tenant, r.job, r.version) == (tenant, job, version)]

    def document(self, id: str) -> dict[str, Any]:
        """The job document of a wanted workload; do not change it."""
        return self._parsed(self._rows[id]).document

    def deployed(self, tenant: str) -> dict[str, Deployed]:
        """The jobs of a tenant that shall run, by name."""
        found: dict[str, Deployed] = {}
        for row in self._rows.values():
            if row.tenant == tenant and row.job not in found:
                parsed = self._parsed(row)
                found[row.job] = Deployed(row.deployment, parsed.document, parsed.starts.filter)
        return found

    def origin(self, id: str) -> jobs.JobOrigin | None:
        """What made a workload of a deployment; else None.

        `revision` is that of the deployment that brought it in its present form, `digest` names the content.
        """
        row = self._rows[id]
        if not row.deployment:
            return None
        made: jobs.JobMaking = orjson.loads(row.origin or b"{}")
        return {**made, "deployment": row.deployment, "step": row.step, "revision": row.revision}

    def filter(self, row: WorkloadRow) -> Filter | None:
        """The messages that a workload waits for, None when it does not wait for messages."""
        return self._parsed(row).starts.filter

    def trigger(self, row: WorkloadRow) -> str:
        """What starts the runs of a workload, where nobody has told it of one."""
        starts = self._parsed(row).starts
        if starts.filter is not None:
            return "message"
        return "once" if starts.timer is None else "interval"

    def scheduled(self) -> dict[tuple[str, str], Scheduled]:
        """What shall run by a timer, by tenant and job."""
        found: dict[tuple[str, str], Scheduled] = {}
        for row in self._rows.values():
            timer = self._parsed(row).starts.timer
            if timer is None:
                continue
            known = found.get((row.tenant, row.job))
            if known is None or row.replica < known.replica:
                known = Scheduled(timer, row.id, row.replica, row.deployment, 0 if known is None else known.replicas)
            found[row.tenant, row.job] = known._replace(replicas=known.replicas + 1)
        return found

    def _parsed(self, row: WorkloadRow) -> _Parsed:
        known = self._documents.get(row.id)
        if known is None or known.text != row.document:
            text = row.document
            known = self._documents[row.id] = _Parsed(text, orjson.loads(text), _starts(text))
        return known

    def _readable(self, row: WorkloadRow) -> bool:
        known = self._documents.get(row.id)
        if known is not None and known.text == row.document:
            return True
        try:
            readable = isinstance(orjson.loads(row.document), dict)
        except orjson.JSONDecodeError:
            readable = False
        if not readable:
            log.error("workload_unreadable", workload=row.id)
        return readable

    def channels(self, rows: Iterable[WorkloadRow]) -> list[frames.ChannelDriver]:
        """The channels between these workloads of one worker."""
        return channels.declared((row.tenant, row.job, self._parsed(row).document) for row in rows)

    # -- what was observed ---------------------------------------------------------------------------------

    def observe(self, id: str, seen: Observed, *, failed: bool = False) -> None:
        """Something is seen of a workload; `failed`: it is a failure that was not told before."""
        old = self._observed.get(id)
        if old is not None:
            seen.metrics, seen.run_failed = old.metrics, old.run_failed
        now = clock.monotonic()
        before = old.failure if old is not None else None
        seen.failure = failing.after_state(before, seen.state, seen.reason, seen.run_failed, now)
        self._observed[id] = seen
        if seen.failure is not None and seen.failure.up_since is not None and not seen.failure.of_run:
            asyncio.get_running_loop().call_later(seen.failure.settled_seconds, self._came_through, id)
        row = self._rows.get(id)
        if row is not None:
            self._judge.saw(row, seen, failed=failed)
            self._changed(row.tenant, row.deployment)
            if old is None or (old.state, old.reason) != (seen.state, seen.reason):
                self._told(row, seen.state, seen.reason)

    def _came_through(self, id: str) -> None:
        """A workload that had failed may have been up for long enough by now."""
        row = self._rows.get(id)
        if row is not None:
            self._judge.saw(row, self._observed[id])
            self._changed(row.tenant, row.deployment)
            self._wake()

    def run_ended(self, run: frames.Run) -> None:
        """A worker told the end of a run, or of many of a message-triggered job together."""
        seen = self._observed.get(id := run.workload)
        if seen is None:
            return
        if (row := self._rows.get(id)) is not None:
            self._judge.run_ended(row, seen, run)
        if run.trigger in failing.SCHEDULED:
            seen.run_failed = not run.ok and not run.canceled
        if run.ok and seen.failure is not None and seen.state != WorkloadState.FAILED:
            seen.failure = None
            self._came_through(id)

    def restarts(self, id: str) -> int:
        """How often a workload was started again after a failure."""
        seen = self._observed.get(id)
        return 0 if seen is None else seen.restarts

    def measured(self, id: str, figures: frames.Figures) -> None:
        """A worker told the figures of a workload."""
        row, seen = self._rows.get(id), self._observed.get(id)
        if row is not None and seen is not None:
            metrics = msgspec.structs.asdict(figures)
            del metrics["input_outage"], metrics["output_outage"]  # told by its conditions
            if not any(metrics[name] for name in frames.OF_CALLS):  # of a job that calls nobody they would only be long
                for name in frames.OF_CALLS:
                    del metrics[name]
            seen.metrics = cast("shown.Figures", clock.with_text(metrics))
            self._judge.measured(row, seen, figures)

    def letters_settled(self, tenant: str, job: str) -> None:
        """All dead letters of a job were replayed or let go."""
        for row in self._rows.values():
            if (row.tenant, row.job) == (tenant, job) and (seen := self._observed.get(row.id)) is not None:
                self._judge.letters_settled(row, seen)

    def letters_went(self, tenant: str) -> None:
        """Letters of a tenant make room for others, also for those of its other jobs."""
        for row in self._rows.values():
            if row.tenant == tenant and (seen := self._observed.get(row.id)) is not None:
                self._judge.look_for_room(row, seen)

    def timed(self, id: str, *, came: bool = False) -> None:
        """A firing of a workload came, or was missed."""
        row, seen = self._rows.get(id), self._observed.get(id)
        if row is not None and seen is not None:
            self._judge.timed(row, seen, came=came)

    def age(self) -> None:
        """Let time count for what is so of workloads."""
        self._judge.age(self._rows.values(), self._observed)

    def reported(self, row: WorkloadRow, version: str, state: str, reason: str, restarts: int) -> None:
        """A worker told the state of a workload: remember it, here and in the store."""
        seen = Observed(state, reason, restarts, version, clock.now_ns())
        self.observe(row.id, seen, failed=state == WorkloadState.FAILED)
        row.state = state
        if not self._reports:
            asyncio.get_running_loop().call_soon(self._write_reports)
        self._reports.append(workloads.Report(state, reason, restarts, clock.now_ns(), row.id, version))

    def withheld(self, row: WorkloadRow, reason: str) -> None:
        """A workload is wanted on a worker that must not have it."""
        seen = self._observed.get(row.id)
        if seen is None or (seen.state, seen.reason) != (WorkloadState.ASSIGNED.value, reason):
            self.observe(row.id, Observed(WorkloadState.ASSIGNED.value, reason, version=row.version))

    def up_on(self, worker: str) -> list[WorkloadRow]:
        """The workloads that start or run on a worker, as it said last."""
        up = (WorkloadState.STARTING, WorkloadState.RUNNING)
        return [row for row in self._by_worker.get(worker, ()) if self._observed[row.id].state in up]

    def worker_gone(self, worker: Worker, cause: Outage) -> None:
        """Nothing of a worker runs any more; what was complete or quarantined stays so."""
        for row in self._rows.values():
            if row.worker == worker.name:
                seen = self._observed.get(row.id)
                if seen is None or seen.state not in OVER:
                    self.observe(row.id, Observed(WorkloadState.ASSIGNED.value, f"worker {worker.name} is gone"))
                    self._conditions.worker_gone(row, cause)

    def _write_reports(self) -> None:
        reports, self._reports = self._reports, []

        def done(result: Any, error: BaseException | None) -> None:
            if error is not None:  # a later report, or the next start, tells it again
                log.error("workload_states_not_recorded", error=str(error), count=len(reports))

        self._database.submit(done, workloads.report, reports)

    def settled(self, ids: Iterable[str]) -> bool:
        """Has every one of these workloads come up, completed or failed?"""
        resting = (WorkloadState.RUNNING, WorkloadState.FAILED, *OVER)
        return all(id in self._observed and self._observed[id].state in resting for id in ids)

    def per_worker(self) -> dict[str, int]:
        """How many workloads each worker holds."""
        jobs: dict[str, int] = {}
        for row in self._rows.values():
            if row.state not in OVER:
                jobs[row.worker] = jobs.get(row.worker, 0) + 1
        return jobs

    def figures(self) -> Iterator[tuple[Subject, Mapping[str, Any]]]:
        """The totals of every workload, as its worker told them last."""
        for row in self._rows.values():
            seen = self._observed.get(row.id)
            if seen is not None and seen.metrics:
                yield Subject(row.tenant, parse(row.id).name, row.job, row.deployment), self._metrics(row, seen)

    def views(
        self, *, tenant: str, deployment: str | None = None, job: str | None = None, worker: str | None = None
    ) -> list[WorkloadView]:
        """Wanted workloads of a tenant with what was observed of each; of a deployment, a job, a worker, if named."""
        out, now = [], clock.monotonic()
        for row in self._rows.values():
            if row.tenant != tenant or (deployment is not None and row.deployment != deployment):
                continue
            if (job is not None and row.job != job) or (worker is not None and row.worker != worker):
                continue
            seen = self._observed.get(row.id) or Observed(row.state, row.reason)
            failed = ""
            if seen.failure is not None and seen.state != WorkloadState.FAILED and seen.failure.stands(now):
                failed = seen.failure.reason or "it did not say why"
            condition = self._conditions.of(subject_of(row))
            why = f"up again after it failed: {failed}" if failed else ""
            if condition is not None and condition.health is Health.WARNING:
                why = condition.reason
            out.append(
                WorkloadView(
                    id=row.id,
                    deployment=row.deployment,
                    step=row.step,
                    job=row.job,
                    version=row.version,
                    replica=row.replica,
                    group=row.group_name,
                    worker=row.worker,
                    state=seen.state,
                    reason=seen.reason or why,
                    failing=failed,
                    restarts=seen.restarts,
                    metrics=self._metrics(row, seen),
                    condition=condition,
                    typed=self._conditions.typed(subject_of(row)),
                )
            )
        return out

    def _metrics(self, row: WorkloadRow, seen: Observed) -> shown.Figures:
        """The figures of a worker; messages that no replica has taken yet make a job lag too."""
        lag, waiting = self._judge.lag(row, seen.metrics.get("lag_seconds", 0.0))
        if not waiting:
            return seen.metrics
        return {**seen.metrics, "lag_seconds": round(lag, 3), "waiting": waiting}
