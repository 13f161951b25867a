"""Invocations: the hot table. Two commits a run: recorded with its message, and moved once to its terminal state."""

from __future__ import annotations

from typing import Any

import orjson
from sqlite_utils import Database

from core.store import audit, messages

COLUMNS = (
    "id nonce tenant slug revision state surface username role params idempotency_key requested_at_ns deadline_ns"
    " finished_at_ns proxy_recorded_at_ns attempts result events"
).split()
INSERT = f"INSERT INTO invocations VALUES ({', '.join('?' * len(COLUMNS))})"
MAX_EVENTS = 50  # a record stays bounded however many bad responses arrive

Row = tuple[Any, ...]


def record(
    db: Database,
    row: Row,
    audit_row: tuple[Any, ...],
    key: tuple[bytes, bytes] | None,
    message: messages.MessageRow | None,
    dispatch: messages.DispatchRow | None,
) -> tuple[int, bytes] | None:
    """Write the record, its audit row, its message and the delivery it owes, in one transaction.

    `key` is (digest of tenant, slug, user and idempotency key; digest of the params). When the key is taken nothing
    is written and the holder is returned as (invocation id, params digest); otherwise None.
    """
    execute = db.conn.execute
    if key is not None:
        taken = execute("SELECT invocation_id, params_digest FROM idempotency WHERE key = ?", (key[0],)).fetchone()
        if taken is not None:
            return (taken[0], taken[1])
        execute("INSERT INTO idempotency VALUES (?, ?, ?, ?)", (key[0], row[0], key[1], row[11]))
    execute(INSERT, row)
    execute(audit.INSERT, audit_row)
    if message is not None:
        execute(messages.INSERT, message)
    if dispatch is not None:
        execute(messages.INSERT_DISPATCH, dispatch)
    return None


def finish(db: Database, id: int, state: str, at_ns: int, result: str, event: str, attempts: int) -> bool:
    """Move a record to a terminal state, if it is not in one yet; true when this call did it.

    The compare is what makes the end happen once, whatever attempts, timers and responses race for it.
    """
    return (
        db.conn.execute(
            "UPDATE invocations SET state = ?, finished_at_ns = ?, result = ?, attempts = ?,"
            " events = json_insert(events, '$[#]', json(?)) WHERE id = ? AND finished_at_ns IS NULL",
            (state, at_ns, result, attempts, event, id),
        ).rowcount
        == 1
    )


def append_event(db: Database, id: int, event: str) -> None:
    """Add to the history of a record; at most MAX_EVENTS are kept."""
    db.conn.execute(
        "UPDATE invocations SET events = json_insert(events, '$[#]', json(?))"
        " WHERE id = ? AND json_array_length(events) < ?",
        (event, id, MAX_EVENTS),
    )


def attempted(db: Database, id: int, attempts: int, event: str) -> None:
    """Note that the delivery goes out again after a worker died."""
    db.conn.execute("UPDATE invocations SET attempts = ? WHERE id = ?", (attempts, id))
    append_event(db, id, event)


def get(db: Database, id: int) -> dict[str, Any] | None:
    row = db.conn.execute("SELECT * FROM invocations WHERE id = ?", (id,)).fetchone()
    return dict(zip(COLUMNS, row, strict=True)) if row else None


def open_ones(db: Database) -> list[dict[str, Any]]:
    """Every record that is not in a terminal state, oldest first."""
    rows = db.conn.execute("SELECT * FROM invocations WHERE finished_at_ns IS NULL ORDER BY id")
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def search(
    db: Database, tenant: str, *, slug: str = "", state: str = "", username: str = "", before: int | None, limit: int
) -> list[dict[str, Any]]:
    """Records of a tenant, newest first."""
    where, values = ["tenant = ?"], [tenant]
    for column, value in (("slug", slug), ("state", state), ("username", username)):
        if value:
            where.append(f"{column} = ?")
            values.append(value)
    if before is not None:
        where.append("id < ?")
        values.append(str(before))
    rows = db.conn.execute(
        f"SELECT * FROM invocations WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?", [*values, limit]
    )
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def count(db: Database, tenant: str) -> int:
    return int(db.conn.execute("SELECT count(*) FROM invocations WHERE tenant = ?", (tenant,)).fetchone()[0])


def prune(db: Database, keep: int, older_than_ns: int, keys_older_than_ns: int, at_most: int = 5_000) -> int:
    """Delete finished records beyond the retention, and idempotency keys beyond theirs."""
    floor = db.conn.execute("SELECT id FROM invocations ORDER BY id DESC LIMIT 1 OFFSET ?", (keep,)).fetchone()
    limit = max(older_than_ns, floor[0] if floor else 0)
    db.conn.execute(
        "DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE created_at_ns < ? LIMIT ?)",
        (keys_older_than_ns, at_most),
    )
    return db.conn.execute(
        "DELETE FROM invocations WHERE id IN (SELECT id FROM invocations WHERE id <= ? AND finished_at_ns IS NOT NULL"
        " ORDER BY id LIMIT ?)",
        (limit, at_most),
    ).rowcount


def latest_id(db: Database) -> int:
    """The largest id of any table that takes its ids from the engine's one counter."""
    tables = ("invocations", "messages", "dispatches", "audit", "triggers", "deployment_history")
    return max(int(db.conn.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]) for table in tables)


def encode_event(at_ns: int, type: str, **fields: Any) -> str:
    """One entry of a record's history, as JSON text."""
    return orjson.dumps({"at_ns": at_ns, "type": type, **fields}).decode()
