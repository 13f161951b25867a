"""Worker groups, and what was said about single workers: their group, their labels, whether they are drained."""

from __future__ import annotations

from collections.abc import Collection

import orjson
from sqlite_utils import Database

from core import errors
from core.model.states import DeploymentState
from core.model.worker_group import WorkerGroup, WorkerSetting
from core.store import audit
from core.store.audit import AuditRow


def groups(db: Database) -> list[WorkerGroup]:
    rows = db.table("worker_groups").rows_where(order_by="name")
    return [
        WorkerGroup(row["name"], row["slots"], tuple(orjson.loads(row["labels"])), tuple(orjson.loads(row["tenants"])))
        for row in rows
    ]


def workers(db: Database) -> list[WorkerSetting]:
    return [
        WorkerSetting(row["name"], row["group_name"], tuple(orjson.loads(row["labels"])), bool(row["drained"]))
        for row in db.table("workers").rows_where(order_by="name")
    ]


def exists(db: Database, name: str) -> bool:
    return bool(db.execute("SELECT 1 FROM worker_groups WHERE name = ?", [name]).fetchone())


def ensure(db: Database, names: Collection[str], at_ns: int, by: str) -> None:
    """Make the groups that are not there yet."""
    for name in names:
        if not exists(db, name):
            _put(db, WorkerGroup(name), at_ns, by)


def create(db: Database, group: WorkerGroup, at_ns: int, by: str, audit_row: AuditRow) -> None:
    """Raises AlreadyExists."""
    if exists(db, group.name):
        raise _taken(group.name)
    _put(db, group, at_ns, by)
    audit.insert(db, audit_row)


def update(
    db: Database,
    name: str,
    changed: WorkerGroup,
    members: Collection[str],
    at_ns: int,
    by: str,
    audit_row: AuditRow,
) -> None:
    """Change a group; with another name, its `members` and its context values go with it.

    Raises NotFound, AlreadyExists (the new name; a group that is used keeps its name, and the tenants that use it).
    """
    if not exists(db, name):
        raise missing(name)
    shut_out = sorted(tenant for tenant in tenants_in(db, name) if not changed.admits(tenant))
    if shut_out:
        raise errors.AlreadyExists(
            f"Worker group {name} runs jobs of {', '.join(shut_out[:5])}, so it goes on admitting them.",
            hint="Place these jobs in another group first, or undeploy them.",
            details={"tenants": shut_out[:50]},
        )
    if changed.name != name:
        if exists(db, changed.name):
            raise _taken(changed.name)
        _refuse_used(db, name, "renamed")
        db.table("worker_groups").delete(name)
        for worker in members:
            old = next((one for one in workers(db) if one.name == worker), WorkerSetting(worker))
            _put_worker(db, WorkerSetting(worker, changed.name, old.labels, old.drained), at_ns, by)
        db.conn.execute("UPDATE workers SET group_name = ? WHERE group_name = ?", (changed.name, name))
        db.conn.execute(
            "UPDATE OR REPLACE contexts SET target = ? WHERE level = 'group' AND target = ?", (changed.name, name)
        )
    _put(db, changed, at_ns, by)
    audit.insert(db, audit_row)


def delete(db: Database, name: str, audit_row: AuditRow) -> None:
    """Raises NotFound, AlreadyExists while a worker belongs to it or a job is placed in it."""
    if not exists(db, name):
        raise missing(name)
    _refuse_used(db, name, "deleted")
    members = [one.name for one in workers(db) if one.group == name]
    if members:
        raise has_workers(name, members)
    db.table("worker_groups").delete(name)
    audit.insert(db, audit_row)


def set_worker(db: Database, setting: WorkerSetting, at_ns: int, by: str, audit_row: AuditRow) -> None:
    """Keep what was said about a worker. Raises NotFound when its group is not there."""
    if setting.group is not None and not exists(db, setting.group):
        raise missing(setting.group)
    _put_worker(db, setting, at_ns, by)
    audit.insert(db, audit_row)


def uses(db: Database, name: str) -> list[str]:
    """What is placed in a group: "deployment NAME" or "job NAME", over all tenants, sorted."""
    rows = db.execute("SELECT DISTINCT job FROM workloads WHERE group_name = ? AND deployment = ''", [name])
    found = {f"job {job}" for (job,) in rows}
    for deployment, desired in db.execute(
        "SELECT name, desired FROM deployments WHERE state <> ?", [DeploymentState.REMOVED.value]
    ):
        if any(job["group"] == name for job in orjson.loads(desired)["jobs"]):
            found.add(f"deployment {deployment}")
    return sorted(found)


def tenants_in(db: Database, name: str) -> set[str]:
    """The tenants that have something placed in a group."""
    found = {tenant for (tenant,) in db.execute("SELECT DISTINCT tenant FROM workloads WHERE group_name = ?", [name])}
    for tenant, desired in db.execute(
        "SELECT tenant, desired FROM deployments WHERE state <> ?", [DeploymentState.REMOVED.value]
    ):
        if tenant not in found and any(job["group"] == name for job in orjson.loads(desired)["jobs"]):
            found.add(tenant)
    return found


def _refuse_used(db: Database, name: str, what: str) -> None:
    used = uses(db, name)
    if used:
        more = f" and {len(used) - 3} more" if len(used) > 3 else ""
        raise errors.AlreadyExists(
            f"Worker group {name} is used by {', '.join(used[:3])}{more}, so it cannot be {what}.",
            hint="Place these in another group first (plan with placement or worker_group, or undeploy the job).",
            details={"used_by": used[:50]},
        )


def has_workers(name: str, members: Collection[str]) -> errors.AlreadyExists:
    return errors.AlreadyExists(
        f"Worker group {name} has workers: {', '.join(sorted(members)[:5])}.",
        hint="Move them to another group first: worker_update(name=..., group=...).",
    )


def missing(name: str) -> errors.NotFound:
    return errors.NotFound(
        f"There is no worker group {errors.shorten(name, 64)}.", hint="worker_group_list shows what there is."
    )


def _taken(name: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(f"A worker group {name} exists already.", hint="Change it with worker_group_update.")


def _put(db: Database, group: WorkerGroup, at_ns: int, by: str) -> None:
    row = {
        "name": group.name,
        "slots": group.slots,
        "labels": orjson.dumps(group.labels).decode(),
        "tenants": orjson.dumps(group.tenants).decode(),
        "updated_at_ns": at_ns,
        "updated_by": by,
    }
    db.table("worker_groups").upsert(row, pk="name")


def _put_worker(db: Database, setting: WorkerSetting, at_ns: int, by: str) -> None:
    row = {
        "name": setting.name,
        "group_name": setting.group,
        "labels": orjson.dumps(setting.labels).decode(),
        "drained": int(setting.drained),
        "updated_at_ns": at_ns,
        "updated_by": by,
    }
    db.table("workers").upsert(row, pk="name")
