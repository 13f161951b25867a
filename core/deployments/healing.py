"""Healing: look at a deployment closely, and bring what runs back to what was applied, within that version.

The keeper does it again and again; `Healer.heal` is the same when somebody asks for it.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from core import clock, errors
from core.deployments import edits, observed, reconcile, records, status
from core.deployments.reconcile import Presence, StepAction
from core.deployments.rollout import MANY_JOBS, Rollouts
from core.fleet.fleet import Fleet
from core.fleet.holdings import Holdings
from core.model.deployment import DeploymentRow, State, Worker, workloads
from core.model.plan import Finding
from core.model.principal import Caller
from core.model.states import DeploymentState, WorkloadState
from core.model.workload import WorkloadRow, parse
from core.store import audit, contexts
from core.store.database import Database

SHOWN_REASONS = 3


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What somebody who asked for it is told: the drift that was found, and the steps and warnings of all looks."""

    drift: Sequence[reconcile.Drift]
    steps: Sequence[reconcile.Step]
    warnings: Sequence[Finding]
    row: DeploymentRow  # of the deployment, afterwards


class Healer:
    """Use from the engine's loop."""

    def __init__(self, database: Database, ids: clock.Ids, fleet: Fleet, rollouts: Rollouts) -> None:
        self._database = database
        self._ids = ids
        self._fleet = fleet
        self._rollouts = rollouts

    async def refresh(self) -> Holdings:
        """Read the store again and ask the workers, so that edits made behind the engine's back are seen."""
        await self._fleet.reread()
        return await self._fleet.holdings()

    def deliver(self) -> None:
        """After the healing: what is in the store now is what shall run, also an edit that is left alone."""
        self._fleet.deliver()

    async def examine(
        self, tenant: str, name: str, wish: State, ignored: edits.Ignored, patience_seconds: float, held: Holdings
    ) -> reconcile.Decision:
        """The drift of a deployment and what to do about it; changes nothing."""
        special = await self.special(tenant)
        seen = observed.workloads(self._fleet, tenant, name, held)
        present = workers_for(
            wish,
            observed.presence(self._fleet, tenant, name),
            clock.monotonic() - self._fleet.started,
            special,
        )

        def decide() -> reconcile.Decision:
            return reconcile.decide(tenant, wish, seen, present, patience_seconds=patience_seconds, ignored=ignored)

        return await asyncio.to_thread(decide) if len(wish.jobs) >= MANY_JOBS else decide()

    async def special(self, tenant: str) -> frozenset[str]:
        """The workers that have context values of their own in a tenant."""
        return await self._database.read(contexts.workers_with_values, tenant)

    async def mend(
        self,
        caller: Caller,
        name: str,
        revision: int,
        wish: State,
        ignored: edits.Ignored,
        decided: reconcile.Decision,
    ) -> None:
        """Take the steps of a decision about a deployment at a revision, if any is more than waiting.

        One transaction: revision, history, the workloads as they were applied (muted drift stays), with the replicas
        that move on their new workers. Raises StalePlan when the deployment has moved since.
        """
        if not decided.acts:
            return
        moved = dataclasses.replace(wish, assignments=decided.assignments)
        muted = frozenset(one.id for one in decided.drift if one.muted)
        stored = {row.id: row for row in self._fleet.stored(caller.tenant, name)}
        moves = sum(step.action is StepAction.MOVE for step in decided.steps)
        steps = sum(step.action is not StepAction.WAIT for step in decided.steps)
        telling = (StepAction.ASSIGN, StepAction.MOVE)
        self._fleet.tell_again({step.id: step.worker for step in decided.steps if step.action in telling})
        self._fleet.stop_strays(
            {
                step.id: step.worker
                for step in decided.steps
                if step.action is StepAction.UNASSIGN and not self._fleet.wants(step.id)
            }
        )
        await self._rollouts.commit(
            caller,
            name,
            moved,
            DeploymentState.APPLYING,
            revision + 1,
            "reconcile",
            {"move": moves, "resend": steps - moves},
            reason=explain(decided),
            adjust=lambda rows: left_alone(rows, stored, muted, ignored),
        )

    async def heal(
        self, caller: Caller, name: str, *, patience_seconds: float, wait_seconds: float, dry_run: bool, release: bool
    ) -> Reconciled:
        """Find the drift of a deployment and mend it, in a second go for workers that do not come back meanwhile.

        A worker that has just gone has `patience_seconds` to come back. `release` ends the quarantine of its jobs
        first. A `dry_run` changes nothing. Raises NotFound; Busy when the deployment changes meanwhile.
        """
        tenant = caller.tenant
        row = await records.deployment(self._database, tenant, name)
        if row.state == DeploymentState.REMOVED:
            raise records.unknown(tenant, name)
        await observed.workers_started(self._fleet)
        if release and not dry_run:
            await self._release(caller, name)
        wish, decided = await self._look_at(tenant, row, patience_seconds)
        drift, steps, warnings = decided.drift, list(decided.steps), list(decided.warnings)
        if dry_run:
            return Reconciled(drift, steps, warnings, row)
        if not decided.acts:
            self.deliver()
        if steps:
            await self._mend_now(caller, row, wish, decided)
            ids = {one.id for one in workloads(tenant, wish)}
            if wait_seconds:
                await self._fleet.wait(lambda: self._up(tenant, name, ids), wait_seconds)
                row = await records.deployment(self._database, tenant, name)
                wish, decided = await self._look_at(tenant, row, 0.0)  # whoever asks has waited long enough
                if any(step.action is StepAction.MOVE for step in decided.steps):
                    steps += [step for step in decided.steps if step not in steps]
                    warnings += decided.warnings
                    await self._mend_now(caller, row, wish, decided)
                    await self._fleet.wait(lambda: self._up(tenant, name, ids), wait_seconds)
            await self._rollouts.reached(tenant, name, wait_seconds)
            row = await records.deployment(self._database, tenant, name)
        return Reconciled(drift, steps, warnings, row)

    async def _release(self, caller: Caller, name: str) -> None:
        """End the quarantine of the jobs of a deployment."""
        there = observed.views(self._fleet, caller.tenant, name)
        jobs = list(dict.fromkeys(one.job for one in there if one.state == WorkloadState.QUARANTINED))
        if jobs:
            note = audit.row(self._ids.next(), caller, "deployment_reconcile", f"{caller.tenant}/{name}")
            await self._fleet.inquest.release(caller.tenant, jobs, note)

    async def _look_at(
        self, tenant: str, row: DeploymentRow, patience_seconds: float
    ) -> tuple[State, reconcile.Decision]:
        wish = State.from_dict(row.desired)
        held = await self.refresh()
        ignored = edits.Ignored(row.ignored)
        return wish, await self.examine(tenant, row.name, wish, ignored, patience_seconds, held)

    async def _mend_now(self, caller: Caller, row: DeploymentRow, wish: State, decided: reconcile.Decision) -> None:
        try:
            await self.mend(caller, row.name, row.revision, wish, edits.Ignored(row.ignored), decided)
        except errors.StalePlan as error:
            raise errors.Busy(
                f"Deployment {row.name} changed while it was looked at; nothing was done.", hint="Reconcile again."
            ) from error

    def _up(self, tenant: str, name: str, ids: set[str]) -> bool:
        shown = observed.views(self._fleet, tenant, name)
        return self._fleet.settled(ids) and all(map(status.up, shown))


def explain(decided: reconcile.Decision) -> str:
    """Why a deployment was healed, in one line: what was done for one reason is told together."""
    kinds: dict[str, int] = {}
    for one in decided.drift:
        if not one.muted:
            kinds[one.kind.value] = kinds.get(one.kind.value, 0) + 1
    drift = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    done: dict[tuple[str, str], list[str]] = {}
    for step in decided.steps:
        if step.action is not StepAction.WAIT:
            done.setdefault((step.action.value, step.reason), []).append(parse(step.id).name)
    shown = "; ".join(f"{action} {_some(ids)}: {reason}" for (action, reason), ids in [*done.items()][:SHOWN_REASONS])
    left = sum(map(len, [*done.values()][SHOWN_REASONS:]))
    return f"{drift + ': ' if drift else ''}{shown}{f' (and {left} more)' if left else ''}"


def _some(ids: list[str]) -> str:
    more = f" and {len(ids) - SHOWN_REASONS} more" if len(ids) > SHOWN_REASONS else ""
    return ", ".join(ids[:SHOWN_REASONS]) + more


def workers_for(
    wish: State, present: Mapping[str, Presence], engine_seconds: float, special: frozenset[str]
) -> list[Presence]:
    """The workers that a decision about a wish may count on.

    A worker that was assigned and is not known (of an engine with more workers) is gone since this engine runs.
    A worker in `special` has context values of its own: what it would run was not worked out unless it was in the
    plan, so it gets nothing that is not placed on it.
    """
    used: dict[str, str] = {}
    for job, chosen in wish.assignments.items():
        for worker in chosen:
            if worker:
                used.setdefault(worker, wish.jobs[job].group)
    unknown = [
        Presence(Worker(name, group, online=False), engine_seconds)
        for name, group in used.items()
        if name not in present
    ]
    return [
        dataclasses.replace(one, worker=dataclasses.replace(one.worker, drained=True))
        if name in special and name not in used
        else one
        for name, one in present.items()
    ] + unknown


def left_alone(
    rows: Sequence[WorkloadRow],
    stored: Mapping[str, WorkloadRow],
    muted: frozenset[str],
    ignored: edits.Ignored,
) -> list[WorkloadRow]:
    """The rows that a wish asks for, with what somebody wants to be left alone taken from the rows as they are.

    A muted workload stays whole as it is, be it missing or too much; of the others, ignored fields of the document.
    """
    out = []
    for row in rows:
        found = stored.get(row.id)
        if row.id in muted:
            if found is not None:
                out.append(found)
            continue
        if found is not None and found.document != row.document:
            applied, edited = orjson.loads(row.document), orjson.loads(found.document)
            kept = [p for p in edits.differences(applied, edited) if ignored.covers(row.job, f"document{p}")]
            if kept:
                document = orjson.dumps(edits.keep(applied, edited, kept)).decode()
                row = dataclasses.replace(row, document=document)
        out.append(row)
    known = {row.id for row in rows}
    return out + [found for id, found in stored.items() if id in muted and id not in known]
