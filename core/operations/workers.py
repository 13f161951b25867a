"""Workers: who is there to run jobs, and how each of them does."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core import errors
from core.deployments.draining import Given
from core.engine import Engine
from core.model import results
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations.losses import counted
from core.operations.registry import LISTED, GroupName, Labels, Sorted, offset_page, operation


class WorkerList(Sorted):
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
    outline=LISTED,
    offline=False,
    role=Role.VIEWER,
)
async def worker_list(engine: Engine, caller: Caller, params: WorkerList) -> results.Listing[results.workers.Worker]:
    """List the workers whose groups admit this tenant: group, state, process id, slots, labels, how many jobs each
    holds, and how far the kernel confines it (`sandbox`: full, off, or partial with what is lacking)."""
    groups = engine.workforce.visible(caller)
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
    role=Role.VIEWER,
)
async def worker_get(engine: Engine, caller: Caller, params: WorkerGet) -> results.workers.WorkerShown:
    """Show a worker: what it reports of itself now (memory, loop lag, channels) and this tenant's jobs on it with
    state and metrics. `report` is null when it does not answer, and `unreachable` says why."""
    row = engine.workforce.worker(caller, params.name)
    report, unreachable = None, ""
    try:
        report = await engine.fleet.request(params.name, "report", {})
    except errors.TargetUnavailable as error:
        unreachable = error.message
    if report is not None:
        tenant = f"{caller.tenant}/"
        depths = report["channels"].items()
        report["channels"] = {key.removeprefix(tenant): depth for key, depth in depths if key.startswith(tenant)}
    workloads = engine.fleet.workload_views(tenant=caller.tenant, worker=params.name)
    return {
        **row,
        "report": report,
        "unreachable": unreachable,
        "workloads": [one.to_dict() for one in workloads],
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
async def worker_update(engine: Engine, caller: Caller, params: WorkerUpdate) -> results.workers.WorkerChanged:
    """Change the group or the labels of a worker; this holds over restarts. Jobs whose group it leaves move away;
    what has no other place runs on where it is, and shows as drift of its deployment."""
    await engine.workforce.update_worker(caller, "worker_update", params.name, group=params.group, labels=params.labels)
    return await _moved(engine, caller, params.name, params.wait_seconds, leaves=params.group is not None)


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
    role=Role.OPERATOR,
    platform=True,
    idempotent=True,
)
async def worker_drain(engine: Engine, caller: Caller, params: WorkerDrain) -> results.workers.WorkerChanged:
    """Take a worker out of service without loss: nothing new is placed on it, and what can move to other workers of
    its group does. `stays` names what has no other place; that runs on. worker_resume ends it."""
    await engine.workforce.update_worker(caller, "worker_drain", params.name, drained=True)
    return await _moved(engine, caller, params.name, params.wait_seconds, leaves=True)


class WorkerResume(Params):
    name: str = Field(max_length=64)
    """The worker."""


@operation(
    summary="Let a drained worker take jobs again.",
    http="POST /api/workers/{name}/resume",
    toolset="workers",
    effect=Effect.WRITE,
    role=Role.OPERATOR,
    platform=True,
    idempotent=True,
)
async def worker_resume(engine: Engine, caller: Caller, params: WorkerResume) -> results.workers.WorkerChanged:
    """End the drain of a worker. What has moved away stays where it is until
    worker_group_rebalance plans its way back, or a plan recomputes the placement."""
    await engine.workforce.update_worker(caller, "worker_resume", params.name, drained=False)
    return await _moved(engine, caller, params.name, 0, leaves=False)


class WorkerRemove(Params):
    name: str = Field(max_length=64)
    """The worker."""


async def _worker_goes(engine: Engine, caller: Caller, params: WorkerRemove) -> Loss | None:
    row = engine.workforce.worker(caller, params.name)
    if not engine.workforce.forgettable(caller, params.name):
        return None  # it is refused
    ids = [one.id for one in engine.fleet.on(params.name)]
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
async def worker_remove(engine: Engine, caller: Caller, params: WorkerRemove) -> results.workers.WorkerRemoved:
    """Forget an external worker, with its labels and its drain. What it still should run moves at once, as far as there
    is room; `stays` names the rest, which waits. A worker that is connected, or that this engine starts itself, is not
    removed; one that joins again is new (worker_revoke keeps it out)."""
    engine.workforce.refuse_present(caller, params.name)
    engine.fleet.forsake(params.name)
    given = await engine.drainer.vacate(caller, params.name, gone=True)
    await engine.workforce.forget(caller, params.name)
    return {"name": params.name, "removed": True, **await engine.drainer.leaving(caller, given, 0)}


async def _moved(
    engine: Engine, caller: Caller, name: str, wait_seconds: int, *, leaves: bool
) -> results.workers.WorkerChanged:
    """Move away what must not stay on a worker that `leaves` its place: the worker with moved[], stays[]."""
    given = await engine.drainer.vacate(caller, name) if leaves else Given()
    left = await engine.drainer.leaving(caller, given, wait_seconds)
    return {**engine.workforce.worker(caller, name), **left}
