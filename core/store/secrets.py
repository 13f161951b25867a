"""Secrets as the database holds them: encrypted rows. What they say is known to core.contexts.secrets only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlite_utils import Database

from core.store import audit
from core.store.audit import AuditRow

_KEY = ("tenant", "scope", "name")


def all_rows(db: Database) -> list[dict[str, Any]]:
    return list(db.table("secrets").rows_where(order_by="tenant, scope, name"))


def put(db: Database, row: dict[str, Any], audit_row: AuditRow) -> None:
    """Write a version of a secret over the one before it."""
    db.table("secrets").upsert(row, pk=_KEY)
    audit.insert(db, audit_row)


def delete(db: Database, tenant: str, scope: str, name: str, audit_row: AuditRow) -> bool:
    """Remove a secret; returns whether it was there."""
    gone = db.conn.execute(
        "DELETE FROM secrets WHERE tenant = ? AND scope = ? AND name = ?", (tenant, scope, name)
    ).rowcount
    if gone:
        audit.insert(db, audit_row)
    return bool(gone)


def rekey(db: Database, rows: Iterable[dict[str, Any]]) -> list[bool]:
    """Write rows that were encrypted anew, each only if its version is as it was; returns which ones were written."""
    return [
        db.conn.execute(
            "UPDATE secrets SET key_id = ?, nonce = ?, ciphertext = ?"
            " WHERE tenant = ? AND scope = ? AND name = ? AND version = ?",
            tuple(row[key] for key in ("key_id", "nonce", "ciphertext", *_KEY, "version")),
        ).rowcount
        == 1
        for row in rows
    ]


def note(db: Database, audit_row: AuditRow) -> None:
    """Record what was done that has no row of its own."""
    audit.insert(db, audit_row)
