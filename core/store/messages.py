"""The message log and the durable queue of deliveries that are not yet acknowledged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlite_utils import Database

from core import clock
from core.model.message import Message
from core.store import shares

INSERT = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_DISPATCH = "INSERT INTO dispatches VALUES (?, ?, ?, ?, ?, ?)"

MessageRow = tuple[int, str, str, str, str, str, str, str, bytes]
DispatchRow = tuple[int, int, str, str, int | None, int]


def row(message: Message, body: bytes) -> MessageRow:
    """A message as a row of the log, in column order."""
    return (
        message.id,
        message.tenant,
        message.kind,
        message.source,
        message.type,
        message.tag,
        message.job,
        message.worker,
        body,
    )


def insert(db: Database, messages: list[MessageRow], dispatches: list[DispatchRow]) -> None:
    """Record messages together with the deliveries that they owe."""
    if len(messages) == 1:
        db.conn.execute(INSERT, messages[0])
    else:
        db.conn.executemany(INSERT, messages)
    for row in dispatches:
        db.conn.execute(INSERT_DISPATCH, row)


def settle(db: Database, ids: list[tuple[int]]) -> None:
    """Forget deliveries that were acknowledged or given up."""
    db.conn.executemany("DELETE FROM dispatches WHERE id = ?", ids)


def attempted(db: Database, attempts: list[tuple[int, int]]) -> None:
    """Raise the attempt count of deliveries that go out again: pairs (attempt, id)."""
    db.conn.executemany("UPDATE dispatches SET attempt = ? WHERE id = ?", attempts)


def undelivered(db: Database) -> list[tuple[int, str, str, int | None, int, bytes]]:
    """Every delivery still owed, oldest first: (id, tenant, job, invocation id, attempt, message body).

    One whose invocation waited for a response and has ended is owed no longer, and is forgotten here.
    """
    db.conn.execute(
        "DELETE FROM dispatches WHERE invocation_id IN (SELECT id FROM invocations"
        " WHERE finished_at_ns IS NOT NULL AND deadline_ns IS NOT NULL)"
    )
    return db.conn.execute(
        "SELECT d.id, d.tenant, d.job, d.invocation_id, d.attempt, m.body"
        " FROM dispatches d JOIN messages m ON m.id = d.message_id ORDER BY d.id"
    ).fetchall()


def search(
    db: Database,
    tenant: str,
    *,
    kind: str = "",
    type: str = "",
    tag: str = "",
    job: str = "",
    source: str = "",
    leave_out: str = "",
    before: int | None = None,
    limit: int = 25,
    most_bytes: int = 1024 * 1024,
) -> tuple[list[tuple[int, dict[str, Any]]], bool]:
    """Messages of a tenant, newest first, as (id, event with its time), and whether there are more.

    At most `limit`, and at most `most_bytes` of bodies are read, or one message: it is never all of a page of large
    ones in memory.
    """
    where, values = ["tenant = ?"], [tenant]
    for column, value in (("kind", kind), ("type", type), ("tag", tag), ("job", job), ("source", source)):
        if value:
            where.append(f"{column} = ?")
            values.append(value)
    if leave_out:
        where.append("type != ?")
        values.append(leave_out)
    if before is not None:
        where.append("id < ?")
        values.append(str(before))
    rows = db.conn.execute(
        f"SELECT id, body FROM messages WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?", [*values, limit + 1]
    )
    out: list[tuple[int, dict[str, Any]]] = []
    size = 0
    for number, body in rows:
        size += len(body)
        if len(out) == limit or (out and size > most_bytes):
            rows.close()
            return out, True
        event = orjson.loads(body)
        event["at"] = clock.iso(event["nanoseconds_since_epoch"])
        out.append((number, event))
    return out, False


def recent(db: Database, tenant: str, type: str, job: str = "", limit: int = 25) -> list[dict[str, Any]]:
    """The newest messages of one type, of one job or of all; fewer when they are large (see `search`)."""
    return [event for _, event in search(db, tenant, type=type, job=job, limit=limit)[0]]


def count(db: Database, tenant: str) -> int:
    return int(db.conn.execute("SELECT count(*) FROM messages WHERE tenant = ?", (tenant,)).fetchone()[0])


def by_tenant(db: Database) -> list[tuple[str, int]]:
    """How many bytes the messages of each tenant take; reads no bodies, only their lengths."""
    return db.conn.execute("SELECT tenant, sum(length(body)) FROM messages GROUP BY tenant").fetchall()


def prune_tenant(db: Database, tenant: str, excess: int, at_most: int = 5_000) -> int:
    """Delete the oldest messages of a tenant, `excess` bytes of them, except those that are still owed to a job."""
    rows = db.conn.execute(
        "SELECT id, length(body) FROM messages WHERE tenant = ? AND id NOT IN (SELECT message_id FROM dispatches)"
        " ORDER BY id LIMIT ?",
        (tenant, at_most),
    ).fetchall()
    gone = []
    for id, size in rows:
        if excess <= 0:
            break
        gone.append((id,))
        excess -= size
    db.conn.executemany("DELETE FROM messages WHERE id = ?", gone)
    return len(gone)


def beyond(db: Database, keep: int) -> Mapping[str, int]:
    """Of each tenant that has more than its share of `keep` messages, the id of the youngest one that is too many."""
    return shares.floors(db, "messages", keep)


def prune(db: Database, older_than_ns: int, of_tenants: Mapping[str, int], at_most: int = 5_000) -> int:
    """Delete messages beyond the retention, and those of some tenants up to an id, oldest first, except those that are
    still owed to a job."""
    owed = "id NOT IN (SELECT message_id FROM dispatches)"
    gone = db.conn.execute(
        f"DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE id <= ? AND {owed} ORDER BY id LIMIT ?)",
        (older_than_ns, at_most),
    ).rowcount
    for tenant, floor in of_tenants.items():
        gone += db.conn.execute(
            "DELETE FROM messages WHERE id IN"
            f" (SELECT id FROM messages WHERE tenant = ? AND id <= ? AND {owed} ORDER BY id LIMIT ?)",
            (tenant, floor, at_most),
        ).rowcount
    return gone
