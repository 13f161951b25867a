"""Worker groups: make, change, rename and delete the sets of workers that steps are placed in."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from core.engine import Engine
from core.model import results
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.model.worker_group import ANY_TENANT, WorkerGroup
from core.operations.losses import counted
from core.operations.registry import LISTED, GroupName, Labels, Sorted, offset_page, operation

Tenant = Annotated[str, StringConstraints(pattern=r"^(?:\*|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$")]
Tenants = Annotated[list[Tenant], Field(max_length=1000)]
Slots = Annotated[int, Field(ge=0, le=4096)]


class WorkerGroupList(Sorted):
    label: str | None = Field(default=None, max_length=63)
    """Only groups with this label."""


@operation(
    summary="List the worker groups.",
    http="GET /api/worker-groups",
    toolset="workers",
    outline=LISTED,
    offline=False,
    role=Role.VIEWER,
)
async def worker_group_list(
    engine: Engine, caller: Caller, params: WorkerGroupList
) -> results.Listing[results.workers.WorkerGroup]:
    """List the worker groups that admit this tenant, with labels, their workers, and how many jobs they can hold and
    do hold; to an admin of every tenant, all of them."""
    listed = [_answer(engine, group, caller) for group in engine.workforce.visible(caller)]
    return offset_page([one for one in listed if params.label is None or params.label in one["labels"]], params)


class WorkerGroupGet(Params):
    name: str = Field(max_length=63)
    """The group."""


@operation(
    summary="Show one worker group.",
    http="GET /api/worker-groups/{name}",
    toolset="workers",
    offline=False,
    role=Role.VIEWER,
)
async def worker_group_get(engine: Engine, caller: Caller, params: WorkerGroupGet) -> results.workers.WorkerGroupShown:
    """Show a worker group: labels, slots, its workers, and what is placed in it (of this tenant)."""
    group = engine.workforce.group(caller, params.name)
    placed = [one for one in engine.fleet.workload_views(tenant=caller.tenant) if one.group == group.name]
    return {
        **_answer(engine, group, caller),
        "worker_rows": [row for row in engine.fleet.worker_rows() if row["group"] == group.name],
        "deployments": sorted({one.deployment for one in placed if one.deployment}),
        "unmanaged_jobs": sorted({one.job for one in placed if not one.deployment}),
    }


class WorkerGroupCreate(Params):
    name: GroupName
    """Lower-case letters, digits, - and _."""
    slots: Slots = 0
    """How many jobs each of its workers may hold; 0: as the worker was started."""
    labels: Labels = Field(default_factory=list)
    """Words that describe the group, such as zone=eu; they are searched for and place nothing."""
    tenants: Tenants = Field(default_factory=lambda: [ANY_TENANT])
    """The tenants whose jobs its workers may be given; * for every one. Workers of other machines only join a group
    that names its tenants."""


@operation(
    summary="Make a worker group.",
    http="POST /api/worker-groups",
    toolset="workers",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    platform=True,
)
async def worker_group_create(engine: Engine, caller: Caller, params: WorkerGroupCreate) -> results.workers.WorkerGroup:
    """Make a worker group. Put workers in it with worker_update, or start them in it (--workers GROUP=N)."""
    group = await engine.workforce.create_group(caller, params.name, params.slots, params.labels, params.tenants)
    return _answer(engine, group, caller)


class WorkerGroupUpdate(Params):
    name: str = Field(max_length=63)
    """The group."""
    new_name: GroupName | None = None
    """Rename it; its workers and context values go with it. Refused while a job is placed in it."""
    slots: Slots | None = None
    """How many jobs each of its workers may hold; 0: as the worker was started. As before when left out."""
    labels: Labels | None = None
    """In place of the labels before."""
    tenants: Tenants | None = None
    """In place of the tenants that it admitted before; * for every one. Refused while one that is left out has
    something placed in it, and * while a worker of another machine belongs to it."""


@operation(
    summary="Change or rename a worker group.",
    http="PATCH /api/worker-groups/{name}",
    toolset="workers",
    effect=Effect.WRITE,
    role=Role.ADMIN,
    platform=True,
    idempotent=True,
)
async def worker_group_update(engine: Engine, caller: Caller, params: WorkerGroupUpdate) -> results.workers.WorkerGroup:
    """Change the slots, labels or tenants of a worker group, or rename it. Fewer slots move nothing that runs."""
    group = await engine.workforce.update_group(
        caller, params.name, params.new_name, params.slots, params.labels, params.tenants
    )
    return _answer(engine, group, caller)


class WorkerGroupDelete(Params):
    name: str = Field(max_length=63)
    """The group."""


async def _group_goes(engine: Engine, caller: Caller, params: WorkerGroupDelete) -> Loss | None:
    group = engine.workforce.group(caller, params.name)
    if not engine.workforce.removable(group):
        return None  # it is refused
    return Loss(f"The worker group {group.name} goes, with {counted('label', group.labels)}.")


@operation(
    summary="Delete a worker group that is not used.",
    http="DELETE /api/worker-groups/{name}",
    toolset="workers",
    effect=Effect.DESTRUCTIVE,
    destroys=_group_goes,
    role=Role.ADMIN,
    platform=True,
)
async def worker_group_delete(
    engine: Engine, caller: Caller, params: WorkerGroupDelete
) -> results.workers.WorkerGroupDeleted:
    """Delete a worker group. Refused while it has workers, or a deployment or job is placed in it."""
    group = await engine.workforce.delete_group(caller, params.name)
    return {"name": group.name, "deleted": True}


def _answer(engine: Engine, group: WorkerGroup, caller: Caller) -> results.workers.WorkerGroup:
    rows = [row for row in engine.fleet.worker_rows() if row["group"] == group.name]
    return {
        "name": group.name,
        "labels": list(group.labels),
        "slots": group.slots,
        "tenants": list(group.tenants) if group.open or caller.administers_all else [caller.tenant],
        "workers": [row["name"] for row in rows],
        "online": sum(row["state"] == "online" for row in rows),
        "capacity": sum(row["slots"] for row in rows if row["state"] == "online"),
        "jobs": sum(row["jobs"] for row in rows),
    }
