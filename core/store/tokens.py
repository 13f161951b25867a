"""API tokens: only a hash is kept, so a stolen database opens no door."""

from __future__ import annotations

from typing import Any

from sqlite_utils import Database

from core.store import audit


def insert(db: Database, row: dict[str, Any], audit_row: tuple[Any, ...]) -> None:
    db.table("tokens").insert(row)
    audit.insert(db, audit_row)


def by_hash(db: Database, hash: str) -> dict[str, Any] | None:
    return next(iter(db.table("tokens").rows_where("hash = ?", [hash])), None)


def all_rows(db: Database) -> list[dict[str, Any]]:
    return list(db.table("tokens").rows_where(order_by="created_at_ns desc"))


def by_id(db: Database, id: str) -> dict[str, Any] | None:
    return next(iter(db.table("tokens").rows_where("id = ?", [id])), None)


def touch(db: Database, id: str, at_ns: int) -> None:
    """Note that a token was used."""
    db.conn.execute("UPDATE tokens SET last_used_at_ns = ? WHERE id = ?", (at_ns, id))


def revoke(db: Database, id: str, at_ns: int, audit_row: tuple[Any, ...]) -> bool:
    """Withdraw a token; true when there was one to withdraw."""
    found = db.conn.execute(
        "UPDATE tokens SET revoked_at_ns = ? WHERE id = ? AND revoked_at_ns IS NULL", (at_ns, id)
    ).rowcount
    if found:
        audit.insert(db, audit_row)
    return bool(found)
