"""Reconcile: bring what runs back to what was applied."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from core.deployments import apply, observed, reconcile
from core.engine import Engine
from core.license import Feature
from core.model.deployment import State, workloads
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.model.states import DeploymentState
from core.operations.deployment_status import find, unknown
from core.operations.deployments import commit, settle
from core.operations.registry import operation

PATIENCE_SECONDS = 10.0  # a worker that is gone for longer loses its replicas to others


class DeploymentReconcile(Params):
    name: str = Field(max_length=64)
    """The deployment."""
    dry_run: bool = False
    """Only show the drift and the steps."""
    wait_seconds: int = Field(default=10, ge=0, le=300)
    """How long to wait until the workloads have settled."""


@operation(
    summary="Bring what runs back to what was applied.",
    http="POST /api/deployments/{name}/reconcile",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    effect=Effect.WRITE,
    role=Role.ADMIN,
    idempotent=True,
)
async def deployment_reconcile(engine: Engine, caller: Caller, params: DeploymentReconcile) -> dict[str, Any]:
    """Find drift and mend it: resend what workers should run, and move replicas off workers that stay away.

    A worker that has just gone is given some seconds to come back. Nothing is changed when there is no drift.
    """
    row = await find(engine, caller, params.name)
    if row["state"] == DeploymentState.REMOVED:
        raise unknown(params.name, caller)
    await observed.workers_started(engine.fleet)
    _, _, first = observed.look(engine.fleet, caller.tenant, row, engine.now_ns())
    decided = _decide(engine, caller.tenant, row, PATIENCE_SECONDS)
    steps = list(decided.steps)
    if not params.dry_run and steps:
        await _take(engine, caller, row, decided)
        wish = State.from_dict(row["desired"])
        ids = {one.id for one in workloads(caller.tenant, wish)}
        await engine.fleet.wait(
            lambda: (
                all(apply.up(one["state"]) for one in observed.rows(engine.fleet, caller.tenant, params.name))
                and engine.fleet.settled(ids)
            ),
            params.wait_seconds,
        )
        row = await find(engine, caller, params.name)
        again = _decide(engine, caller.tenant, row, 0.0)
        if any(step.action is reconcile.StepAction.MOVE for step in again.steps):
            steps += again.steps
            await _take(engine, caller, row, again)
            await engine.fleet.wait(lambda: engine.fleet.settled(ids), params.wait_seconds)
            row = await find(engine, caller, params.name)
    state, reason, _ = observed.look(engine.fleet, caller.tenant, row, engine.now_ns())
    if not params.dry_run:
        await settle(engine, caller.tenant, params.name, row["revision"], state, reason)
    return {
        "drift": [one.to_dict() for one in first[: observed.SHOWN_DRIFT]],
        "steps": [step.to_dict() for step in steps[: observed.SHOWN_DRIFT]],
        "state": state.value,
        "reason": reason,
    }


async def _take(engine: Engine, caller: Caller, row: dict[str, Any], decided: reconcile.Decision) -> None:
    """Take the steps: the whole wish is written and sent again, with the replicas that move on their new workers."""
    moves = sum(step.action is reconcile.StepAction.MOVE for step in decided.steps)
    if all(step.action is reconcile.StepAction.WAIT for step in decided.steps):
        await engine.fleet.sync()
        return
    wish = State.from_dict(
        {**row["desired"], "assignments": {job: list(workers) for job, workers in decided.assignments.items()}}
    )
    summary = {"move": moves, "resend": len(decided.steps) - moves}
    await commit(engine, caller, row["name"], wish, DeploymentState.APPLYING, row["revision"] + 1, "reconcile", summary)


def _decide(engine: Engine, tenant: str, row: dict[str, Any], patience: float) -> reconcile.Decision:
    return reconcile.decide(
        tenant,
        State.from_dict(row["desired"]),
        observed.seen(engine.fleet, tenant, row["name"]),
        list(observed.presence(engine.fleet, tenant, row["name"]).values()),
        patience_seconds=patience,
    )
