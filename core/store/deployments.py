"""Deployments: the wish of each with its revision, and the history of every apply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlite_utils import Database

from core import errors
from core.model.states import DEPLOYMENT, DeploymentState, PlanState
from core.model.workload import WorkloadRow
from core.store import audit, saved_plans, workloads
from core.store.audit import AuditRow


def get(db: Database, tenant: str, name: str) -> dict[str, Any] | None:
    rows = db.table("deployments").rows_where("tenant = ? AND name = ?", [tenant, name])
    return next((_load(row) for row in rows), None)


def all_rows(db: Database, tenant: str) -> list[dict[str, Any]]:
    return [_load(row) for row in db.table("deployments").rows_where("tenant = ?", [tenant], order_by="name")]


def made_of(db: Database, tenant: str, refs: set[str]) -> list[str]:
    """The deployments that were made of one of these references, and that were not removed."""
    rows = db.table("deployments").rows_where("tenant = ? AND state != ?", [tenant, DeploymentState.REMOVED.value])
    return sorted(row["name"] for row in rows if row["source"] in refs)


def under_way(db: Database) -> list[dict[str, Any]]:
    """The deployments of every tenant whose apply has not come to its end."""
    where, states = "state IN (?, ?)", [DeploymentState.APPLYING.value, DeploymentState.REMOVING.value]
    return [_load(row) for row in db.table("deployments").rows_where(where, states)]


def history(
    db: Database, tenant: str, name: str, after: int = 0, *, before_id: int | None = None, limit: int = -1
) -> list[dict[str, Any]]:
    """What was done to a deployment since a revision, newest first, without the wishes."""
    rows = db.query(
        "SELECT id, revision, action, source, plan_id, username, surface, summary, reason FROM deployment_history"
        " WHERE tenant = ? AND name = ? AND revision > ? AND id < ? ORDER BY id DESC LIMIT ?",
        [tenant, name, after, before_id if before_id is not None else 2**63 - 1, limit],
    )
    return [{**row, "summary": orjson.loads(row["summary"])} for row in rows]


def revisions(db: Database, tenant: str, name: str) -> int:
    """How many entries the history of a deployment has."""
    sql = "SELECT count(*) FROM deployment_history WHERE tenant = ? AND name = ?"
    return int(db.conn.execute(sql, (tenant, name)).fetchone()[0])


def version(db: Database, tenant: str, name: str, revision: int) -> dict[str, Any] | None:
    """One entry of the history with its wish."""
    where, values = "tenant = ? AND name = ? AND revision = ?", [tenant, name, revision]
    row = next(iter(db.table("deployment_history").rows_where(where, values)), None)
    return None if row is None else {**_load(row), "summary": orjson.loads(row["summary"])}


def commit(
    db: Database,
    row: dict[str, Any],
    entry: dict[str, Any],
    wanted: Sequence[WorkloadRow],
    audit_row: AuditRow,
    *,
    expect: int,
    plan_id: str = "",
) -> None:
    """Make a wish the present one, all or nothing: row, history, workloads, audit, and the plan that asked for it.

    `expect` is the revision that the wish was computed on (0: none). Raises StalePlan when the deployment has moved
    since, PlanUsed when the plan was applied meanwhile, AlreadyExists when something else has a job of that name.
    """
    before = get(db, row["tenant"], row["name"])
    revision = before["revision"] if before is not None else 0
    if revision != expect:
        raise errors.StalePlan(f"Deployment {row['name']} is at revision {revision} now, not {expect}.")
    for job, owner in workloads.owned_by_others(db, row["tenant"], row["name"], {one.job for one in wanted}).items():
        raise errors.AlreadyExists(
            f"A job {job} exists already ({f'of deployment {owner}' if owner else 'unmanaged'}); nothing was changed.",
            hint="Undeploy it, or give the deployment another name.",
        )
    if plan_id and saved_plans.advance(db, plan_id, PlanState.APPLIED) is not PlanState.OPEN:
        raise errors.PlanUsed()
    if before is not None:
        DEPLOYMENT.advance(DeploymentState(before["state"]), DeploymentState(row["state"]))
    desired = orjson.dumps(row["desired"]).decode()
    db.table("deployments").upsert({**row, "desired": desired}, pk=("tenant", "name"))
    summary = orjson.dumps(entry["summary"]).decode()
    db.table("deployment_history").insert({**entry, "summary": summary, "desired": desired})
    workloads.replace(db, row["tenant"], row["name"], None, wanted)
    audit.insert(db, audit_row)


def settle(
    db: Database, tenant: str, name: str, revision: int, state: DeploymentState, reason: str, at_ns: int
) -> bool:
    """Record how an apply ended, unless another one has begun or the table has no such move; tells whether it did."""
    row = get(db, tenant, name)
    if state is DeploymentState.APPLYING or row is None or row["revision"] != revision:
        return False
    if not DEPLOYMENT.allows(DeploymentState(row["state"]), state):
        return False
    db.conn.execute(
        "UPDATE deployments SET state = ?, reason = ?, updated_at_ns = ?, gate = '' WHERE tenant = ? AND name = ?",
        (state.value, reason, at_ns, tenant, name),
    )
    return True


def reconciled(db: Database) -> list[dict[str, Any]]:
    """What the keeper of deployments needs to know of each that is not removed, of every tenant."""
    rows = db.query(
        "SELECT tenant, name, revision, reconcile, reconcile_interval_seconds, ignored"
        " FROM deployments WHERE state NOT IN (?, ?) ORDER BY tenant, name",
        [DeploymentState.REMOVED.value, DeploymentState.REMOVING.value],
    )
    return [{**row, "ignored": orjson.loads(row["ignored"])} for row in rows]


def set_reconcile(
    db: Database, tenant: str, name: str, mode: str, interval: int | None, ignored: list[str], note: AuditRow
) -> bool:
    """How a deployment is reconciled; tells whether that is new."""
    db.conn.execute(
        "UPDATE deployments SET reconcile = ?1, reconcile_interval_seconds = ?2, ignored = ?3 WHERE tenant = ?4"
        " AND name = ?5 AND (reconcile, ifnull(reconcile_interval_seconds, 0), ignored) <> (?1, ifnull(?2, 0), ?3)",
        (mode, interval, orjson.dumps(ignored).decode(), tenant, name),
    )
    changed = bool(db.conn.execute("SELECT changes()").fetchone()[0])
    if changed:
        audit.insert(db, note)
    return changed


def _load(row: dict[str, Any]) -> dict[str, Any]:
    loaded = {**row, "desired": orjson.loads(row["desired"])}
    if "ignored" in row:
        loaded["ignored"] = orjson.loads(row["ignored"])
    return loaded
