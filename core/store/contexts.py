"""Context values: what `{{name}}` in a document stands for, by level (global, environment, group, worker, job)."""

from __future__ import annotations

from typing import Any

import orjson
from sqlite_utils import Database

from core import errors
from core.store import audit
from core.store.audit import AuditRow

MOST_KEYS = 10_000  # of one tenant


def of_tenant(db: Database, tenant: str) -> list[dict[str, Any]]:
    """Every value of a tenant: rows {level, target, key, value, updated_at_ns, updated_by}."""
    rows = db.table("contexts").rows_where("tenant = ?", [tenant], order_by="level, target, key")
    return [{**row, "value": orjson.loads(row["value"])} for row in rows]


def workers_with_values(db: Database, tenant: str) -> frozenset[str]:
    """The workers for which a tenant has set values."""
    rows = db.execute("SELECT DISTINCT target FROM contexts WHERE tenant = ? AND level = 'worker'", [tenant])
    return frozenset(name for (name,) in rows)


def put(db: Database, rows: list[dict[str, Any]], audit_row: AuditRow) -> int:
    """Write values of one tenant; returns how many changed. Raises InvalidParams when there is no room."""
    changed = 0
    for row in rows:
        key = (row["tenant"], row["level"], row["target"], row["key"])
        old = db.execute("SELECT value FROM contexts WHERE (tenant, level, target, key) = (?, ?, ?, ?)", key).fetchone()
        if old is None or old[0] != row["value"]:
            changed += 1
            db.table("contexts").upsert(row, pk=("tenant", "level", "target", "key"))
    if changed:
        count = db.execute("SELECT count(*) FROM contexts WHERE tenant = ?", [rows[0]["tenant"]]).fetchone()[0]
        if count > MOST_KEYS:
            raise errors.InvalidParams(
                f"The contexts of a tenant hold at most {MOST_KEYS} values.", hint="Delete what is no longer used."
            )
        audit.insert(db, audit_row)
    return changed


def delete(
    db: Database, tenant: str, level: str, target: str, keys: list[str] | None, audit_row: AuditRow
) -> list[str]:
    """Remove the values of some keys, or (None) of all keys, at one place; returns the keys that were there."""
    where, values = "tenant = ? AND level = ? AND target = ?", [tenant, level, target]
    there = [row["key"] for row in db.table("contexts").rows_where(where, values, select="key", order_by="key")]
    gone = [key for key in there if keys is None or key in keys]
    for key in gone:
        db.table("contexts").delete((tenant, level, target, key))
    if gone:
        audit.insert(db, audit_row)
    return gone
