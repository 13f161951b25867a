"""Asks of every worker that ended which job was at work, holds that job back, and quarantines it in the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog

from core import clock, errors, witness
from core.bus.base import Bus
from core.fleet import deaths, kernel, quarantine
from core.fleet.connection import Worker
from core.fleet.deaths import Cause, Death
from core.fleet.probation import Probation
from core.fleet.processes import End
from core.fleet.quarantine import HOLD_SECONDS, MOST_DEATHS, WINDOW_SECONDS
from core.fleet.traffic import Traffic
from core.fleet.workloads import Workloads
from core.model.message import Type
from core.model.principal import SYSTEM
from core.model.workload import WorkloadRow
from core.store import audit
from core.store import deaths as table
from core.store.audit import AuditRow
from core.store.database import Database
from core.store.deaths import DeathRow

log = structlog.get_logger("core.fleet")
Key = tuple[str, str, str]  # tenant, job, version


class Inquest:
    """One for a fleet. `admits` says whether a worker may have the jobs of a tenant, `told` writes a line into the
    log of a workload, `deliver` brings the workers to what is wanted, `died` puts the run on record that was under way
    with the worker, which was heard last at a time.

    What is decided holds at once; a store that cannot be written makes it hold for this engine only.
    """

    def __init__(
        self,
        database: Database,
        bus: Bus,
        traffic: Traffic,
        workloads: Workloads,
        admits: Callable[[Worker, str], bool],
        told: Callable[[str, str], None],
        deliver: Callable[[], None],
        died: Callable[[WorkloadRow, int, Death], None],
    ) -> None:
        self.deaths: Counter[str] = Counter()  # by cause, since this engine started
        self.unbelieved = 0  # ends that workers of other machines told and that are of nothing placed on them
        self._database = database
        self._bus = bus
        self._traffic = traffic
        self._workloads = workloads
        self._admits = admits
        self._told = told
        self._deliver = deliver
        self._died = died
        self._recent: dict[Key, list[int]] = {}
        self.probation = Probation()
        self._out_of_memory = kernel.killed_for_memory()

    async def load(self) -> None:
        """Read what an earlier engine saw."""
        since_ns = clock.now_ns() - WINDOW_SECONDS * clock.NANOSECONDS
        for death in await self._database.read(table.since, since_ns):
            self._recent.setdefault((death.tenant, death.job, death.version), []).append(death.at_ns)
            self._count(death.tenant, death.at_ns)

    def _count(self, tenant: str, at_ns: int) -> float:
        """Count an end by its tenant, too: for how many seconds nothing new of it runs from now on, else 0."""
        rows = [row for row in self._workloads if row.tenant == tenant]
        lasts = self.probation.count(tenant, at_ns, rows, self._recent)
        if lasts:
            log.error("tenant_on_probation", tenant=tenant, seconds=lasts)
            asyncio.get_running_loop().call_later(lasts + 0.01, self._deliver)
        return lasts

    async def hold(self, worker: Worker, end: End) -> None:
        """Look at the end of a worker, before it is started again."""
        before, self._out_of_memory = self._out_of_memory, kernel.killed_for_memory()
        if end.seen is None:
            return
        blamed = deaths.blame(end.code, end.silent, self._out_of_memory > before, end.seen)
        if blamed is None:
            return
        cause, number = blamed
        row = self._placed(worker, worker.life, number)
        if row is not None:  # else it is not wanted there any more
            silent_ns = int((clock.monotonic() - worker.last_seen) * clock.NANOSECONDS)
            await self._judge(row, worker.name, cause, clock.now_ns(), silent_ns)

    async def hear(self, worker: Worker, life: str, cause: Cause, number: int, at_ns: int) -> None:
        """Hear of the end of an earlier life of a worker of another machine, before the next one is given anything.

        It is believed about what is placed there, and can name nothing else.
        """
        row = self._placed(worker, life, number)
        if row is None:
            self.disbelieve(worker.name, "it is of no workload that is placed there, as it is now")
        else:
            await self._judge(row, worker.name, cause, at_ns)

    def disbelieve(self, worker: str, why: str) -> None:
        """Count an end that a worker tells of and that is not heard."""
        self.unbelieved += 1
        log.warning("worker_end_not_believed", worker=worker, reason=why)

    def _placed(self, worker: Worker, life: str, number: int) -> WorkloadRow | None:
        """The workload of a number, if it is placed on this worker."""
        for row in self._workloads:
            if row.worker == worker.name and witness.number(life, row.id, row.version) == number:
                return row if self._admits(worker, row.tenant) else None
        return None

    async def _judge(self, row: WorkloadRow, worker: str, cause: Cause, at_ns: int, silent_ns: int = 0) -> None:
        """Let follow from the end of a worker what does, for the job that was at work."""
        tenant, job, version = key = row.tenant, row.job, row.version
        death = Death(tenant, job, version, row.id, worker, cause, at_ns)
        self._died(row, at_ns - silent_ns, death)
        self.deaths[cause.value] += 1
        deaths = self._recent.setdefault(key, [])
        deaths.append(death.at_ns)
        if self._count(tenant, death.at_ns):
            data = {"until": self.probation.tenants()[tenant], "cause": cause}
            self._traffic.message(tenant, type=Type.TENANT_ON_PROBATION, job=job, worker=worker, data=data)
        count = quarantine.recent(deaths, death.at_ns)
        if quarantine.decide(deaths, death.at_ns):
            reason = _why(death, count)
            self._workloads.quarantine(*key, reason, row.id)
            self._bus.exhaust((tenant, job), MOST_DEATHS)
            note = audit.row(
                self._traffic.ids.next(), replace(SYSTEM, tenant=tenant), "job_quarantine", f"{tenant}/{job}"
            )
        else:
            seconds = HOLD_SECONDS * count
            reason = (
                f"{death} ({count} of {MOST_DEATHS} times before it is quarantined); it is held back for {seconds:g} s"
            )
            self._workloads.hold_back(*key, seconds, reason, row.id)
            asyncio.get_running_loop().call_later(seconds + 0.01, self._deliver)
            note = None
        self._tell(death, reason, quarantined=note is not None)
        self._deliver()
        await self._keep(death, reason, note)

    def _tell(self, death: Death, reason: str, *, quarantined: bool) -> None:
        log.error("job_quarantined" if quarantined else "job_held_back", workload=death.workload, reason=reason)
        self._told(death.workload, reason)
        data: dict[str, Any] = {"job": death.job, "workload": death.workload, "reason": reason, "cause": death.cause}
        for type in (Type.JOB_FAILED, Type.JOB_QUARANTINED) if quarantined else (Type.JOB_FAILED,):
            self._traffic.message(death.tenant, type=type, job=death.job, worker=death.worker, data=data)
        self._traffic.flush()

    async def _keep(self, death: Death, reason: str, note: AuditRow | None) -> None:
        row = DeathRow(
            death.at_ns, death.tenant, death.job, death.version, death.workload, death.worker, death.cause.value
        )
        old = death.at_ns - WINDOW_SECONDS * clock.NANOSECONDS
        try:
            await self._database.write(table.record, row, old, reason, note)
        except errors.SluiceError as error:
            log.error("death_not_recorded", workload=death.workload, error=error.message)

    async def release(self, tenant: str, jobs: Sequence[str], audit_row: AuditRow | None = None) -> None:
        """Let quarantined jobs run again. Raises StorageUnavailable, without effect."""
        await self._database.write(table.release, tenant, list(jobs), clock.now_ns(), audit_row)
        for job in jobs:
            self._recent = {key: at for key, at in self._recent.items() if key[:2] != (tenant, job)}
            self._workloads.release(tenant, job)
        self._deliver()


def _why(death: Death, count: int) -> str:
    times = f"{count} times within {WINDOW_SECONDS // 60} minutes"
    return f"{times} a worker ended while it was at work, the last time because {death}"
