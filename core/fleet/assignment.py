"""Where the replicas of a single job run. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from core import errors
from core.model.states import WorkerState
from core.model.workload import WorkloadRow, WorkloadView, id_of

if TYPE_CHECKING:
    from core.model.results.workers import Worker


def assign(
    job: dict[str, Any],
    group: str,
    replicas: int,
    workers: list[Worker],
    before: Iterable[WorkloadView],
    now_ns: int,
    near: str = "",
) -> list[WorkloadRow]:
    """Workload rows for a staged job: replicas stay where they are, new ones go to the least loaded worker. A worker
    that is not there gets none, and keeps none, while there is one that is.

    `near` is the worker that holds the other end of the job's worker channel, which is a hop inside one worker: all
    replicas go there. Raises TargetUnavailable when the group has no worker that could take them.
    """
    members = [w for w in workers if w["group"] == group]
    eligible = [w for w in members if not w["drained"]]
    if not eligible:
        groups = ", ".join(sorted({w["group"] for w in workers if not w["drained"]})) or "none"
        raise errors.TargetUnavailable(
            f"Worker group {errors.shorten(group, 64)} has no worker{' that is not drained' if members else ''}.",
            hint=f"Groups with workers for this tenant: {groups}.",
        )
    eligible = [w for w in eligible if w["state"] == WorkerState.ONLINE] or eligible
    slots = {w["name"]: w["slots"] for w in eligible}
    load = {w["name"]: w["jobs"] for w in eligible}
    kept = {view.replica: view.worker for view in before if view.worker in load}
    if near in load:
        kept = dict.fromkeys(range(replicas), near)
    rows = []
    for replica in range(replicas):
        worker = kept.get(replica)
        if worker is None:
            worker = min(load, key=lambda name: (load[name] - slots[name], name))
            if load[worker] >= slots[worker]:
                raise errors.TargetUnavailable(
                    f"The workers of group {errors.shorten(group, 64)} have no room left for {job['name']}.",
                    hint="Add a worker, give the group more slots, or undeploy something.",
                )
            load[worker] += 1
        rows.append(
            WorkloadRow(
                id=id_of(job["tenant"], job["name"], replica),
                tenant=job["tenant"],
                deployment="",
                step="",
                job=job["name"],
                version=str(job["version"]),
                replica=replica,
                group_name=group,
                worker=worker,
                document=job["document"],
                updated_at_ns=now_ns,
            )
        )
    return rows
