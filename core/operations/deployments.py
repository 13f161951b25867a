"""Deployments: carry out a saved plan, exactly and once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from core import errors
from core.deployments import apply, observed, placement
from core.deployments.gate import DEADLINE_SECONDS, Gate
from core.engine import Engine
from core.license import Feature
from core.model import secret
from core.model.deployment import State
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.model.states import DeploymentState, PlanState
from core.operations import saved_plans
from core.operations.registry import operation
from core.store import deployments as table
from core.store import plans as plan_table


class DeploymentApply(Params):
    plan_id: str = Field(max_length=64)
    """The plan to carry out, from deployment_plan."""
    wait_seconds: int = Field(default=40, ge=0, le=300)
    """How long to wait for the outcome; the apply goes on without its caller."""
    health_seconds: int = Field(default=DEADLINE_SECONDS, ge=1, le=600)
    """How long the workloads may take to come up; then the deployment is degraded."""
    rollback_on_failure: bool = False
    """Take the version before back when the workloads do not come up (a first version is removed)."""


async def _plan_is_applied(engine: Engine, caller: Caller, params: DeploymentApply) -> Loss | None:
    plan = await saved_plans.plan_get(engine, caller, saved_plans.PlanGet(plan_id=params.plan_id))
    if plan["state"] != PlanState.OPEN or plan["blockers"]:
        return None  # it is refused
    question = f"Apply this plan to deployment {plan['name']}, in tenant {caller.tenant}?"
    return Loss(plan["text"], question=question, yes="Apply this plan", where="plan_get")


@operation(
    summary="Carry out a saved plan.",
    http="POST /api/plans/{plan_id}/apply",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    effect=Effect.DESTRUCTIVE,
    destroys=_plan_is_applied,
    role=Role.ADMIN,
)
async def deployment_apply(engine: Engine, caller: Caller, params: DeploymentApply) -> dict[str, Any]:
    """Carry out a plan that the user has seen: exactly its changes, once, or nothing at all.

    Refused when the deployment has moved since (the answer says what moved), and when the plan is used, expired or
    blocked, or its workers are not there. Waits until everything runs; `state` is running, or degraded with reasons.
    `came_up` is about what this apply touches; `unwell_before` lists what was broken already and was left as it is.
    """
    saved, wish, seen = await _check(engine, caller, params.plan_id)
    name, removal = saved["name"], saved["body"]["remove"]
    if not removal:
        needed = saved["body"].get("secrets", ())
        apply.check_secrets(needed, engine.vault.names(caller.tenant), name)
        engine.vault.check(caller.tenant, map(secret.named, needed))
        wish = await _placed(engine, caller.tenant, name, wish, saved["body"]["warnings"])
    base, running = saved["base_revision"], seen is not None and bool(seen["desired"]["jobs"])
    back_to = (base if running else 0) if params.rollback_on_failure and not removal else None
    try:
        history_id = await engine.rollouts.commit(
            caller,
            name,
            wish,
            DeploymentState.REMOVING if removal else DeploymentState.APPLYING,
            base + 1,
            "remove" if removal else "apply",
            saved["body"]["summary"],
            plan_id=params.plan_id,
            gate=Gate(params.health_seconds, back_to, params.plan_id),
        )
    except (errors.StalePlan, errors.PlanUsed):  # someone was faster: the same refusal as for who comes later
        await _check(engine, caller, params.plan_id)
        raise
    await engine.rollouts.reached(caller.tenant, name, params.wait_seconds)
    return await _outcome(engine, caller.tenant, name, base + 1, history_id)


async def _check(engine: Engine, caller: Caller, plan_id: str) -> tuple[dict[str, Any], State, dict[str, Any] | None]:
    """The saved plan, its wish and the deployment as it is, if the plan may be applied now. Raises what refuses it."""
    now = engine.now_ns()
    saved = await engine.database.read(plan_table.get, caller.tenant, plan_id, now)
    row: dict[str, Any] | None = None
    since: list[dict[str, Any]] = []
    if saved is not None:
        row = await engine.database.read(table.get, caller.tenant, saved["name"])
        since = await engine.database.read(table.history, caller.tenant, saved["name"], saved["base_revision"])
        if row is not None and since:
            state, reason, _ = observed.look(engine.fleet, caller.tenant, row, now)
            row = {**row, "state": state.value, "reason": reason}
    try:
        wish = await asyncio.to_thread(apply.check, saved, plan_id, row, since, caller, now)
    except (errors.StalePlan, errors.PlanExpired) as error:
        over = PlanState.STALE if isinstance(error, errors.StalePlan) else PlanState.EXPIRED
        await engine.database.write(plan_table.advance, plan_id, over)
        raise
    assert saved is not None  # check() has refused a plan that is not there
    return saved, wish, row


async def _outcome(engine: Engine, tenant: str, name: str, revision: int, history_id: str) -> dict[str, Any]:
    """What an apply has come to by now."""
    row = await engine.database.read(table.get, tenant, name)
    assert row is not None  # an apply leaves a row, and nothing deletes rows
    state, reason, _ = observed.look(engine.fleet, tenant, row, engine.now_ns())
    if row["state"] == DeploymentState.APPLYING:
        state = DeploymentState.APPLYING  # up or not, it is not yet judged
    elif state is DeploymentState.DEGRADED and row["state"] == DeploymentState.DEGRADED:
        reason = row["reason"] or reason  # the gate has seen every job; a look tells of the first one
    judged = engine.rollouts.outcome(tenant, name, revision)
    since = await engine.database.read(table.history, tenant, name, revision)
    taken_back = next((one for one in since if one["action"] == "rollback"), None)
    return {
        "deployment": name,
        "revision": row["revision"],
        "state": state.value,
        "reason": reason or (taken_back["reason"] if taken_back else ""),
        "came_up": False if taken_back is not None else judged.came_up if judged is not None else None,
        "rolled_back": taken_back is not None,
        "unwell_before": [fault.to_dict() for fault in judged.unwell_before[: observed.SHOWN_DRIFT]] if judged else [],
        "workloads": observed.workload_rows(engine.fleet, tenant, name),
        "history_id": history_id,
    }


async def _placed(engine: Engine, tenant: str, name: str, wish: State, warnings: list[dict[str, Any]]) -> State:
    """The wish with a worker for every replica that had none when it was planned. Raises TargetUnavailable."""
    await observed.workers_started(engine.fleet)
    workers = observed.workers(engine.fleet, tenant, name)
    if any("" in chosen for chosen in wish.assignments.values()):
        groups = engine.fleet.groups.names(tenant)
        placed = placement.place(wish.jobs, wish.together, workers, wish.assignments, groups=groups)
        chosen = {
            job: tuple(old or new for old, new in zip(wish.assignments[job], found, strict=True))
            for job, found in placed.assignments.items()
        }
        warnings = [finding.to_dict() for finding in placed.warnings]
        wish = State.from_dict({**wish.to_dict(), "assignments": {job: list(w) for job, w in chosen.items()}})
    held = {(row["job"], row["worker"]) for row in observed.rows(engine.fleet, tenant, name)}
    apply.check_workers(wish, workers, warnings, held)
    return wish


async def commit(
    engine: Engine,
    caller: Caller,
    name: str,
    wish: State,
    state: DeploymentState,
    revision: int,
    action: str,
    summary: Mapping[str, int],
    reason: str = "",
) -> str:
    """Make a wish the present one without a plan, as reconcile does; see Rollouts.commit."""
    return await engine.rollouts.commit(caller, name, wish, state, revision, action, summary, reason=reason)


async def settle(engine: Engine, tenant: str, name: str, revision: int, state: DeploymentState, reason: str) -> None:
    """Record how an apply ended; see Rollouts.settle."""
    await engine.rollouts.settle(tenant, name, revision, state, reason)
