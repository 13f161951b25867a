"""Saved plans: single use, bound to a revision, a digest, a principal and an expiry."""

from __future__ import annotations

from typing import Any

import orjson
from sqlite_utils import Database

from core import clock
from core.model.states import PLAN, PlanState
from core.store import audit

KEPT_NS = 7 * 24 * 3600 * clock.NANOSECONDS  # a plan that is over stays this long, so that its refusal can say why


def insert(db: Database, row: dict[str, Any], audit_row: tuple[Any, ...]) -> None:
    db.conn.execute("DELETE FROM plans WHERE expires_at_ns < ?", (row["created_at_ns"] - KEPT_NS,))
    db.table("plans").insert({**row, "body": orjson.dumps(row["body"]).decode()})
    audit.insert(db, audit_row)


def get(db: Database, tenant: str, id: str) -> dict[str, Any] | None:
    row = next(iter(db.table("plans").rows_where("id = ? AND tenant = ?", [id, tenant])), None)
    return None if row is None else {**row, "body": orjson.loads(row["body"])}


def advance(db: Database, id: str, state: PlanState) -> PlanState:
    """Move a plan along its table, if it is still open; returns the state that it had."""
    old = PlanState(db.conn.execute("SELECT state FROM plans WHERE id = ?", (id,)).fetchone()[0])
    if PLAN.allows(old, state):
        db.conn.execute("UPDATE plans SET state = ? WHERE id = ?", (state.value, id))
    return old
