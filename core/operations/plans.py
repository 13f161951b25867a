"""Plans: compute what a deployment would change and save it for an apply; look at saved ones, withdraw one."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from core import clock
from core.deployments import history, plan_text, records, resets, saved_plans
from core.deployments.plan_text import Standing
from core.deployments.planner import Ask
from core.engine import Engine
from core.license import Feature
from core.model import results
from core.model.catalog import NAME_PATTERN
from core.model.operation import Effect, Loss, Params
from core.model.plan import Plan, SavedPlan
from core.model.principal import Caller, Role, Surface
from core.operations.registry import LISTED, Page, moment, operation, position, rows_page
from core.store import saved_plans as table

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)]
Step = Annotated[str, StringConstraints(max_length=200)]
Detail = Literal["concise", "detailed"]


class DeploymentPlan(Params):
    name: Name
    """The deployment, new or existing."""
    source: str | None = Field(default=None, max_length=200)
    """workflow:SLUG[@VERSION] or blueprint:SLUG[@VERSION]; what was applied last when left out."""
    worker_group: Name | None = None
    """The worker group for steps that name none; as before, or `default`, when left out."""
    values: dict[str, Any] = Field(default_factory=dict)
    """Wizard fields (or parameters of a blueprint); those left out stay as they were applied."""
    placement: dict[Step, Name] = Field(default_factory=dict)
    """Step -> worker group."""
    replicas: dict[Step, Annotated[int, Field(ge=1, le=1024)]] = Field(default_factory=dict)
    """Step -> number of copies."""
    exact: bool = False
    """What is given is all: nothing that is left out stays as it was applied."""
    recompute_placement: bool = False
    """Place everything afresh."""
    environment: str | None = Field(default=None, max_length=200)
    """Whose context values {{name}} sees; as before, or none, when left out."""
    remove: bool = False
    """Plan the removal of the deployment."""
    to_revision: int | None = Field(default=None, ge=1, le=2**31)
    """Plan the way back to an earlier revision, exactly as it was."""
    detail: Detail = "concise"
    """detailed: the document of every job that differs."""

    @model_validator(mode="after")
    def _alone(self) -> DeploymentPlan:
        others = self.model_fields_set - {"name", "detail", "to_revision"}
        if self.to_revision is not None and any(getattr(self, name) not in (None, False, {}) for name in others):
            raise ValueError("to_revision brings everything with it: give it without " + ", ".join(sorted(others)))
        return self


PLANNED = (
    *("plan_id", "saved", "base_revision", "summary", "changes", "refused_until", "warnings", "blockers"),
    *("expires_at", "text"),
)


@operation(
    summary="Compute what a deployment would change.",
    http="POST /api/deployments/{name}/plan",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    effect=Effect.WRITE,
    role=Role.ADMIN,
    gated=False,
    outline=PLANNED,
)
async def deployment_plan(engine: Engine, caller: Caller, params: DeploymentPlan) -> results.plans.Plan:
    """Compute a plan: jobs, adapters, channels and placement, with what would change and why. Runs nothing.

    Show `text` to the user; then deployment_apply(plan_id) does exactly this, once. Blockers must be mended first;
    `refused_until` names what an apply waits for. In a read-only session the plan is not saved.
    """
    tenant, name = caller.tenant, params.name
    if params.remove:
        made, revision = await engine.planner.plan_removal(tenant, name)
    elif params.to_revision is not None:
        made, revision = await engine.planner.plan_back(tenant, name, params.to_revision)
    else:
        given = params.model_dump(exclude={"remove", "to_revision", "detail"})
        made, revision = await engine.planner.plan(tenant, Ask(**given))
    return await _saved(engine, caller, "deployment_plan", made, revision, detailed=params.detail == "detailed")


class DeploymentReset(Params):
    name: Name
    """The deployment."""
    step: Step
    """The step that reads, or the module that it is in."""
    to: str = Field(max_length=40)
    """beginning, end, or a time: ISO 8601 with a zone, or how long ago (2h)."""


@operation(
    summary="Plan from where a step reads on.",
    http="POST /api/deployments/{name}/reset",
    toolset="deployments",
    offered_in=("workers",),
    feature=Feature.DEPLOYMENTS,
    effect=Effect.WRITE,
    role=Role.ADMIN,
    outline=PLANNED,
)
async def deployment_reset(engine: Engine, caller: Caller, params: DeploymentReset) -> results.plans.Plan:
    """Plan that the readers of a step read again from a point, or pass over what is there. Changes nothing until
    deployment_apply(plan_id)."""
    to = resets.point(params.to, lambda text: moment(text, engine.now_ns(), "/to"), engine.now_ns())
    made, revision = await engine.planner.plan_reset(caller.tenant, params.name, params.step, to)
    return await _saved(engine, caller, "deployment_reset", made, revision)


class WorkerGroupRebalance(Params):
    name: Name
    """The worker group."""


@operation(
    summary="Plan to spread what runs over the workers of a group.",
    http="POST /api/worker-groups/{name}/rebalance",
    toolset="workers",
    feature=Feature.DEPLOYMENTS,
    effect=Effect.WRITE,
    role=Role.ADMIN,
)
async def worker_group_rebalance(
    engine: Engine, caller: Caller, params: WorkerGroupRebalance
) -> results.plans.Rebalancing:
    """Plan as few moves as even out the workers of a group, after one has joined or takes jobs again: a plan for each
    deployment of this tenant that something moves of. Changes nothing until deployment_apply(plan_id); `text` says what
    moves where. Single jobs stay: deploy them again."""
    group = engine.workforce.group(caller, params.name)
    made = await engine.planner.plan_rebalance(caller.tenant, group.name)
    plans = [await _saved(engine, caller, "worker_group_rebalance", plan, revision) for plan, revision in made]
    nothing = f"Nothing moves: the workers of {group.name} are as even as whole jobs can make them."
    return {"group": group.name, "plans": plans, "text": saved_plans.together(plans) or nothing}


async def _saved(
    engine: Engine, caller: Caller, operation: str, made: Plan, revision: int, *, detailed: bool = False
) -> results.plans.Plan:
    plan_id = expires = None
    if caller.allow_write:
        now = engine.now_ns()
        expires = now + engine.settings.plan_ttl_seconds * clock.NANOSECONDS
        plan_id = await saved_plans.save(engine.database, engine.ids, caller, operation, made, revision, now, expires)
    return await _answer(made, Standing(plan_id, revision, expires), caller, detailed)


async def _answer(made: Plan, standing: Standing, caller: Caller, detailed: bool, start: int = 0) -> results.plans.Plan:
    room = plan_text.TOOL if caller.surface is Surface.MCP else plan_text.WHOLE
    return await asyncio.to_thread(saved_plans.to_answer, made, standing, detailed=detailed, start=start, room=room)


class PlanGet(Params):
    plan_id: str = Field(max_length=64)
    """The plan, from deployment_plan."""
    detail: Detail = "concise"
    """detailed: the document of every job that differs."""
    cursor: str | None = Field(default=None, max_length=64)
    """The last `next_cursor`."""


@operation(
    summary="Show a saved plan again.",
    http="GET /api/plans/{plan_id}",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    role=Role.VIEWER,
)
async def plan_get(engine: Engine, caller: Caller, params: PlanGet) -> results.plans.SavedPlan:
    """Show a saved plan as it was made: all its changes, a page at a time, and its state."""
    saved = await _find(engine, caller, params.plan_id)
    made, standing = await saved_plans.load(engine.database, saved), saved_plans.standing_of(saved)
    answer = await _answer(made, standing, caller, params.detail == "detailed", position(params.cursor) or 0)
    moved = await history.moved(engine.database, saved) if saved.standing == "stale" else []
    return saved_plans.with_state(answer, saved, moved)


class PlanList(Page):
    name: str | None = Field(default=None, max_length=64)
    """Of this deployment."""
    state: Literal["open", "applied", "stale", "expired", "discarded"] | None = None
    """In this state."""


@operation(
    summary="List the saved plans, newest first.",
    http="GET /api/plans",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    outline=LISTED,
    role=Role.VIEWER,
)
async def plan_list(engine: Engine, caller: Caller, params: PlanList) -> results.Listing[results.plans.PlanItem]:
    """List the plans with who made them and their state; one that is over is kept for seven days."""
    rows, total = await engine.database.read(
        lambda db: table.search(
            db,
            caller.tenant,
            engine.now_ns(),
            name=params.name,
            state=params.state,
            before=position(params.cursor),
            limit=params.limit + 1,
        )
    )

    def show(row: table.ListedPlan) -> results.plans.PlanItem:
        return {
            "plan_id": row.id,
            "name": row.name,
            "state": row.standing,
            "blockers": row.blockers,
            "base_revision": row.base_revision,
            "by": row.username,
            "created_at": clock.iso(row.created_at_ns),
            "expires_at": clock.iso(row.expires_at_ns),
        }

    page = rows_page(rows, params.limit, show, lambda row: str(row.created_at_ns))
    return {**page, "total": total}


class PlanDiscard(Params):
    plan_id: str = Field(max_length=64)
    """The plan."""


async def _plan_goes(engine: Engine, caller: Caller, params: PlanDiscard) -> Loss | None:
    saved = await _find(engine, caller, params.plan_id)
    return Loss(f"The plan {saved.id} of deployment {saved.name} is withdrawn.", where="plan_get")


@operation(
    summary="Discard a saved plan.",
    http="DELETE /api/plans/{plan_id}",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    effect=Effect.DESTRUCTIVE,
    destroys=_plan_goes,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
)
async def plan_discard(engine: Engine, caller: Caller, params: PlanDiscard) -> results.plans.DiscardedPlan:
    """Withdraw a plan, so that it can never be applied. Only who made it may; one that is over stays as it is."""
    saved = await _find(engine, caller, params.plan_id)
    await saved_plans.discard(engine.database, engine.ids, caller, saved)
    saved = await _find(engine, caller, params.plan_id)
    return {"plan_id": saved.id, "name": saved.name, "state": saved.standing}


async def _find(engine: Engine, caller: Caller, plan_id: str) -> SavedPlan:
    return await records.saved_plan(engine.database, caller.tenant, plan_id, engine.now_ns())
