"""Rollouts: a wish becomes the present one, workers are brought to it, and a gate watches until it is up.

The gate belongs to the engine and is stored with the deployment, so it goes on when the caller is gone, and under
the next owner when the engine is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import structlog

from core import clock, errors
from core.deployments import observed
from core.deployments.health_gate import Gate, Outcome, Verdict, Watch, excusing, explain_before, explain_faults
from core.fleet.fleet import Fleet
from core.fleet.traffic import Traffic
from core.model.deployment import DeploymentRow, HistoryEntry, State, workloads
from core.model.message import Type
from core.model.principal import Caller, Principal, Role, Surface
from core.model.states import DeploymentState
from core.model.workload import WorkloadRow, id_of
from core.store import audit
from core.store import deployments as table
from core.store.database import Database

log = structlog.get_logger("core.deployments")

Announce = Callable[[str, dict[str, Any]], None]
MANY_JOBS = 200  # from here on, rows are made beside the loop
LOOK_PAUSE_SECONDS = 0.05  # between two looks at a large deployment
AGAIN_SECONDS = 1.0  # after the store could not be written


class Rollouts:
    """Every deployment that is on its way. Use from the engine's loop."""

    def __init__(self, database: Database, fleet: Fleet, traffic: Traffic, ids: clock.Ids, announce: Announce) -> None:
        self._database = database
        self._fleet = fleet
        self._traffic = traffic
        self._ids = ids
        self._announce = announce
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._gates: dict[tuple[str, str], Gate] = {}  # of the tasks
        self._outcomes: dict[tuple[str, str], Outcome] = {}  # of the last gate of each deployment
        self._committing: set[asyncio.Task[str]] = set()

    async def commit(
        self,
        caller: Caller,
        name: str,
        wish: State,
        state: DeploymentState,
        revision: int,
        action: str,
        summary: Mapping[str, int],
        *,
        plan_id: str = "",
        reason: str = "",
        to_revision: int | None = None,
        gate: Gate | None = None,
        adjust: Callable[[list[WorkloadRow]], list[WorkloadRow]] | None = None,
    ) -> str:
        """Write the wish in one transaction, send it to the workers and begin to watch; returns the history id.

        `revision` is the new one; the wish was computed on the one before. `to_revision` is that of an earlier wish
        which this one brings back. Without a gate of its own it is watched
        by the one that is open, as when a worker is lost during an apply. Raises StalePlan when the deployment has
        moved since, PlanUsed when the plan was applied meanwhile.
        A caller that goes away in the middle stops nothing.
        """
        now = clock.now_ns()
        tenant = caller.tenant
        open_gate = self._gates.get((tenant, name)) if gate is None else None
        large = len(wish.jobs) >= MANY_JOBS
        if large:
            desired, wanted = await asyncio.to_thread(_rows, tenant, name, wish, now, revision)
        else:
            desired, wanted = _rows(tenant, name, wish, now, revision)
        if adjust is not None:  # what a reconcile leaves alone is not as the wish says
            wanted = adjust(wanted)
        gate = excusing(
            open_gate or gate or Gate(),
            wanted,
            self._fleet.stored(tenant, name),
            observed.alive(self._fleet, tenant=tenant, deployment=name),
            wish.together,
            under_way=open_gate is not None,
        )
        row = DeploymentRow(
            tenant=tenant,
            name=name,
            revision=revision,
            state=state.value,
            reason="",
            source=wish.source,
            desired=desired,
            updated_at_ns=now,
            updated_by=caller.username,
            gate=gate.to_text(),
        )
        history_id = self._ids.next()
        entry = HistoryEntry(
            id=history_id,
            tenant=tenant,
            name=name,
            revision=revision,
            action=action,
            source=wish.source,
            plan_id=plan_id,
            username=caller.username,
            surface=caller.surface.value,
            summary=dict(summary),
            reason=reason,
            to_revision=to_revision,
        )
        note = audit.row(self._ids.next(), caller, f"deployment_{action}", f"{tenant}/{name}", reason=reason)

        async def carry_out() -> str:
            await self._database.write(
                lambda db: table.commit(db, row, entry, wanted, note, expect=revision - 1, plan_id=plan_id)
            )
            try:
                await self._fleet.sync()
            finally:  # it is committed: whatever happened, it is watched
                if state is DeploymentState.APPLYING:
                    self._watch(tenant, name, revision, wish, gate)
                elif state is DeploymentState.REMOVING:
                    self._leave((tenant, name))
            told_by = {"deployment": name, "revision": revision, "action": action, "source": wish.source}
            self._traffic.message(
                tenant, type=Type.DEPLOYMENT_APPLIED, data={**told_by, **({"reason": reason} if reason else {})}
            )
            self._traffic.flush()
            self._announce("deployment", {"tenant": tenant, "name": name, "revision": revision, "action": action})
            if state is DeploymentState.REMOVING:
                await self.settle(tenant, name, revision, DeploymentState.REMOVED, reason)
            return clock.encode(history_id)

        work = asyncio.create_task(carry_out())
        self._committing.add(work)
        work.add_done_callback(self._committing.discard)
        return await asyncio.shield(work)

    async def settle(self, tenant: str, name: str, revision: int, state: DeploymentState, reason: str) -> None:
        """Record how an apply ended, unless another one has begun."""
        changed = await self._database.write(table.settle, tenant, name, revision, state, reason, clock.now_ns())
        if changed:
            self._announce("deployment", {"tenant": tenant, "name": name, "revision": revision, "state": state.value})

    async def reached(self, tenant: str, name: str, seconds: float) -> None:
        """Wait until nothing of a deployment is on its way any more, or the time is over."""
        deadline = clock.monotonic() + seconds
        while (task := self._tasks.get((tenant, name))) is not None:
            left = deadline - clock.monotonic()
            if left <= 0:
                return
            await asyncio.wait({task}, timeout=left)

    def outcome(self, tenant: str, name: str, revision: int) -> Outcome | None:
        """What the gate of a revision has found; None while it is open, and of what an earlier owner judged."""
        found = self._outcomes.get((tenant, name))
        return found if found is not None and found.revision == revision else None

    async def recover(self) -> None:
        """Go on with what an earlier owner left on its way."""
        for row in await self._database.read(table.under_way):
            if row.state == DeploymentState.REMOVING:
                await self.settle(row.tenant, row.name, row.revision, DeploymentState.REMOVED, "")
            else:
                wish, gate = State.from_dict(row.desired), Gate.from_text(row.gate)
                self._watch(row.tenant, row.name, row.revision, wish, gate)

    async def close(self) -> None:
        """Stop watching; the next owner goes on."""
        await asyncio.gather(*self._committing, return_exceptions=True)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- the gate ------------------------------------------------------------------------------------------

    def _watch(self, tenant: str, name: str, revision: int, wish: State, gate: Gate) -> None:
        key = (tenant, name)
        self._leave(key)
        wanted = {one.id: one.job for one in workloads(tenant, wish) if one.id not in gate.excused}
        watch = Watch(gate, wanted, clock.monotonic())
        self._gates[key] = gate
        task = self._tasks[key] = asyncio.create_task(self._gate(tenant, name, revision, watch))
        task.add_done_callback(lambda done: self._ended(key, done))

    def _leave(self, key: tuple[str, str]) -> None:
        """Another wish has taken the place of the one that is watched."""
        if (task := self._tasks.get(key)) is not None:
            task.cancel()

    def _ended(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key], self._gates[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("gate_failed", tenant=key[0], deployment=key[1], error=repr(error))

    async def _gate(self, tenant: str, name: str, revision: int, watch: Watch) -> None:
        verdict = await self._verdict(tenant, name, watch)
        healthy, before = verdict is Verdict.HEALTHY, explain_before(watch.unwell_before)
        reason = "; ".join(filter(None, ("" if healthy else explain_faults(watch.faults, len(watch.wanted)), before)))
        self._outcomes[tenant, name] = Outcome(revision, healthy, tuple(watch.unwell_before))
        while True:
            try:
                if not healthy and watch.gate.back_to is not None:
                    await self._take_back(tenant, name, revision, watch.gate.back_to, reason)
                else:
                    state = DeploymentState.RUNNING if healthy and not before else DeploymentState.DEGRADED
                    await self.settle(tenant, name, revision, state, reason)
                return
            except Exception as error:  # a boundary: whatever it was, the apply must not stay open for ever
                log.error("gate_not_recorded", tenant=tenant, deployment=name, error=str(error))
                await asyncio.sleep(AGAIN_SECONDS)

    async def _verdict(self, tenant: str, name: str, watch: Watch) -> Verdict:
        shown = -1
        while True:
            news = self._fleet.changes
            verdict = watch.judge(observed.alive(self._fleet, tenant=tenant, deployment=name), clock.monotonic())
            if watch.up != shown:
                shown = watch.up
                self._announce(
                    "progress",
                    {
                        "tenant": tenant,
                        "id": watch.gate.plan_id or name,
                        "done": watch.up,
                        "total": len(watch.wanted),
                        "text": watch.progress(),
                    },
                )
            if verdict is not Verdict.PENDING:
                return verdict
            await self._fleet.wait(lambda news=news: self._fleet.changes != news, watch.due(clock.monotonic()))  # type: ignore[misc]
            if len(watch.wanted) >= MANY_JOBS:
                await asyncio.sleep(LOOK_PAUSE_SECONDS)

    async def _take_back(self, tenant: str, name: str, revision: int, back_to: int, reason: str) -> None:
        """Make an earlier revision the present wish again; what was nothing before is removed."""
        row = await self._database.read(table.get, tenant, name)
        if row is None or row.revision != revision:
            return
        before = await self._database.read(table.wish, tenant, name, back_to)
        wish = State.from_dict(before) if before is not None else State()
        if not wish.jobs:
            mine = State.from_dict(row.desired)
            wish = State(mine.source, mine.group, mine.values)
        why = f"revision {revision} was taken back: {reason}"
        caller = Caller(Principal(row.updated_by, Role.ADMIN, (tenant,)), tenant, Surface.INTERNAL)
        log.warning("rollback", tenant=tenant, deployment=name, reason=why)
        try:
            await self.commit(
                caller,
                name,
                wish,
                DeploymentState.APPLYING if wish.jobs else DeploymentState.REMOVING,
                revision + 1,
                "rollback",
                {},
                reason=why,
                to_revision=back_to or None,
                gate=Gate(),
            )
        except errors.StalePlan:  # someone has applied another version meanwhile, which is theirs to judge
            log.warning("rollback_overtaken", tenant=tenant, deployment=name)


def _rows(tenant: str, name: str, wish: State, now_ns: int, revision: int) -> tuple[dict[str, Any], list[WorkloadRow]]:
    return wish.to_dict(), workload_rows(tenant, name, wish, now_ns, revision)


def workload_rows(tenant: str, name: str, state: State, now_ns: int, revision: int = 0) -> list[WorkloadRow]:
    """The rows of the workloads that a wish asks for, each with where it comes from; `revision` is the wish's."""
    rows: list[WorkloadRow] = []
    for job in state.jobs.values():
        origin = orjson.dumps({"module": job.origin, "role": job.role.value, "digest": job.digest}).decode()
        documents = {
            worker: orjson.dumps(job.document_on(worker)).decode() for worker in set(state.assignments[job.name])
        }
        rows += [
            WorkloadRow(
                id=id_of(tenant, job.name, replica),
                tenant=tenant,
                deployment=name,
                step=job.step,
                job=job.name,
                version=job.version,
                replica=replica,
                group_name=job.group,
                worker=worker,
                document=documents[worker],
                updated_at_ns=now_ns,
                revision=revision,
                origin=origin,
            )
            for replica, worker in enumerate(state.assignments[job.name])
            if worker
        ]
    return rows
