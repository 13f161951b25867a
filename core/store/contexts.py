"""Context values: what `{{name}}` in a document stands for, by level (global, environment, group, worker, job)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from sqlite_utils import Database

from core import errors
from core.store import audit
from core.store.audit import AuditRow
from core.store.rows import insertion

MOST_KEYS = 10_000  # of one tenant
MOST_CHANGES = 2_000  # of one tenant that are kept
MOST_KEPT = 4_000  # characters of a value in them


class ContextChange(NamedTuple):
    """A value that somebody set or removed."""

    id: int | None
    """A number that only grows; None in a row that has none yet."""
    at_ns: int
    tenant: str
    level: str
    target: str
    key: str
    old: str | None
    """As JSON; of a long one the beginning, as a text. None: there was no value."""
    new: str | None
    username: str
    surface: str


_INSERT = insertion("context_changes", ContextChange)


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
    changes = []
    for row in rows:
        key = (row["tenant"], row["level"], row["target"], row["key"])
        old = db.execute("SELECT value FROM contexts WHERE (tenant, level, target, key) = (?, ?, ?, ?)", key).fetchone()
        if old is None or old[0] != row["value"]:
            changes.append(_change(audit_row, row, None if old is None else old[0], row["value"]))
            db.table("contexts").upsert(row, pk=("tenant", "level", "target", "key"))
    if changes:
        count = db.execute("SELECT count(*) FROM contexts WHERE tenant = ?", [rows[0]["tenant"]]).fetchone()[0]
        if count > MOST_KEYS:
            raise errors.InvalidParams(
                f"The contexts of a tenant hold at most {MOST_KEYS} values.", hint="Delete what is no longer used."
            )
        audit.insert(db, audit_row)
        _record(db, changes)
    return len(changes)


def delete(
    db: Database, tenant: str, level: str, target: str, keys: list[str] | None, audit_row: AuditRow
) -> list[str]:
    """Remove the values of some keys, or (None) of all keys, at one place; returns the keys that were there."""
    where, values = "tenant = ? AND level = ? AND target = ?", [tenant, level, target]
    there = list(db.table("contexts").rows_where(where, values, order_by="key"))
    gone = [row for row in there if keys is None or row["key"] in keys]
    for row in gone:
        db.table("contexts").delete((tenant, level, target, row["key"]))
    if gone:
        audit.insert(db, audit_row)
        _record(db, [_change(audit_row, row, row["value"], None) for row in gone])
    return [row["key"] for row in gone]


def changes(db: Database, tenant: str, equal: Mapping[str, str], before: int | None, limit: int) -> list[ContextChange]:
    """What was changed, newest first; `equal` says which level, target and key, `before` where the last page ended."""
    where = ["tenant = ?", "id < ?", *(f"{column} = ?" for column in equal)]
    values = [tenant, 2**63 - 1 if before is None else before, *equal.values()]
    query = f"SELECT {', '.join(ContextChange._fields)} FROM context_changes WHERE {' AND '.join(where)}"
    rows = db.conn.execute(f"{query} ORDER BY id DESC LIMIT ?", [*values, limit])
    return [ContextChange._make(row) for row in rows]


def count_changes(db: Database, tenant: str, equal: Mapping[str, str]) -> int:
    """How many changes are kept, on whatever page."""
    where = " AND ".join(["tenant = ?", *(f"{column} = ?" for column in equal)])
    query = f"SELECT count(*) FROM context_changes WHERE {where}"
    return int(db.conn.execute(query, [tenant, *equal.values()]).fetchone()[0])


def _change(who: AuditRow, row: Mapping[str, Any], old: str | None, new: str | None) -> ContextChange:
    place = (row["tenant"], row["level"], row["target"], row["key"])
    return ContextChange(None, who.id, *place, _kept(old), _kept(new), who.username, who.surface)


def _kept(text: str | None) -> str | None:
    return text if text is None or len(text) <= MOST_KEPT else orjson.dumps(f"{text[:MOST_KEPT]}…").decode()


def _record(db: Database, changes: list[ContextChange]) -> None:
    db.conn.executemany(_INSERT, changes)
    db.conn.execute(
        "DELETE FROM context_changes WHERE tenant = ? AND id <="
        " (SELECT id FROM context_changes WHERE tenant = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (changes[0].tenant, changes[0].tenant, MOST_CHANGES),
    )
