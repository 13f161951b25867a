"""Invocations: the hot table. Two commits a run: recorded with its message, and moved once to its terminal state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlite_utils import Database

from core.store import audit, callbacks, messages, usage
from core.store.usage import Kept

COLUMNS = (
    "id nonce tenant slug revision state surface username role params idempotency_key requested_at_ns deadline_ns"
    " finished_at_ns proxy_recorded_at_ns attempts result events proxy_nonce callback rerun_of"
).split()
INSERT = f"INSERT INTO invocations VALUES ({', '.join('?' * len(COLUMNS))})"
MAX_EVENTS = 50  # a record stays bounded however many bad responses arrive

MOST_COUNTED = 10_000  # records that a list counts for its total

Row = tuple[Any, ...]


@dataclass(slots=True)
class Finish:
    """A wish to end an invocation; the store decides whether it is the first one."""

    id: int
    state: str
    at_ns: int
    result: str
    event: str
    attempts: int
    late: str = ""  # the event to note when the invocation had ended before
    update: callbacks.DeliveryRow | None = None  # the callback that tells of this end
    told: Any = None  # the result as a value, for whoever waits; not stored


@dataclass(frozen=True, slots=True)
class Capture:
    """A proxy response to record with an invocation that has not ended."""

    id: int
    at_ns: int
    result: str
    event: str
    late: str


@dataclass(frozen=True, slots=True)
class Late:
    """An event for the history of an invocation that is no longer pending, if it is the one that is meant."""

    id: int
    nonce: str
    tenant: str
    event: str


def record(
    db: Database,
    row: Row,
    audit_row: tuple[Any, ...],
    key: tuple[bytes, bytes] | None,
    message: messages.MessageRow | None,
    dispatch: messages.DispatchRow | None,
    target: callbacks.TargetRow | None,
    update: callbacks.DeliveryRow | None,
) -> tuple[int, bytes] | None:
    """Write the record, its audit row, its message, the delivery and the callback it owes, in one transaction.

    `key` is (digest of tenant, slug, user and idempotency key; digest of the params). When the key is taken nothing
    is written and the holder is returned as (invocation id, params digest); otherwise None.
    """
    execute = db.conn.execute
    if key is not None:
        taken = holder(db, key[0])
        if taken is not None:
            return taken
        execute("INSERT INTO idempotency VALUES (?, ?, ?, ?)", (key[0], row[0], key[1], row[0]))
    execute(INSERT, row)
    execute(audit.INSERT, audit_row)
    if message is not None:
        execute(messages.INSERT, message)
    if dispatch is not None:
        execute(messages.INSERT_DISPATCH, dispatch)
    if target is not None and update is not None:
        callbacks.keep_target(db, target)
        callbacks.insert(db, update)
    return None


def holder(db: Database, key: bytes) -> tuple[int, bytes] | None:
    """(invocation id, params digest) behind an idempotency key."""
    row = db.conn.execute("SELECT invocation_id, params_digest FROM idempotency WHERE key = ?", (key,)).fetchone()
    return None if row is None else (row[0], row[1])


def finish(db: Database, wish: Finish) -> bool:
    """Move a record to a terminal state, if it is not in one yet; true when this call did it.

    The compare is what makes the end happen once, whatever attempts, timers and responses race for it.
    """
    won = (
        db.conn.execute(
            "UPDATE invocations SET state = ?, finished_at_ns = ?, result = ?, attempts = ?,"
            " events = json_insert(events, '$[#]', json(?)) WHERE id = ? AND finished_at_ns IS NULL",
            (wish.state, wish.at_ns, wish.result, wish.attempts, wish.event, wish.id),
        ).rowcount
        == 1
    )
    if won and wish.update is not None:
        callbacks.insert(db, wish.update)
    elif not won and wish.late:
        append_event(db, wish.id, wish.late)
    return won


def capture(db: Database, wish: Capture) -> bool:
    """Record a proxy response with its invocation, unless that has ended; true when this call did it."""
    won = (
        db.conn.execute(
            "UPDATE invocations SET result = ?, proxy_recorded_at_ns = ?, events = json_insert(events, '$[#]', json(?))"
            " WHERE id = ? AND finished_at_ns IS NULL",
            (wish.result, wish.at_ns, wish.event, wish.id),
        ).rowcount
        == 1
    )
    if not won:
        append_event(db, wish.id, wish.late)
    return won


def append_late(db: Database, late: Late) -> None:
    """Note in the history of an ended record what came after its end; nothing when it is someone else's."""
    db.conn.execute(
        "UPDATE invocations SET events = json_insert(events, '$[#]', json(?)) WHERE id = ? AND nonce = ?"
        " AND tenant = ? AND finished_at_ns IS NOT NULL AND json_array_length(events) < ?",
        (late.event, late.id, late.nonce, late.tenant, MAX_EVENTS),
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
    db: Database,
    tenant: str,
    *,
    equal: dict[str, str],
    tag: str = "",
    since_ns: int = 0,
    until_ns: int | None = None,
    before: int | None = None,
    limit: int,
) -> tuple[list[dict[str, Any]], int]:
    """Records of a tenant, newest first, and how many there are whatever the page (counted up to MOST_COUNTED).

    `equal` are columns with their values; `tag` is one of the trigger's revision that ran. Ids are the times of the
    requests, or a little later, so a range of time is a range of ids. The index is named, because the planner knows
    nothing of how few runs fail or are pending.
    """
    where, values = ["tenant = ?"], list[Any]([tenant])
    for column, value in equal.items():
        where.append(f"{column} = ?")
        values.append(value)
    if tag:
        where.append(
            "(slug, revision) IN (SELECT t.slug, t.revision FROM triggers t, json_each(t.definition, '$.tags') j"
            " WHERE t.tenant = ? AND j.value = ?)"
        )
        values += [tenant, tag]
    if since_ns:
        where.append("id >= ? AND requested_at_ns >= ?")
        values += [since_ns, since_ns]
    if until_ns is not None:
        where.append("requested_at_ns < ?")
        values.append(until_ns)
    index = "invocations_list"
    if equal.get("state") in ("failed", "timed_out"):
        index = "invocations_bad"
        where.append("state IN ('failed', 'timed_out')")
    elif equal.get("state") in ("accepted", "dispatched"):
        index = "invocations_open"
        where.append("finished_at_ns IS NULL")
    source = f"FROM invocations INDEXED BY {index} WHERE {' AND '.join(where)}"
    total = db.conn.execute(f"SELECT count(*) FROM (SELECT 1 {source} LIMIT {MOST_COUNTED})", values).fetchone()[0]
    if before is not None:
        source += " AND id < ?"
        values.append(before)
    rows = db.conn.execute(f"SELECT * {source} ORDER BY id DESC LIMIT ?", [*values, limit])
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows], int(total)


def recent_by(db: Database, tenant: str, slug: str, username: str, since_ns: int) -> list[int]:
    """When a user's runs of a trigger were asked for since a time, oldest first; ids are such times or later."""
    rows = db.conn.execute(
        "SELECT requested_at_ns FROM invocations WHERE id >= ? AND tenant = ? AND slug = ? AND username = ?"
        " AND requested_at_ns >= ? ORDER BY id",
        (since_ns, tenant, slug, username, since_ns),
    )
    return [row[0] for row in rows]


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
        db.conn.execute(f"DELETE FROM invocations WHERE id IN ({ids})", values)
    return gone


def latest_id(db: Database) -> int:
    """The largest id of any table that takes its ids from the engine's one counter."""
    tables = (
        *("invocations", "messages", "dispatches", "audit", "triggers", "deployment_history"),
        "callback_deliveries",
    )
    return max(int(db.conn.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]) for table in tables)


def encode_event(at_ns: int, type: str, **fields: Any) -> str:
    """One entry of a record's history, as JSON text."""
    return orjson.dumps({"at_ns": at_ns, "type": type, **fields}).decode()
