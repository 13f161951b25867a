"""The message log: what every message said, and for how long it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson
from sqlite_utils import Database

from core import clock
from core.model.message import CLASSES, Class, Message
from core.store import bodies, invocations, shares
from core.store.rows import insertion


class MessageRow(NamedTuple):
    """One message of the log."""

    id: int
    tenant: str
    kind: str
    source: str
    type: str
    tag: str
    job: str
    worker: str
    body: bytes
    """The event as JSON; empty when it says what the record of a run says (core.store.bodies)."""
    invocation_id: int | None = None
    """The run whose record that is."""

    def within(self, run: int | None) -> MessageRow:
        """This message as one that says what the record of a run says, if there is such a run."""
        return self if run is None else self._replace(body=b"", invocation_id=run)


class Wanted(NamedTuple):
    """Which messages of a tenant are asked for; what is empty leaves none out."""

    kind: str = ""
    type: str = ""
    tag: str = ""
    job: str = ""
    source: str = ""
    worker: str = ""
    leave_out: str = ""
    """A type that is not asked for."""
    text: str = ""
    """What it says somewhere, in any case of ASCII letters."""
    since: int = 0
    """The id that comes before the first one: ids are times."""
    until: int = 2**63 - 1
    """The first id that is not asked for."""

    def where(self, tenant: str) -> tuple[str, list[Any]]:
        """The condition, and the values for its question marks."""
        equal = {name: getattr(self, name) for name in ("kind", "type", "tag", "job", "source", "worker")}
        equal = {"tenant": tenant, **{name: value for name, value in equal.items() if value}}
        terms, values = (
            ["id > ? AND id < ?", *(f"{name} = ?" for name in equal)],
            [self.since, self.until, *equal.values()],
        )
        if self.leave_out:
            terms.append("type != ?")
            values.append(self.leave_out)
        if self.text:
            pattern = f"%{self.text.replace('!', '!!').replace('%', '!%').replace('_', '!_')}%"
            terms.append(f"({' OR '.join(f'{said} LIKE ? ESCAPE {_ESCAPE}' for said in _SAID)})")
            values += [pattern] * len(_SAID)
        return " AND ".join(terms), values


_ESCAPE = "'!'"
_OF_RUN = "(SELECT {} FROM invocations i WHERE i.id = messages.invocation_id)"
_SAID = ("CAST(body AS TEXT)", _OF_RUN.format("i.params"), _OF_RUN.format("i.result"))
"""Where the text of a message is: in its body, or in the record of its run (core.store.bodies)."""


EVERY = Wanted()
_COLUMNS = ", ".join(MessageRow._fields)
_INSERT = insertion("messages", MessageRow)
_NOT_OWED = (
    "id NOT IN (SELECT message_id FROM dispatches)"
    " AND id NOT IN (SELECT message_id FROM invocations WHERE finished_at_ns IS NULL AND message_id IS NOT NULL)"
)


def _types(types: Iterable[str]) -> str:
    return ", ".join(f"'{type!s}'" for type in types)


_OF_CLASS = {one: f"type IN ({_types(types)})" for one, types in CLASSES.items()}
_OF_CLASS[Class.CONTROL] = f"type NOT IN ({_types(type for types in CLASSES.values() for type in types)})"


def row(message: Message, body: bytes, invocation_id: int | None = None) -> MessageRow:
    return MessageRow(
        message.id,
        message.tenant,
        message.kind,
        message.source,
        message.type,
        message.tag,
        message.job,
        message.worker,
        body,
        invocation_id,
    )


def insert(db: Database, rows: Iterable[MessageRow]) -> None:
    db.conn.executemany(_INSERT, rows)


def get(db: Database, id: int) -> MessageRow | None:
    found = db.conn.execute(f"SELECT {_COLUMNS} FROM messages WHERE id = ?", (id,)).fetchone()
    return None if found is None else MessageRow(*found)


def keep_bodies(db: Database, ids: str, values: tuple[Any, ...]) -> None:
    """Give the messages of the runs with these ids (a SELECT), whose records are about to go, bodies of their own."""
    found = db.conn.execute(
        f"SELECT i.id, {', '.join(f'm.{name}' for name in MessageRow._fields)} FROM invocations i"
        f" JOIN messages m ON m.id IN (i.message_id, i.response_id) WHERE i.id IN ({ids})",
        values,
    ).fetchall()
    for run_id, *columns in found:
        message, run = MessageRow(*columns), invocations.get(db, run_id)
        if run is not None and not message.body:
            body = bodies.composed(db, message, run)
            db.conn.execute("UPDATE messages SET body = ?, invocation_id = NULL WHERE id = ?", (body, message.id))


def search(
    db: Database,
    tenant: str,
    wanted: Wanted = EVERY,
    *,
    before: int | None = None,
    oldest_first: bool = False,
    limit: int = 25,
    most_bytes: int = 1024 * 1024,
) -> tuple[list[tuple[int, dict[str, Any]]], bool]:
    """Messages of a tenant, newest (or oldest) first, as (id, event with its time), and whether there are more.

    At most `limit`, and at most `most_bytes` of bodies are read, or one message: it is never all of a page of large
    ones in memory.
    """
    where, values = wanted.where(tenant)
    if before is not None:
        where += " AND id < ?"
        values.append(before)
    order = "ASC" if oldest_first else "DESC"
    rows = db.conn.execute(
        f"SELECT {_COLUMNS} FROM messages WHERE {where} ORDER BY id {order} LIMIT ?", [*values, limit + 1]
    )
    out: list[tuple[int, dict[str, Any]]] = []
    size = 0
    for found in map(MessageRow._make, rows):
        if len(out) == limit:
            rows.close()
            return out, True
        body = bodies.of(db, found)
        size += len(body)
        if out and size > most_bytes:
            rows.close()
            return out, True
        event = orjson.loads(body)
        event["at"] = clock.iso(event["nanoseconds_since_epoch"])
        out.append((found.id, event))
    return out, False


def recent(db: Database, tenant: str, type: str, job: str = "", limit: int = 25) -> list[dict[str, Any]]:
    """The newest messages of one type, of one job or of all; fewer when they are large (see `search`)."""
    return [event for _, event in search(db, tenant, Wanted(type=type, job=job), limit=limit)[0]]


def is_gone(db: Database, tenant: str, id: int) -> bool:
    """Whether the tenant has no such message any more, or never had; the oldest go first, so maybe later ones too."""
    return db.conn.execute("SELECT 1 FROM messages WHERE id = ? AND tenant = ?", (id, tenant)).fetchone() is None


def count(db: Database, tenant: str, wanted: Wanted = EVERY) -> int:
    """How many messages of a tenant are asked for, on whatever page."""
    where, values = wanted.where(tenant)
    return int(db.conn.execute(f"SELECT count(*) FROM messages WHERE {where}", values).fetchone()[0])


def by_tenant(db: Database) -> list[tuple[str, int]]:
    """How many bytes the messages of each tenant take; reads no bodies, only their lengths."""
    return db.conn.execute("SELECT tenant, sum(length(body)) FROM messages GROUP BY tenant").fetchall()


def prune_tenant(db: Database, tenant: str, excess: int, at_most: int = 5_000) -> int:
    """Delete the oldest messages of a tenant, `excess` bytes of them, except those that are still owed to a job."""
    rows = db.conn.execute(
        f"SELECT id, length(body) FROM messages WHERE tenant = ? AND {_NOT_OWED} ORDER BY id LIMIT ?",
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


def beyond(db: Database, keep: int, kept: Class) -> Mapping[str, int]:
    """Of each tenant that has more than its share of `keep` messages of a class, the id of the youngest one that is
    too many."""
    return shares.floors(db, "messages", keep, _OF_CLASS[kept])


def prune(db: Database, kept: Class, older_than_ns: int, of_tenants: Mapping[str, int], at_most: int = 5_000) -> int:
    """Delete messages of a class beyond the retention, and those of some tenants up to an id, oldest first, except what
    is still owed to a job."""
    of_class = f"{_OF_CLASS[kept]} AND {_NOT_OWED}"
    gone = db.conn.execute(
        f"DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE id <= ? AND {of_class} ORDER BY id LIMIT ?)",
        (older_than_ns, at_most),
    ).rowcount
    for tenant, floor in of_tenants.items():
        gone += db.conn.execute(
            "DELETE FROM messages WHERE id IN"
            f" (SELECT id FROM messages WHERE tenant = ? AND id <= ? AND {of_class} ORDER BY id LIMIT ?)",
            (tenant, floor, at_most),
        ).rowcount
    return gone
