"""Workers: who is there to run jobs, and how each of them does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from core import errors
from core.deployments.draining import Given
from core.engine import Engine
from core.fleet.connection import LOCAL
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.model.worker_group import WorkerSetting
from core.operations.losses import counted
from core.operations.registry import Page, items_schema, offset_page, operation
from core.operations.worker_groups import GroupName, Labels, refuse_external, sees
from core.store import audit, external_workers, worker_groups


class WorkerList(Page):
    group: str | None = Field(default=None, max_length=64)
    """Only workers of this group."""
    state: Literal["online", "draining", "offline", "lost"] | None = None
    """Only workers in this state."""
    label: str | None = Field(default=None, max_length=63)
    """Only workers with this label, of their own or of their group."""


@operation(
    summary="List the workers.",
    http="GET /api/workers",
    toolset="workers",
    result=items_schema(),
    offline=False,
    role=Role.USER,
)
async def worker_list(engine: Engine, caller: Caller, params: WorkerList) -> dict[str, Any]:
    """List the workers whose groups admit this tenant: group, state, process id, slots, labels, how many jobs each
    holds, and how far the kernel confines it (`sandbox`: full, off, or partial with what is lacking)."""
    groups = [group for group in engine.fleet.groups if sees(caller, group)]
    there = {group.name for group in groups}
    labelled = {group.name for group in groups if params.label in group.labels}
    rows = [
        row
        for row in engine.fleet.worker_rows()
        if row["group"] in there
        and (params.group is None or row["group"] == params.group)
        and (params.state is None or row["state"] == params.state)
        and (params.label is None or params.label in row["labels"] or row["group"] in labelled)
    ]
    return offset_page(rows, params)


class WorkerGet(Params):
    name: str = Field(max_length=64)
    """The name of the worker."""


@operation(
    summary="Show one worker: memory, loop lag, its jobs.",
    http="GET /api/workers/{name}",
    toolset="workers",
    offline=False,
    role=Role.USER,
)
async def worker_get(engine: Engine, caller: Caller, params: WorkerGet) -> dict[str, Any]:
    """Show a worker: what it reports of itself now (memory, loop lag, channels) and this tenant's jobs on it with
    state and metrics. `report` is null when it does not answer, and `unreachable` says why."""
    row = _row(engine, caller, params.name)
    report, unreachable = None, ""
    try:
        report = await engine.fleet.request(params.name, "report", {})
    except errors.TargetUnavailable as error:
        unreachable = error.message
    if report is not None:
        tenant = f"{caller.tenant}/"
        depths = report["channels"].items()
        report["channels"] = {key.removeprefix(tenant): depth for key, depth in depths if key.startswith(tenant)}
    return {
        **row,
        "report": report,
        "unreachable": unreachable,
        "workloads": engine.fleet.workload_rows(tenant=caller.tenant, worker=params.name),
    }


class WorkerUpdate(Params):
    name: str = Field(max_length=64)
    """The worker."""
    group: GroupName | None = None
    """Put it in this group; what it runs moves to workers of the group before, as far as they have room."""
    labels: Labels | None = None
    """In place of its labels before."""
    wait_seconds: int = Field(default=10, ge=0, le=300)
    """How long to wait until what moves has settled."""


@operation(
    summary="Put a worker in another group, or label it.",
    http="PATCH /api/workers/{name}",
    toolset="workers",
    effect=Effect.WRITE,
    role=Role.ADMIN,
    platform=True,
    idempotent=True,
)
async def worker_update(engine: Engine, caller: Caller, params: WorkerUpdate) -> dict[str, Any]:
    """Change the group or the labels of a worker; this holds over restarts. Jobs whose group it leaves move away;
    what has no other place runs on where it is, and shows as drift of its deployment."""
    said = _said(engine, caller, params.name)
    changed = replace(
        said,
        group=params.group or said.group,
        labels=said.labels if params.labels is None else tuple(dict.fromkeys(params.labels)),
    )
    return await _say(engine, caller, changed, "worker_update", params.wait_seconds, leaves=params.group is not None)


class WorkerDrain(Params):
    name: str = Field(max_length=64)
    """The worker."""
    wait_seconds: int = Field(default=10, ge=0, le=300)
    """How long to wait until what moves has settled."""


@operation(
    summary="Drain a worker: it gets nothing new, and gives away what it has.",
    http="POST /api/workers/{name}/drain",
    toolset="workers",
    effect=Effect.WRITE,
    role=Role.ADMIN,
    platform=True,
    idempotent=True,
)
async def worker_drain(engine: Engine, caller: Caller, params: WorkerDrain) -> dict[str, Any]:
    """Take a worker out of service without loss: nothing new is placed on it, and what can move to other workers of
    its group does. `stays` names what has no other place; that runs on. worker_resume ends it."""
    said = replace(_said(engine, caller, params.name), drained=True)
    return await _say(engine, caller, said, "worker_drain", params.wait_seconds, leaves=True)


class WorkerResume(Params):
    name: str = Field(max_length=64)
    """The worker."""


@operation(
    summary="Let a drained worker take jobs again.",
    http="POST /api/workers/{name}/resume",
    toolset="workers",
    effect=Effect.WRITE,
    role=Role.ADMIN,
    platform=True,
    idempotent=True,
)
async def worker_resume(engine: Engine, caller: Caller, params: WorkerResume) -> dict[str, Any]:
    """End the drain of a worker. What has moved away stays where it is until a plan recomputes the placement."""
    said = replace(_said(engine, caller, params.name), drained=False)
    return await _say(engine, caller, said, "worker_resume", 0, leaves=False)


class WorkerRemove(Params):
    name: str = Field(max_length=64)
    """The worker."""


async def _worker_goes(engine: Engine, caller: Caller, params: WorkerRemove) -> Loss | None:
    row = _row(engine, caller, params.name)
    if row["kind"] == LOCAL or engine.fleet.workers[params.name].connected:
        return None  # it is refused
    ids = [one["id"] for one in engine.fleet.on(params.name)]
    mine = counted("workload", (id for id in ids if id.startswith(f"{caller.tenant}/")))
    text = f"The worker {params.name} of group {row['group']} is forgotten; it should run {len(ids)} workloads"
    return Loss(f"{text}, of this tenant {mine}.", where="worker_get")


@operation(
    summary="Forget a worker of another machine that has gone for good.",
    http="DELETE /api/workers/{name}",
    toolset="workers",
    effect=Effect.DESTRUCTIVE,
    destroys=_worker_goes,
    role=Role.ADMIN,
    platform=True,
)
async def worker_remove(engine: Engine, caller: Caller, params: WorkerRemove) -> dict[str, Any]:
    """Forget an external worker, with its labels and its drain. What it still should run moves at the next reconcile.
    A worker that is connected, or that this engine starts itself, is not removed; one that joins again is new."""
    row = _row(engine, caller, params.name)
    if row["kind"] == LOCAL:
        raise errors.AlreadyExists(
            f"The engine starts worker {params.name} itself.", hint="Start the engine with fewer --workers."
        )
    if engine.fleet.workers[params.name].connected:
        raise errors.Busy(f"Worker {params.name} is connected.", hint="Stop 'sluice worker' on its machine first.")
    note = audit.row(engine.ids.next(), caller, "worker_remove", params.name)
    await engine.database.write(external_workers.forget, params.name, note)
    engine.fleet.forget(params.name)
    await engine.fleet.regroup()
    return {"name": params.name, "removed": True}


async def _say(
    engine: Engine, caller: Caller, said: WorkerSetting, operation: str, wait_seconds: int, *, leaves: bool
) -> dict[str, Any]:
    """Keep what is said about a worker, and move away what must not stay on it: the worker with moved[], stays[]."""
    group = engine.fleet.groups.get(said.group or "")
    if group is not None and group.open:
        refuse_external(group, [engine.fleet.workers[said.name]])
    if said != engine.fleet.groups.said(said.name):
        note = audit.row(engine.ids.next(), caller, operation, said.name)
        await engine.database.write(worker_groups.set_worker, said, engine.now_ns(), caller.username, note)
        await engine.fleet.regroup()
    given = await engine.drainer.vacate(caller, said.name) if leaves else Given()
    if given.moved:
        await engine.fleet.wait(lambda: engine.fleet.settled(given.moved), wait_seconds)
    mine = f"{caller.tenant}/"
    return {
        **_row(engine, caller, said.name),
        "moved": [{"id": id, "worker": to} for id, to in given.moved.items() if id.startswith(mine)],
        "stays": [{"id": id, "reason": why} for id, why in given.stays.items() if id.startswith(mine)],
        "moved_in_all": len(given.moved),
        "stays_in_all": len(given.stays),
    }


def _said(engine: Engine, caller: Caller, name: str) -> WorkerSetting:
    _row(engine, caller, name)
    return engine.fleet.groups.said(name)


def _row(engine: Engine, caller: Caller, name: str) -> dict[str, Any]:
    row = next((row for row in engine.fleet.worker_rows() if row["name"] == name), None)
    if row is None or not sees(caller, engine.fleet.groups.get(row["group"])):
        raise errors.NotFound(
            f"There is no worker {errors.shorten(name, 64)}.", hint="worker_list shows what there is."
        )
    return row
