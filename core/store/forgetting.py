"""Records of runs leave the store: by age, by number, and by the share of their tenant."""

from __future__ import annotations

from typing import Any

from sqlite_utils import Database

from core.store import messages, usage
from core.store.usage import Kept


def prune(db: Database, keep: int, older_than_ns: int, keys_older_than_ns: int, at_most: int = 5_000) -> list[Kept]:
    """Delete finished records beyond the retention, and idempotency keys beyond theirs; returns what went, by user."""
    floor = db.conn.execute("SELECT id FROM invocations ORDER BY id DESC LIMIT 1 OFFSET ?", (keep,)).fetchone()
    limit = max(older_than_ns, floor[0] if floor else 0)
    db.conn.execute(
        "DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE created_at_ns < ? LIMIT ?)",
        (keys_older_than_ns, at_most),
    )
    return _forget(db, "SELECT id FROM invocations WHERE id <= ? AND finished_at_ns IS NOT NULL", (limit, at_most))


def prune_tenant(db: Database, tenant: str, records: int, at_most: int = 5_000) -> list[Kept]:
    """Delete the oldest finished records of a tenant that has so many too many; returns what went, by user.

    Those whose idempotency key still holds stay: a repeat finds its run.
    """
    oldest = (
        "SELECT id FROM invocations INDEXED BY invocations_list WHERE tenant = ? AND finished_at_ns IS NOT NULL"
        " AND id NOT IN (SELECT invocation_id FROM idempotency)"
    )
    return _forget(db, oldest, (tenant, min(records, at_most)))


def _forget(db: Database, which: str, values: tuple[Any, ...]) -> list[Kept]:
    ids = f"{which} ORDER BY id LIMIT ?"
    gone = usage.counted(db, ids, values)
    if gone:
        messages.keep_bodies(db, ids, values)
        db.conn.execute(f"DELETE FROM invocations WHERE id IN ({ids})", values)
    return gone
