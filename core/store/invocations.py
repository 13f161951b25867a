"""Invocations: the hot table. Two commits a run: recorded with its message, and moved once to its terminal state.

An open record is also what owes its message to the job, until it has ended or the job has settled the message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import orjson
from sqlite_utils import Database

from core.model.invocation import Invocation
from core.store import callbacks
from core.store.rows import fields_of, insertion

COLUMNS = fields_of(Invocation)
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM invocations"
_INSERT = insertion("invocations", Invocation)
_values = attrgetter(*COLUMNS)
_FINISH = (
    "UPDATE invocations SET state = ?, finished_at_ns = ?, result = ?, attempts = ?, response_id = ?,"
    " events = rtrim(events, ']') || ',' || ? || ']' WHERE id = ? AND finished_at_ns IS NULL"
)
_end = attrgetter("state", "at_ns", "result", "attempts", "message_id", "event", "id")
MAX_EVENTS = 50  # a record stays bounded however many bad responses arrive

MOST_COUNTED = 10_000  # records that a list counts for its total


@dataclass(slots=True)
class Finish:
    """A wish to end an invocation; the store decides whether it is the first one."""

    id: int
    state: str
    at_ns: int
    result: str
    event: str
    attempts: int
    message_id: int | None = None  # the response, if a message ends it
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


class Note(NamedTuple):
    """An event, as JSON, for the history of a run that goes on."""

    id: int
    event: str


def insert(db: Database, runs: Iterable[Invocation]) -> None:
    db.conn.executemany(_INSERT, map(_values, runs))


def hold(db: Database, key: bytes, id: int, params_digest: bytes) -> None:
    """Bind an idempotency key to an invocation."""
    db.conn.execute(
        "INSERT INTO idempotency (key, invocation_id, params_digest, created_at_ns) VALUES (?, ?, ?, ?)",
        (key, id, params_digest, id),
    )


def holder(db: Database, key: bytes) -> tuple[int, bytes] | None:
    """(invocation id, params digest) behind an idempotency key."""
    row = db.conn.execute("SELECT invocation_id, params_digest FROM idempotency WHERE key = ?", (key,)).fetchone()
    return None if row is None else (row[0], row[1])


def finish(db: Database, wishes: Sequence[Finish]) -> list[bool]:
    """Move records to a terminal state, those that are not in one yet; in order, whether it was by this call.

    The compare is what makes the end happen once, whatever attempts, timers and responses race for it.
    """
    db.conn.execute("SAVEPOINT ends")
    # No wish changes more than one row, so as many rows as wishes says of each that it came first.
    if db.conn.executemany(_FINISH, map(_end, wishes)).rowcount == len(wishes):
        won = [True] * len(wishes)
    else:
        db.conn.execute("ROLLBACK TO ends")
        won = [db.conn.execute(_FINISH, _end(wish)).rowcount == 1 for wish in wishes]
    db.conn.execute("RELEASE ends")
    for wish, first in zip(wishes, won, strict=True):
        if first and wish.update is not None:
            callbacks.insert(db, wish.update)
        elif not first and wish.late:
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


def settled(db: Database, ids: Iterable[int], at_ns: int) -> None:
    """Note of runs that go on that their job is done with the message: it is owed no longer."""
    db.conn.executemany(
        "UPDATE invocations SET settled_at_ns = ? WHERE id = ? AND finished_at_ns IS NULL", [(at_ns, id) for id in ids]
    )


def get(db: Database, id: int) -> Invocation | None:
    row = db.conn.execute(f"{_SELECT} WHERE id = ?", (id,)).fetchone()
    return None if row is None else Invocation(*row)


def open_ones(db: Database) -> list[Invocation]:
    """Every record that is not in a terminal state, oldest first."""
    return [Invocation(*row) for row in db.conn.execute(f"{_SELECT} WHERE finished_at_ns IS NULL ORDER BY id")]


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
) -> tuple[list[Invocation], int]:
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
    if equal.get("state") in ("failed", "timed_out", "canceled"):
        index = "invocations_bad"
        where.append("state IN ('failed', 'timed_out', 'canceled')")
    elif equal.get("state") in ("accepted", "dispatched"):
        index = "invocations_open"
        where.append("finished_at_ns IS NULL")
    source = f"INDEXED BY {index} WHERE {' AND '.join(where)}"
    counted = f"SELECT count(*) FROM (SELECT 1 FROM invocations {source} LIMIT {MOST_COUNTED})"
    total = db.conn.execute(counted, values).fetchone()[0]
    if before is not None:
        source += " AND id < ?"
        values.append(before)
    rows = db.conn.execute(f"{_SELECT} {source} ORDER BY id DESC LIMIT ?", [*values, limit])
    return [Invocation(*row) for row in rows], int(total)


def recent_by(db: Database, tenant: str, slug: str, username: str, since_ns: int) -> list[int]:
    """When a user's runs of a trigger were asked for since a time, oldest first; ids are such times or later."""
    rows = db.conn.execute(
        "SELECT requested_at_ns FROM invocations WHERE id >= ? AND tenant = ? AND slug = ? AND username = ?"
        " AND requested_at_ns >= ? ORDER BY id",
        (since_ns, tenant, slug, username, since_ns),
    )
    return [row[0] for row in rows]


def latest_id(db: Database) -> int:
    """The largest id of any table that takes its ids from the engine's one counter."""
    tables = (
        *("invocations", "messages", "dispatches", "audit", "triggers", "deployment_history"),
        *("callback_deliveries", "runs"),
    )
    return max(int(db.conn.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]) for table in tables)


def encode_event(at_ns: int, type: str, **fields: Any) -> str:
    """One entry of a record's history, as JSON text."""
    return orjson.dumps({"at_ns": at_ns, "type": type, **fields}).decode()
