"""Worker groups: make, change, rename and delete the sets of workers that steps are placed in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from core import errors
from core.engine import Engine
from core.fleet.connection import EXTERNAL, Worker
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.model.worker_group import ANY_TENANT, DEFAULT_GROUP, LABEL_PATTERN, MOST_LABELS, NAME_PATTERN, WorkerGroup
from core.operations.losses import counted
from core.operations.registry import Page, items_schema, offset_page, operation
from core.store import audit
from core.store import worker_groups as table

GroupName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)]
Label = Annotated[str, StringConstraints(pattern=LABEL_PATTERN, max_length=63)]
Labels = Annotated[list[Label], Field(max_length=MOST_LABELS)]
Tenant = Annotated[str, StringConstraints(pattern=r"^(?:\*|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$")]
Tenants = Annotated[list[Tenant], Field(max_length=1000)]
Slots = Annotated[int, Field(ge=0, le=4096)]


class WorkerGroupList(Page):
    label: str | None = Field(default=None, max_length=63)
    """Only groups with this label."""


@operation(
    summary="List the worker groups.",
    http="GET /api/worker-groups",
    toolset="workers",
    result=items_schema(),
    offline=False,
    role=Role.USER,
)
async def worker_group_list(engine: Engine, caller: Caller, params: WorkerGroupList) -> dict[str, Any]:
    """List the worker groups that admit this tenant, with labels, their workers, and how many jobs they can hold and
    do hold; to an admin of every tenant, all of them."""
    groups = sorted((group for group in engine.fleet.groups if sees(caller, group)), key=lambda group: group.name)
    listed = [_shown(engine, group, caller) for group in groups]
    return offset_page([one for one in listed if params.label is None or params.label in one["labels"]], params)


class WorkerGroupGet(Params):
    name: str = Field(max_length=63)
    """The group."""


@operation(
    summary="Show one worker group.",
    http="GET /api/worker-groups/{name}",
    toolset="workers",
    offline=False,
    role=Role.USER,
)
async def worker_group_get(engine: Engine, caller: Caller, params: WorkerGroupGet) -> dict[str, Any]:
    """Show a worker group: labels, slots, its workers, and what is placed in it (of this tenant)."""
    group = _find(engine, caller, params.name)
    placed = [row for row in engine.fleet.workload_rows(tenant=caller.tenant) if row["group"] == group.name]
    return {
        **_shown(engine, group, caller),
        "worker_rows": [row for row in engine.fleet.worker_rows() if row["group"] == group.name],
        "deployments": sorted({row["deployment"] for row in placed if row["deployment"]}),
        "unmanaged_jobs": sorted({row["job"] for row in placed if not row["deployment"]}),
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
async def worker_group_create(engine: Engine, caller: Caller, params: WorkerGroupCreate) -> dict[str, Any]:
    """Make a worker group. Put workers in it with worker_update, or start them in it (--workers GROUP=N)."""
    labels, tenants = tuple(dict.fromkeys(params.labels)), tuple(sorted(set(params.tenants)))
    group = WorkerGroup(params.name, params.slots or None, labels, tenants)
    note = audit.row(engine.ids.next(), caller, "worker_group_create", group.name)
    await engine.database.write(table.create, group, engine.now_ns(), caller.username, note)
    await engine.fleet.regroup()
    return _shown(engine, group, caller)


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
async def worker_group_update(engine: Engine, caller: Caller, params: WorkerGroupUpdate) -> dict[str, Any]:
    """Change the slots, labels or tenants of a worker group, or rename it. Fewer slots move nothing that runs."""
    before = _find(engine, caller, params.name)
    name = params.new_name or before.name
    if before.name == DEFAULT_GROUP and name != DEFAULT_GROUP:
        raise _default("renamed")
    slots = before.slots if params.slots is None else params.slots or None
    labels = before.labels if params.labels is None else tuple(dict.fromkeys(params.labels))
    tenants = before.tenants if params.tenants is None else tuple(sorted(set(params.tenants)))
    changed = WorkerGroup(name, slots, labels, tenants)
    if changed.open:
        refuse_external(changed, [one for one in engine.fleet.workers.values() if one.group == before.name])
    if changed != before:
        note = audit.row(engine.ids.next(), caller, "worker_group_update", f"{before.name} {name}".strip())
        members = _members(engine, before.name)
        await engine.database.write(table.update, before.name, changed, members, engine.now_ns(), caller.username, note)
        await engine.fleet.regroup()
    return _shown(engine, changed, caller)


class WorkerGroupDelete(Params):
    name: str = Field(max_length=63)
    """The group."""


async def _group_goes(engine: Engine, caller: Caller, params: WorkerGroupDelete) -> Loss | None:
    group = _find(engine, caller, params.name)
    if group.name == DEFAULT_GROUP or _members(engine, group.name):
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
async def worker_group_delete(engine: Engine, caller: Caller, params: WorkerGroupDelete) -> dict[str, Any]:
    """Delete a worker group. Refused while it has workers, or a deployment or job is placed in it."""
    group = _find(engine, caller, params.name)
    if group.name == DEFAULT_GROUP:
        raise _default("deleted")
    members = _members(engine, group.name)
    if members:
        raise table.has_workers(group.name, members)
    note = audit.row(engine.ids.next(), caller, "worker_group_delete", group.name)
    await engine.database.write(table.delete, group.name, note)
    await engine.fleet.regroup()
    return {"name": group.name, "deleted": True}


def sees(caller: Caller, group: WorkerGroup | None) -> bool:
    """Whether a group is there for a caller: it admits the tenant, or the caller administers all of them."""
    return group is not None and (group.admits(caller.tenant) or caller.administers_all)


def refuse_external(group: WorkerGroup, workers: Iterable[Worker]) -> None:
    """Raises InvalidParams when a group that admits every tenant would have one of these that is of another machine."""
    names = [worker.name for worker in workers if worker.kind == EXTERNAL]
    if names:
        raise errors.InvalidParams(
            f"{', '.join(names[:3])} is of another machine, and worker group {group.name} admits every tenant.",
            hint=f"Name its tenants: sluice group update {group.name} --admit TENANT.",
        )


def _find(engine: Engine, caller: Caller, name: str) -> WorkerGroup:
    group = engine.fleet.groups.get(name)
    if group is None or not sees(caller, group):
        raise table.missing(name)
    return group


def _members(engine: Engine, name: str) -> list[str]:
    return [worker.name for worker in engine.fleet.workers.values() if worker.group == name]


def _default(what: str) -> errors.InvalidParams:
    return errors.InvalidParams(
        f"The worker group {DEFAULT_GROUP} cannot be {what}: it is where workers and steps begin.",
        hint="Make another group and put the workers in it.",
    )


def _shown(engine: Engine, group: WorkerGroup, caller: Caller) -> dict[str, Any]:
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
