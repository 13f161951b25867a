"""Saved plans: single use, bound to a revision, a digest, a principal and an expiry."""

from __future__ import annotations

from typing import Any

import orjson
from sqlite_utils import Database

from core import clock
from core.model.states import PLAN, PlanState
from core.store import audit
from core.store.audit import AuditRow

KEPT_NS = 7 * 24 * 3600 * clock.NANOSECONDS  # a plan that is over stays this long, so that its refusal can say why


def insert(db: Database, row: dict[str, Any], audit_row: AuditRow) -> None:
    db.conn.execute("DELETE FROM plans WHERE expires_at_ns < ?", (row["created_at_ns"] - KEPT_NS,))
    db.table("plans").insert({**row, "body": orjson.dumps(row["body"]).decode()})
    audit.insert(db, audit_row)


_STANDING = """
SELECT p.{columns},
  CASE WHEN p.state != 'open' THEN p.state WHEN p.expires_at_ns <= :now THEN 'expired'
       WHEN coalesce(d.revision, 0) != p.base_revision THEN 'stale' ELSE 'open' END AS standing
FROM plans p LEFT JOIN deployments d ON d.tenant = p.tenant AND d.name = p.name
WHERE p.tenant = :tenant"""
_COLUMNS = "id, p.tenant, p.name, p.state, p.base_revision, p.digest, p.username, p.created_at_ns, p.expires_at_ns"


def get(db: Database, tenant: str, id: str, now_ns: int) -> dict[str, Any] | None:
    """A plan with its `standing` now: its state, or stale or expired when it can no longer be applied; and
    `applied_as`, the revision that it became."""
    sql = _STANDING.format(columns=f"{_COLUMNS}, p.body") + " AND p.id = :id"
    row = next(iter(db.query(sql, {"now": now_ns, "tenant": tenant, "id": id})), None)
    if row is None:
        return None
    sql = "SELECT revision FROM deployment_history WHERE tenant = ? AND name = ? AND plan_id = ?"
    applied = db.conn.execute(sql, (tenant, row["name"], id)).fetchone()
    return {**row, "body": orjson.loads(row["body"]), "applied_as": applied[0] if applied else None}


def search(
    db: Database,
    tenant: str,
    now_ns: int,
    *,
    name: str | None = None,
    state: str | None = None,
    before: int | None = None,
    limit: int = 25,
) -> tuple[list[dict[str, Any]], int]:
    """Plans without their bodies, newest first, made before a time; and how many fit in all."""
    given = {"now": now_ns, "tenant": tenant, "name": name, "state": state, "before": before, "limit": limit}
    inner = _STANDING.format(columns=_COLUMNS) + (" AND p.name = :name" if name is not None else "")
    fits = f"FROM ({inner})" + (" WHERE standing = :state" if state is not None else " WHERE 1")
    total = next(iter(db.query(f"SELECT count(*) AS n {fits}", given)))["n"]
    page = f"SELECT * {fits}" + (" AND created_at_ns < :before" if before is not None else "")
    return list(db.query(f"{page} ORDER BY created_at_ns DESC LIMIT :limit", given)), int(total)


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
