"""Deployments: the wish of each with its revision, and the history of every apply."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import orjson
from sqlite_utils import Database

from core import errors
from core.model.deployment import DeploymentRow, HistoryEntry, Reset
from core.model.states import DEPLOYMENT, DeploymentState, PlanState
from core.model.workload import WorkloadRow
from core.store import audit, saved_plans, workloads
from core.store.audit import AuditRow
from core.store.rows import fields_of, upsertion

_COLUMNS = fields_of(DeploymentRow)
_KEEPING = ("reconcile", "reconcile_interval_seconds", "ignored")  # an apply leaves them as they are
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM deployments"
_COMMITTED = tuple(column for column in _COLUMNS if column not in _KEEPING)
_COMMIT = upsertion("deployments", _COMMITTED, ("tenant", "name"))
_ENTRY = fields_of(HistoryEntry)
_ADD = f"INSERT INTO deployment_history ({', '.join(_ENTRY)}, desired) VALUES ({', '.join('?' * len(_ENTRY))}, ?)"


def get(db: Database, tenant: str, name: str) -> DeploymentRow | None:
    return next(_rows(db, "WHERE tenant = ? AND name = ?", tenant, name), None)


def all_rows(db: Database, tenant: str) -> list[DeploymentRow]:
    return list(_rows(db, "WHERE tenant = ? ORDER BY name", tenant))


def made_of(db: Database, tenant: str, refs: set[str]) -> list[str]:
    """The deployments that were made of one of these references, and that were not removed."""
    sql = "SELECT name, source FROM deployments WHERE tenant = ? AND state != ? ORDER BY name"
    return [name for name, source in db.conn.execute(sql, (tenant, DeploymentState.REMOVED.value)) if source in refs]


def under_way(db: Database) -> list[DeploymentRow]:
    """The deployments of every tenant whose apply has not come to its end."""
    return list(_rows(db, "WHERE state IN (?, ?)", DeploymentState.APPLYING.value, DeploymentState.REMOVING.value))


def history(
    db: Database, tenant: str, name: str, after: int = 0, *, before_id: int | None = None, limit: int = -1
) -> list[HistoryEntry]:
    """What was done to a deployment since a revision, newest first."""
    rows = db.conn.execute(
        f"SELECT {', '.join(_ENTRY)} FROM deployment_history"
        " WHERE tenant = ? AND name = ? AND revision > ? AND id < ? ORDER BY id DESC LIMIT ?",
        (tenant, name, after, before_id if before_id is not None else 2**63 - 1, limit),
    )
    return [HistoryEntry(**_fields(_ENTRY, row, "summary")) for row in rows]


def revisions(db: Database, tenant: str, name: str) -> int:
    """How many entries the history of a deployment has."""
    sql = "SELECT count(*) FROM deployment_history WHERE tenant = ? AND name = ?"
    return int(db.conn.execute(sql, (tenant, name)).fetchone()[0])


def asked(db: Database, tenant: str, name: str, revisions: Collection[int]) -> dict[int, dict[str, Any]]:
    """What somebody asked for at each of these revisions, as far as the history has them, without the jobs."""
    marks = ", ".join("?" * len(revisions))
    rows = db.query(
        "SELECT revision, json_extract(desired, '$.source') AS source,"
        " json_extract(desired, '$.group') AS worker_group, json_extract(desired, '$.environment') AS environment,"
        " json_extract(desired, '$.values') AS 'values',"
        " json_extract(desired, '$.placement') AS placement, json_extract(desired, '$.replicas') AS replicas,"
        " coalesce(json_extract(desired, '$.resets'), '{}') AS resets"
        f" FROM deployment_history WHERE tenant = ? AND name = ? AND revision IN ({marks})",
        [tenant, name, *revisions],
    )
    return {
        row.pop("revision"): {
            **row,
            "environment": row["environment"] or "",
            **{key: orjson.loads(row[key]) for key in ("values", "placement", "replicas")},
            "resets": {job: str(Reset.from_dict(one)) for job, one in orjson.loads(row["resets"]).items()},
        }
        for row in rows
    }


def entry(db: Database, tenant: str, name: str, revision: int) -> HistoryEntry | None:
    """What was done at a revision; None when the history has none."""
    sql = f"SELECT {', '.join(_ENTRY)} FROM deployment_history WHERE tenant = ? AND name = ? AND revision = ?"
    found = db.conn.execute(sql, (tenant, name, revision)).fetchone()
    return None if found is None else HistoryEntry(**_fields(_ENTRY, found, "summary"))


def wish(db: Database, tenant: str, name: str, revision: int) -> dict[str, Any] | None:
    """The wish of a revision, as `State.to_dict` gives it; None when there is none in the history."""
    sql = "SELECT desired FROM deployment_history WHERE tenant = ? AND name = ? AND revision = ?"
    found = db.conn.execute(sql, (tenant, name, revision)).fetchone()
    return None if found is None else orjson.loads(found[0])


def values_of(db: Database, tenant: str, name: str, before: int, limit: int) -> list[tuple[int, str, dict[str, Any]]]:
    """(revision, source, values) of what was wished for before a revision, newest first; removals are left out."""
    rows = db.conn.execute(
        "SELECT revision, source, json_extract(desired, '$.values') FROM deployment_history"
        " WHERE tenant = ? AND name = ? AND revision < ? AND action != 'remove' ORDER BY revision DESC LIMIT ?",
        (tenant, name, before, limit),
    )
    return [(revision, source, orjson.loads(values)) for revision, source, values in rows]


def commit(
    db: Database,
    row: DeploymentRow,
    entry: HistoryEntry,
    wanted: Sequence[WorkloadRow],
    audit_row: AuditRow,
    *,
    expect: int,
    plan_id: str = "",
) -> None:
    """Make a wish the present one, all or nothing: row, history, workloads, audit, and the plan that asked for it.

    `expect` is the revision that the wish was computed on (0: none). Raises StalePlan when the deployment has moved
    since, PlanUsed when the plan was applied meanwhile, AlreadyExists when something else has a job of that name.
    How the deployment is kept stays as it is.
    """
    before = get(db, row.tenant, row.name)
    revision = before.revision if before is not None else 0
    if revision != expect:
        raise errors.StalePlan(f"Deployment {row.name} is at revision {revision} now, not {expect}.")
    for job, owner in workloads.owned_by_others(db, row.tenant, row.name, {one.job for one in wanted}).items():
        raise errors.AlreadyExists(
            f"A job {job} exists already ({f'of deployment {owner}' if owner else 'unmanaged'}); nothing was changed.",
            hint="Undeploy it, or give the deployment another name.",
        )
    if plan_id and saved_plans.advance(db, plan_id, PlanState.APPLIED) is not PlanState.OPEN:
        raise errors.PlanUsed()
    if before is not None:
        DEPLOYMENT.advance(DeploymentState(before.state), DeploymentState(row.state))
    desired = orjson.dumps(row.desired).decode()
    db.conn.execute(_COMMIT, [desired if column == "desired" else getattr(row, column) for column in _COMMITTED])
    summary = orjson.dumps(entry.summary).decode()
    values = [summary if column == "summary" else getattr(entry, column) for column in _ENTRY]
    db.conn.execute(_ADD, [*values, desired])
    workloads.replace(db, row.tenant, row.name, None, wanted)
    audit.insert(db, audit_row)


def settle(
    db: Database, tenant: str, name: str, revision: int, state: DeploymentState, reason: str, at_ns: int
) -> bool:
    """Record how an apply ended, unless another one has begun or the table has no such move; tells whether it did."""
    row = get(db, tenant, name)
    if state is DeploymentState.APPLYING or row is None or row.revision != revision:
        return False
    if not DEPLOYMENT.allows(DeploymentState(row.state), state):
        return False
    db.conn.execute(
        "UPDATE deployments SET state = ?, reason = ?, updated_at_ns = ?, gate = '' WHERE tenant = ? AND name = ?",
        (state.value, reason, at_ns, tenant, name),
    )
    return True


class Kept(NamedTuple):
    """What the keeper and the watcher need to know of a deployment; see `DeploymentRow`."""

    tenant: str
    name: str
    revision: int
    state: str
    updated_at_ns: int
    reconcile: str
    reconcile_interval_seconds: int | None
    ignored: list[str]


def reconciled(db: Database) -> list[Kept]:
    """How each deployment that is not removed is kept, of every tenant."""
    rows = db.conn.execute(
        f"SELECT {', '.join(Kept._fields)} FROM deployments WHERE state NOT IN (?, ?) ORDER BY tenant, name",
        (DeploymentState.REMOVED.value, DeploymentState.REMOVING.value),
    )
    return [Kept(**_fields(Kept._fields, row, "ignored")) for row in rows]


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


def _rows(db: Database, where: str, *given: str) -> Iterator[DeploymentRow]:
    for found in db.conn.execute(f"{_SELECT} {where}", given):
        yield DeploymentRow(**_fields(_COLUMNS, found, "desired", "ignored"))


def _fields(columns: Sequence[str], found: Sequence[Any], *parsed: str) -> dict[str, Any]:
    """The columns of a row by name, those that are JSON `parsed`."""
    fields = dict(zip(columns, found, strict=True))
    return {**fields, **{column: orjson.loads(fields[column]) for column in parsed}}
