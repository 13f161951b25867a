"""Saved plans: look at one again, list them, withdraw one."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from pydantic import Field

from core import clock, errors
from core.deployments import planning
from core.engine import Engine
from core.license import Feature
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations.plans import Detail
from core.operations.registry import Page, items_schema, operation, position, rows_page
from core.store import audit
from core.store import deployments as table
from core.store import plans as plan_table


class PlanGet(Params):
    plan_id: str = Field(max_length=64)
    """The plan, from deployment_plan."""
    detail: Detail = "concise"
    """detailed shows the document of every job that comes, changes or goes."""
    cursor: str | None = Field(default=None, max_length=64)
    """`next_cursor` of the page of changes before."""


@operation(
    summary="Show a saved plan again.",
    http="GET /api/plans/{plan_id}",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    role=Role.USER,
)
async def plan_get(engine: Engine, caller: Caller, params: PlanGet) -> dict[str, Any]:
    """Show a saved plan as it was made: all its changes, a page at a time, and its state (open, applied, stale,
    expired or discarded)."""
    saved = await find(engine, caller, params.plan_id)
    base = await engine.database.read(table.version, caller.tenant, saved["name"], saved["base_revision"])
    made = await asyncio.to_thread(planning.again, saved, base)
    answer = planning.shown(
        made,
        plan_id=saved["id"],
        base_revision=saved["base_revision"],
        expires_ns=saved["expires_at_ns"],
        detailed=params.detail == "detailed",
        start=position(params.cursor) or 0,
    )
    applied = saved["applied_as"]
    return {
        **answer,
        "state": saved["standing"],
        "applied_as_revision": applied,
        "by": saved["username"],
        "created_at": clock.iso(saved["created_at_ns"]),
    }


class PlanList(Page):
    name: str | None = Field(default=None, max_length=64)
    """Only plans of this deployment."""
    state: Literal["open", "applied", "stale", "expired", "discarded"] | None = None
    """Only plans in this state."""


@operation(
    summary="List the saved plans, newest first.",
    http="GET /api/plans",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    result=items_schema(),
    tool=False,
    role=Role.USER,
)
async def plan_list(engine: Engine, caller: Caller, params: PlanList) -> dict[str, Any]:
    """List the plans of this tenant with who made them and their state; one that is over is kept for seven days."""
    rows, total = await engine.database.read(
        lambda db: plan_table.search(
            db,
            caller.tenant,
            engine.now_ns(),
            name=params.name,
            state=params.state,
            before=position(params.cursor),
            limit=params.limit + 1,
        )
    )

    def show(row: dict[str, Any]) -> dict[str, Any]:
        return {
            "plan_id": row["id"],
            "name": row["name"],
            "state": row["standing"],
            "base_revision": row["base_revision"],
            "by": row["username"],
            "created_at": clock.iso(row["created_at_ns"]),
            "expires_at": clock.iso(row["expires_at_ns"]),
        }

    page = rows_page(rows, params.limit, show, lambda row: str(row["created_at_ns"]))
    return {**page, "total": total}


class PlanDiscard(Params):
    plan_id: str = Field(max_length=64)
    """The plan."""


async def _plan_goes(engine: Engine, caller: Caller, params: PlanDiscard) -> Loss | None:
    saved = await find(engine, caller, params.plan_id)
    return Loss(f"The plan {saved['id']} of deployment {saved['name']} is withdrawn.", where="plan_get")


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
    tool=False,
)
async def plan_discard(engine: Engine, caller: Caller, params: PlanDiscard) -> dict[str, Any]:
    """Withdraw a plan, so that it can never be applied. Only who made it may; one that is over stays as it is."""
    saved = await find(engine, caller, params.plan_id)
    if saved["username"] != caller.username:
        raise errors.Forbidden(f"This plan was made by {saved['username']}; only they can discard it.")
    note = audit.row(engine.ids.next(), caller, "plan_discard", f"{caller.tenant}/{saved['name']}")
    await engine.database.write(plan_table.discard, params.plan_id, note)
    saved = await find(engine, caller, params.plan_id)
    return {"plan_id": saved["id"], "name": saved["name"], "state": saved["standing"]}


async def find(engine: Engine, caller: Caller, plan_id: str) -> dict[str, Any]:
    """A saved plan with its `standing` now. Raises NotFound, also for one of another tenant."""
    saved = await engine.database.read(plan_table.get, caller.tenant, plan_id, engine.now_ns())
    if saved is None:
        raise errors.NotFound(
            f"There is no plan {errors.shorten(plan_id, 64)} in tenant {caller.tenant}.",
            hint="Make one with deployment_plan; a plan of a read-only session is not saved.",
        )
    return saved
