"""Apply: carry out a saved plan, exactly and once."""

from __future__ import annotations

import asyncio

from pydantic import Field

from core import errors
from core.deployments import observed, plan_text, records, saved_plans
from core.deployments.health_gate import DEADLINE_SECONDS
from core.engine import Engine
from core.license import Feature
from core.model import results
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.model.states import PlanState
from core.operations.registry import operation


class DeploymentApply(Params):
    plan_id: str = Field(max_length=64)
    """The plan to carry out, from deployment_plan."""
    wait_seconds: int = Field(default=40, ge=0, le=300)
    """How long to wait for the outcome; the apply goes on without its caller."""
    health_seconds: int = Field(default=DEADLINE_SECONDS, ge=1, le=600)
    """How long the workloads may take to come up; then the deployment is degraded."""
    rollback_on_failure: bool = False
    """Take the version before back when the workloads do not come up (a first version is removed)."""
    strict: bool = False
    """Warnings count as not come up."""
    reason: str = Field(default="", max_length=500)
    """Why, in your words or the user's: kept in the history of the deployment and in the audit log."""


async def _plan_is_applied(engine: Engine, caller: Caller, params: DeploymentApply) -> Loss | None:
    saved = await records.saved_plan(engine.database, caller.tenant, params.plan_id, engine.now_ns())
    if saved.standing != PlanState.OPEN or saved.body.blockers:
        return None  # it is refused
    plan = await saved_plans.load(engine.database, saved)
    question = f"Apply this plan to deployment {saved.name}, in tenant {caller.tenant}?"
    text = await asyncio.to_thread(plan_text.short, plan, saved_plans.standing_of(saved), plan_text.QUESTION_CHARACTERS)
    if params.reason:
        text = f"Reason: {errors.shorten(params.reason, 500)}\n\n{text}"
    return Loss(text, question=question, yes="Apply this plan", where="plan_get")


@operation(
    summary="Carry out a saved plan.",
    http="POST /api/plans/{plan_id}/apply",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    effect=Effect.DESTRUCTIVE,
    destroys=_plan_is_applied,
    role=Role.ADMIN,
)
async def deployment_apply(engine: Engine, caller: Caller, params: DeploymentApply) -> results.deployments.Applied:
    """Carry out a plan that the user has seen: exactly its changes, once, or nothing at all.

    Refused when the deployment has moved since (the answer says what moved), and when the plan is used, expired or
    blocked, or its workers are not there. Waits until everything runs; `state` is running, or degraded with reasons.
    `came_up` is about what this apply touches; `unwell_before` lists what was broken already and was left as it is.
    """
    committed = await engine.applier.apply(
        caller,
        params.plan_id,
        engine.now_ns(),
        wait_seconds=params.wait_seconds,
        health_seconds=params.health_seconds,
        rollback_on_failure=params.rollback_on_failure,
        strict=params.strict,
        reason=params.reason,
    )
    found = await engine.applier.outcome(caller.tenant, committed, engine.now_ns())
    return {
        "deployment": committed.name,
        "revision": found.revision,
        "state": found.state,
        "reason": found.reason,
        "came_up": found.came_up,
        "rolled_back": found.rolled_back,
        "unwell_before": [fault.to_dict() for fault in found.unwell_before[: observed.SHOWN_DRIFT]],
        "workloads": observed.answers(engine.fleet, caller.tenant, committed.name),
        "history_id": committed.history_id,
    }
