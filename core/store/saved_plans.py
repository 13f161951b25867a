"""Saved plans: single use, bound to a revision, a digest, a principal and an expiry."""

from __future__ import annotations

from typing import NamedTuple

import orjson
from sqlite_utils import Database

from core import clock
from core.model.plan import PlanBody, PlanRow, SavedPlan
from core.model.states import PLAN, PlanState
from core.store import audit
from core.store.audit import AuditRow
from core.store.rows import fields_of, insertion

KEPT_NS = 7 * 24 * 3600 * clock.NANOSECONDS  # a plan that is over stays this long, so that its refusal can say why


_ROW = fields_of(PlanRow)
_INSERT = insertion("plans", PlanRow)


class ListedPlan(NamedTuple):
    """A plan of a list; see `SavedPlan`."""

    id: str
    name: str
    base_revision: int
    username: str
    created_at_ns: int
    expires_at_ns: int
    standing: str
    blockers: int


def insert(db: Database, row: PlanRow, audit_row: AuditRow) -> None:
    db.conn.execute("DELETE FROM plans WHERE expires_at_ns < ?", (row.created_at_ns - KEPT_NS,))
    body = orjson.dumps(row.body.to_dict()).decode()
    db.conn.execute(_INSERT, [body if column == "body" else getattr(row, column) for column in _ROW])
    audit.insert(db, audit_row)


_STANDING = """
SELECT p.{columns},
  CASE WHEN p.state != 'open' THEN p.state WHEN p.expires_at_ns <= :now THEN 'expired'
       WHEN coalesce(d.revision, 0) != p.base_revision THEN 'stale' ELSE 'open' END AS standing
FROM plans p LEFT JOIN deployments d ON d.tenant = p.tenant AND d.name = p.name
WHERE p.tenant = :tenant"""
_COLUMNS = "id, p.tenant, p.name, p.state, p.base_revision, p.digest, p.username, p.created_at_ns, p.expires_at_ns"


def get(db: Database, tenant: str, id: str, now_ns: int) -> SavedPlan | None:
    """A plan as it stands at a time."""
    sql = _STANDING.format(columns=f"{_COLUMNS}, p.body") + " AND p.id = :id"
    row = next(iter(db.query(sql, {"now": now_ns, "tenant": tenant, "id": id})), None)
    if row is None:
        return None
    sql = "SELECT revision FROM deployment_history WHERE tenant = ? AND name = ? AND plan_id = ?"
    applied = db.conn.execute(sql, (tenant, row["name"], id)).fetchone()
    body = PlanBody.from_dict(orjson.loads(row["body"]))
    return SavedPlan(**{**row, "body": body, "applied_as": applied[0] if applied else None})


_LISTED = """
SELECT id, name, base_revision, username, created_at_ns, expires_at_ns, standing,
  coalesce(json_array_length((SELECT body FROM plans WHERE plans.id = page.id), '$.blockers'), 0) AS blockers
FROM ({page}) AS page"""  # a body may be large: only those of the page are read


def search(
    db: Database,
    tenant: str,
    now_ns: int,
    *,
    name: str | None = None,
    state: str | None = None,
    before: int | None = None,
    limit: int = 25,
) -> tuple[list[ListedPlan], int]:
    """Plans without their bodies, newest first, made before a time; and how many fit in all."""
    given = {"now": now_ns, "tenant": tenant, "name": name, "state": state, "before": before, "limit": limit}
    inner = _STANDING.format(columns=_COLUMNS) + (" AND p.name = :name" if name is not None else "")
    fits = f"FROM ({inner})" + (" WHERE standing = :state" if state is not None else " WHERE 1")
    total = next(iter(db.query(f"SELECT count(*) AS n {fits}", given)))["n"]
    page = f"SELECT * {fits}" + (" AND created_at_ns < :before" if before is not None else "")
    page = f"{page} ORDER BY created_at_ns DESC LIMIT :limit"
    rows = db.conn.execute(_LISTED.format(page=page), given)
    return list(map(ListedPlan._make, rows)), int(total)


def discard(db: Database, id: str, audit_row: AuditRow) -> None:
    """Withdraw a plan, if it is still open."""
    if advance(db, id, PlanState.DISCARDED) is PlanState.OPEN:
        audit.insert(db, audit_row)


def advance(db: Database, id: str, state: PlanState) -> PlanState:
    """Move a plan along its table, if it is still open; returns the state that it had."""
    old = PlanState(db.conn.execute("SELECT state FROM plans WHERE id = ?", (id,)).fetchone()[0])
    if PLAN.allows(old, state):
        db.conn.execute("UPDATE plans SET state = ? WHERE id = ?", (state.value, id))
    return old
