"""Deployments as they are now and as they were: show, list, history."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.deployments import answers, history, observed, records
from core.engine import Engine
from core.license import Feature
from core.model import results
from core.model.deployment import HistoryEntry, State
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.model.typed_condition import Status
from core.operations.registry import LISTED, Page, Sorted, offset_page, operation, position, rows_page
from core.store import deployments as table


class DeploymentGet(Params):
    name: str = Field(max_length=64)
    """The deployment."""
    detail: Literal["concise", "detailed"] = "concise"
    """detailed adds channels, placement, metrics of workloads, all conditions, and where relative paths start."""


@operation(
    summary="Show one deployment.",
    http="GET /api/deployments/{name}",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    role=Role.VIEWER,
)
async def deployment_get(engine: Engine, caller: Caller, params: DeploymentGet) -> results.deployments.Deployment:
    """Show a deployment as it is now: state, since when, `conditions` that are false, values and `defaults` of those
    left out, workloads, and drift from what was applied. Of a large one, what needs attention comes first.
    """
    row = await records.deployment(engine.database, caller.tenant, params.name)
    found, drift = answers.summary(engine.fleet, caller.tenant, row, engine.now_ns())
    applied = await engine.database.read(lambda db: table.history(db, caller.tenant, params.name, limit=1))
    wish = State.from_dict(row.desired)
    detailed = params.detail == "detailed"
    typed = observed.typed(engine.fleet, caller.tenant, params.name)
    values, defaults = await answers.values(engine.library, row, wish.values)
    shown: results.deployments.Deployment = {
        **found,  # type: ignore[typeddict-item]  # which has none of the keys that follow only now and then
        "workloads_up": answers.up(engine.fleet, caller.tenant, row),
        "conditions": [one.to_dict() for one in typed if detailed or one.status == Status.FALSE],
        "worker_group": wish.group,
        "values": values,
        "defaults": defaults,
        "workloads": observed.answers(engine.fleet, caller.tenant, params.name, detailed),
        "drift": [one.to_dict() for one in drift[: observed.SHOWN_DRIFT]],
        "reconcile": {
            "mode": row.reconcile,
            "interval_seconds": row.reconcile_interval_seconds or engine.settings.reconcile_interval_seconds,
            "ignore": row.ignored,
        },
        "last_applied": history.to_answer(applied[0]) if applied else None,
    }
    jobs = [one.job for one in engine.fleet.workload_views(tenant=caller.tenant, deployment=params.name)]
    if (letters := engine.letters.of(caller.tenant, jobs)).any:
        shown["letters"] = letters.to_dict()
    if detailed:
        shown["placement"] = {job: list(workers) for job, workers in wish.assignments.items()}
        shown["channels"] = [channel.to_dict() for channel in wish.channels.values()]
        shown["data_directory"] = engine.reach.directory(caller.tenant, wish.group)
    return shown


class DeploymentList(Sorted):
    include_removed: bool = False
    """Show removed ones too."""
    query: str = Field(default="", max_length=200)
    """Words in names and sources."""
    state: Literal["running", "applying", "warning", "degraded", "failed", "removed"] | None = None
    """Only these (warning is a health)."""


@operation(
    summary="List the deployments.",
    http="GET /api/deployments",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    outline=LISTED,
    role=Role.VIEWER,
)
async def deployment_list(
    engine: Engine, caller: Caller, params: DeploymentList
) -> results.Listing[results.deployments.DeploymentItem]:
    """List the deployments with state, health, since when, why, and revision."""
    rows = await engine.database.read(table.all_rows, caller.tenant)
    listed = [answers.listed(engine.fleet, caller.tenant, row, engine.now_ns()) for row in rows]
    removed = params.include_removed or params.state == "removed"
    return offset_page([one for one in listed if answers.fits(one, params.query, params.state, removed)], params)


Revision = Annotated[int, Field(ge=1, le=2**31)]


class DeploymentHistory(Page):
    name: str = Field(max_length=64)
    """The deployment."""
    compare: list[Revision] | None = Field(default=None, min_length=1, max_length=2)
    """Revisions to compare, old and new; one: with the present."""


@operation(
    summary="Show what was applied to a deployment.",
    http="GET /api/deployments/{name}/history",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    outline=LISTED,
    role=Role.VIEWER,
)
async def deployment_history(
    engine: Engine, caller: Caller, params: DeploymentHistory
) -> results.deployments.DeploymentHistory:
    """Show every apply, removal, rollback and reconcile, newest first: who, when, door, plan, reason and the values
    `changed`. deployment_plan(to_revision=N) plans the way back."""
    row = await records.deployment(engine.database, caller.tenant, params.name)
    database, tenant, name = engine.database, caller.tenant, params.name
    total = await database.read(table.revisions, tenant, name)
    if params.compare is not None:
        old, new = (*params.compare, row.revision)[:2]
        return await history.compare(database, tenant, name, old, new, total)
    before = position(params.cursor)
    rows = await database.read(lambda db: table.history(db, tenant, name, before_id=before, limit=params.limit + 1))
    said = await history.changed(database, tenant, name, [entry.revision for entry in rows])

    def show(entry: HistoryEntry) -> results.deployments.Revision:
        return history.to_answer(entry, said.get(entry.revision, ()))

    page = rows_page(rows, params.limit, show, lambda entry: str(entry.id))
    return {"items": page["items"], "next_cursor": page["next_cursor"], "total": total}
