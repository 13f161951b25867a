"""Carry out a saved plan: check that it may be applied now, give every replica a worker, commit, and wait for the gate.

What is refused is decided in check.py; rollout.py commits and watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from core import errors
from core.contexts.secrets import Vault
from core.deployments import check, observed, placement
from core.deployments.health_gate import Fault, Gate
from core.deployments.rollout import Rollouts
from core.fleet.fleet import Fleet
from core.model import secret
from core.model.deployment import DeploymentRow, HistoryEntry, State
from core.model.plan import Finding, SavedPlan
from core.model.principal import Caller
from core.model.states import DeploymentState, PlanState
from core.store import deployments as table
from core.store import saved_plans as plan_table
from core.store.database import Database


@dataclass(frozen=True, slots=True)
class Committed:
    """What an apply has written: a revision of a deployment, and its entry in the history."""

    name: str
    revision: int
    history_id: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply has come to by now. `came_up` is None as long as the gate has not judged it."""

    revision: int  # of the deployment by now: a later one when it was rolled back
    state: DeploymentState
    reason: str
    came_up: bool | None
    rolled_back: bool
    unwell_before: Sequence[Fault]


class Applier:
    """Use from the engine's loop."""

    def __init__(self, database: Database, vault: Vault, fleet: Fleet, rollouts: Rollouts) -> None:
        self._database = database
        self._vault = vault
        self._fleet = fleet
        self._rollouts = rollouts

    async def apply(
        self,
        caller: Caller,
        plan_id: str,
        now_ns: int,
        *,
        wait_seconds: float,
        health_seconds: float,
        rollback_on_failure: bool,
        strict: bool = False,
        reason: str = "",
    ) -> Committed:
        """Apply a plan once, exactly as it was saved, and wait for its end.

        `reason` is why, in the words of the caller, for the history and the audit log; `health_seconds`, `strict` and
        `rollback_on_failure` are for the gate. Raises what check.check raises, TargetUnavailable, SecretsLocked.
        """
        saved, wish, before = await self._checked(caller, plan_id, now_ns)
        name, base, removal = saved.name, saved.base_revision, saved.body.remove
        if not removal:
            needed = saved.body.secrets
            check.check_secrets(needed, self._vault.names(caller.tenant), name)
            self._vault.check(caller.tenant, map(secret.named, needed))
            wish = await self._placed(caller.tenant, name, wish, saved.body.warnings)
        running = before is not None and bool(before.desired["jobs"])
        back_to = (base if running else 0) if rollback_on_failure and not removal else None
        try:
            history_id = await self._rollouts.commit(
                caller,
                name,
                wish,
                DeploymentState.REMOVING if removal else DeploymentState.APPLYING,
                base + 1,
                "remove" if removal else "apply",
                saved.body.summary,
                plan_id=plan_id,
                reason=reason,
                to_revision=saved.body.to_revision,
                gate=Gate(health_seconds, back_to, plan_id, strict=strict),
            )
        except (errors.StalePlan, errors.PlanUsed):  # someone was faster: the same refusal as for who comes later
            await self._checked(caller, plan_id, now_ns)
            raise
        await self._rollouts.reached(caller.tenant, name, wait_seconds)
        return Committed(name, base + 1, history_id)

    async def _checked(
        self, caller: Caller, plan_id: str, now_ns: int
    ) -> tuple[SavedPlan, State, DeploymentRow | None]:
        """The saved plan, its wish and the deployment as it is, if the plan may be applied now."""
        saved = await self._database.read(plan_table.get, caller.tenant, plan_id, now_ns)
        row: DeploymentRow | None = None
        since: list[HistoryEntry] = []
        if saved is not None:
            row = await self._database.read(table.get, caller.tenant, saved.name)
            since = await self._database.read(table.history, caller.tenant, saved.name, saved.base_revision)
            if row is not None and since:
                state, reason, _ = observed.observe(self._fleet, caller.tenant, row, now_ns)
                row = replace(row, state=state.value, reason=reason)
        try:
            wish = await asyncio.to_thread(check.check, saved, plan_id, row, since, caller, now_ns)
        except (errors.StalePlan, errors.PlanExpired) as error:
            over = PlanState.STALE if isinstance(error, errors.StalePlan) else PlanState.EXPIRED
            await self._database.write(plan_table.advance, plan_id, over)
            raise
        assert saved is not None  # check() has refused a plan that is not there
        return saved, wish, row

    async def _placed(self, tenant: str, name: str, wish: State, warnings: Sequence[Finding]) -> State:
        """The wish with a worker for every replica that had none when it was planned. Raises TargetUnavailable."""
        await observed.workers_started(self._fleet)
        workers = observed.workers(self._fleet, tenant, name)
        if any("" in chosen for chosen in wish.assignments.values()):
            groups = self._fleet.groups.names(tenant)
            placed = placement.place(wish.jobs, wish.together, workers, wish.assignments, groups=groups)
            chosen = {
                job: tuple(old or new for old, new in zip(wish.assignments[job], found, strict=True))
                for job, found in placed.assignments.items()
            }
            warnings = placed.warnings
            wish = State.from_dict({**wish.to_dict(), "assignments": {job: list(w) for job, w in chosen.items()}})
        held = {(one.job, one.worker) for one in observed.views(self._fleet, tenant, name)}
        check.check_workers(wish, workers, warnings, held)
        return wish

    async def outcome(self, tenant: str, committed: Committed, now_ns: int) -> Applied:
        """What an apply has come to."""
        name, revision = committed.name, committed.revision
        row = await self._database.read(table.get, tenant, name)
        assert row is not None  # an apply leaves a row, and nothing deletes rows
        state, reason, _ = observed.observe(self._fleet, tenant, row, now_ns)
        if row.state == DeploymentState.APPLYING:
            state = DeploymentState.APPLYING  # up or not, it is not yet judged
        elif state is DeploymentState.DEGRADED and row.state == DeploymentState.DEGRADED:
            reason = row.reason or reason  # the gate has seen every job; a look tells of the first one
        judged = self._rollouts.outcome(tenant, name, revision)
        if judged is not None and not judged.came_up and state is DeploymentState.RUNNING:
            reason = row.reason  # it is up, but not as a strict gate wants it
        since = await self._database.read(table.history, tenant, name, revision)
        taken_back = next((one for one in since if one.action == "rollback"), None)
        return Applied(
            row.revision,
            state,
            reason or (taken_back.reason if taken_back else ""),
            False if taken_back is not None else judged.came_up if judged is not None else None,
            taken_back is not None,
            judged.unwell_before if judged is not None else (),
        )
