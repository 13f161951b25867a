"""Dynamic variables: small texts that jobs and people set while jobs run, read as `${dyn|NAME}`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlite_utils import Database

from core.store import audit
from core.store.audit import AuditRow
from core.store.rows import insertion


class VariableRow(NamedTuple):
    """A variable of a tenant, with who has set it last and when."""

    tenant: str
    name: str
    value: str
    updated_at_ns: int
    updated_by: str


_PUT = (
    f"{insertion('variables', VariableRow)} ON CONFLICT (tenant, name) DO UPDATE SET"
    " value = excluded.value, updated_at_ns = excluded.updated_at_ns, updated_by = excluded.updated_by"
)


def all_rows(db: Database) -> list[dict[str, Any]]:
    return list(db.table("variables").rows_where(order_by="tenant, name"))


def of_tenant(db: Database, tenant: str) -> list[dict[str, Any]]:
    return list(db.table("variables").rows_where("tenant = ?", [tenant], order_by="name"))


def put_many(db: Database, rows: Iterable[VariableRow]) -> None:
    """Write what jobs have set, in order."""
    db.conn.executemany(_PUT, rows)


def put(db: Database, row: VariableRow, audit_row: AuditRow) -> None:
    db.conn.execute(_PUT, row)
    audit.insert(db, audit_row)


def delete(db: Database, tenant: str, name: str, audit_row: AuditRow) -> bool:
    """Remove a variable; returns whether it was there."""
    gone = db.conn.execute("DELETE FROM variables WHERE tenant = ? AND name = ?", (tenant, name)).rowcount
    if gone:
        audit.insert(db, audit_row)
    return bool(gone)
