"""Worker KV in SQLite: values with their expiry, sets, and queues with leases. Time comes in as a value.

Expiry is exact: what is over is never read, whether or not it has been pruned. See core.model.kv for the contract.
Times are those of the store's own clock (core.kv.timekeeping), and beside each end stands the length that it came from,
so that `resume` can shorten what a clock that was wrong has made too long.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlite_utils import Database

from core import errors
from core.model import kv
from core.model.kv import Anchor, Change, Depth, Entry, Item, Lease, Listing, Op, Result, Verb
from core.store import audit, kv_usage
from core.store.audit import AuditRow

ALIVE = "(expires_at_ms IS NULL OR expires_at_ms > ?)"
PRUNED_AT_ONCE = 2000

_GET = f"SELECT value, revision FROM kv_entries WHERE namespace = ? AND key = ? AND {ALIVE}"
_REVISION = f"SELECT revision FROM kv_entries WHERE namespace = ? AND key = ? AND {ALIVE}"
_SET = (
    "INSERT INTO kv_entries VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value,"
    " revision = excluded.revision, expires_at_ms = excluded.expires_at_ms, ttl_ms = excluded.ttl_ms"
)
# A value whose time is over counts as absent, and is replaced in the same statement.
_SET_IF_ABSENT = f"{_SET} WHERE kv_entries.expires_at_ms IS NOT NULL AND kv_entries.expires_at_ms <= ?"
_ACQUIRE = _SET_IF_ABSENT + " OR kv_entries.value = excluded.value"
_ADD = "INSERT INTO kv_members VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_PROLONG = "UPDATE kv_members SET expires_at_ms = ?, ttl_ms = ? WHERE namespace = ? AND key = ? AND member = ?"
_RENEW = f"{_PROLONG} AND expires_at_ms IS NOT NULL AND expires_at_ms <= ?"
_REMOVE = "DELETE FROM kv_members WHERE namespace = ? AND key = ? AND member = ? RETURNING expires_at_ms"
_OLD_SIZE = "SELECT length(CAST(value AS BLOB)) FROM kv_entries WHERE namespace = ? AND key = ?"
_MEMBERS = f"SELECT member FROM kv_members WHERE namespace = ? AND key = ? AND {ALIVE} ORDER BY member LIMIT ?"


class Applied(NamedTuple):
    """What an apply did, and what those who watch and wait should hear of after its commit."""

    results: list[Result]
    changes: list[Change]
    pushed: bool


def apply(
    db: Database,
    namespace: str,
    ops: Sequence[Op],
    now_ms: int,
    note: AuditRow | None = None,
    most_bytes: int | None = None,
) -> Applied:
    """Do checked operations in order, with the audit row of who asked for it, if it was a person.

    Reads alone may also be done on a reader connection. Raises StorageUnavailable when the tenant would then keep
    more than `most_bytes`, unless it keeps less than before.
    """
    session = _Session(db, namespace, now_ms)
    results = [_DO[op[0]](session, op) for op in ops]
    if session.grown:
        keeps = kv_usage.charge(db, namespace, session.grown)
        if most_bytes is not None and session.grown > 0 and keeps > most_bytes:
            raise errors.QuotaExceeded(
                f"The KV store keeps {keeps - session.grown:,} bytes for tenant {kv_usage.tenant_of(namespace)},"
                f" and may keep {most_bytes:,}.",
                hint="Delete keys, let them expire, or empty queues; the setting kv_tenant_mb gives more.",
            )
    if session.revision:
        db.conn.execute("UPDATE kv_revision SET last = ?", (session.revision,))
    if note is not None:
        audit.insert(db, note)
    return Applied(results, session.changes, session.pushed)


class _Session:
    """One apply under way."""

    __slots__ = ("_db", "_namespace", "_now", "_read", "changes", "execute", "grown", "pushed", "revision")

    def __init__(self, db: Database, namespace: str, now_ms: int) -> None:
        self._db = db
        self._namespace = namespace
        self._now = now_ms
        self.execute = db.conn.execute
        self.revision = 0
        self._read = 0
        self.changes: list[Change] = []
        self.pushed = False
        self.grown = 0  # bytes that are kept more, or less

    def _next_revision(self) -> int:
        if not self.revision:
            self.revision = self.execute("SELECT last FROM kv_revision").fetchone()[0]
        self.revision += 1
        return self.revision

    def _until(self, ttl_ms: int) -> tuple[int | None, int | None]:
        """When what is written now is over, and the length that makes it so."""
        return (self._now + ttl_ms, ttl_ms) if ttl_ms else (None, None)

    def get(self, op: Op) -> Result:
        row = self.execute(_GET, (self._namespace, op[1], self._now)).fetchone()
        if row is None:
            return Result(False)
        self._read += len(row[0])
        if self._read > kv.MAX_PAGE_CHARACTERS:
            raise errors.InvalidParams(
                f"The values of these keys have more than {kv.MAX_PAGE_CHARACTERS} characters.",
                hint="Read fewer keys at once.",
            )
        return Result(True, row[1], row[0])

    def set(self, op: Op) -> Result:
        revision = self._next_revision()
        self.grown += self._growth(op)
        self.execute(_SET, (self._namespace, op[1], op[2], revision, *self._until(op[3])))
        self.changes.append(Change(op[1], False))
        return Result(True, revision)

    def _growth(self, op: Op) -> int:
        """What is kept more when this value takes the place of the present one."""
        row = self.execute(_OLD_SIZE, (self._namespace, op[1])).fetchone()
        return kv_usage.bytes_of(op[1], op[2]) - (0 if row is None else kv_usage.bytes_of(op[1]) + row[0])

    def set_if_absent(self, op: Op) -> Result:
        return self._conditional(_SET_IF_ABSENT, op)

    def acquire(self, op: Op) -> Result:
        return self._conditional(_ACQUIRE, op)

    def _conditional(self, statement: str, op: Op) -> Result:
        revision = self._next_revision()
        values = (self._namespace, op[1], op[2], revision, *self._until(op[3]), self._now)
        growth = self._growth(op)
        if self.execute(statement, values).rowcount:
            self.grown += growth
            self.changes.append(Change(op[1], False))
            return Result(True, revision)
        self.revision -= 1
        return Result(False, self._present(op[1]))

    def _present(self, key: str) -> int:
        row = self.execute(_REVISION, (self._namespace, key, self._now)).fetchone()
        return row[0] if row is not None else 0

    def compare_and_set(self, op: Op) -> Result:
        present = self._present(op[1])
        return self.set(op) if present == op[4] else Result(False, present)

    def delete(self, op: Op) -> Result:
        where = (self._namespace, op[1])
        found = self._present(op[1]) or self.execute(_MEMBERS, (*where, self._now, 1)).fetchone() is not None
        for (value,) in self.execute(
            "DELETE FROM kv_entries WHERE namespace = ? AND key = ? RETURNING value", where
        ).fetchall():
            self.changes.append(Change(op[1], True))
            self.grown -= kv_usage.bytes_of(op[1], value)
        for (member,) in self.execute(
            "DELETE FROM kv_members WHERE namespace = ? AND key = ? RETURNING member", where
        ).fetchall():
            self.grown -= kv_usage.bytes_of(op[1], member)
        return Result(bool(found))

    def add(self, op: Op) -> Result:
        until = self._until(op[3])
        where = (self._namespace, op[1], op[2])
        if self.execute(_ADD, (*where, *until)).rowcount:
            self.grown += kv_usage.bytes_of(op[1], op[2])
            return Result(True)
        if self.execute(_RENEW, (*until, *where, self._now)).rowcount:  # its time was over
            return Result(True)
        self.execute(_PROLONG, (*until, *where))
        return Result(False)

    def remove(self, op: Op) -> Result:
        row = self.execute(_REMOVE, (self._namespace, op[1], op[2])).fetchone()
        if row is None:
            return Result(False)
        self.grown -= kv_usage.bytes_of(op[1], op[2])
        return Result(row[0] is None or row[0] > self._now)

    def members(self, op: Op) -> Result:
        rows = self.execute(_MEMBERS, (self._namespace, op[1], self._now, kv.MAX_LIST)).fetchall()
        return Result(bool(rows), members=tuple(row[0] for row in rows))

    def push(self, op: Op) -> Result:
        self.execute("INSERT INTO kv_items (namespace, value) VALUES (?, ?)", (self._namespace, op[2]))
        self.grown += kv_usage.bytes_of(op[2])
        self.pushed = True
        return Result(True)

    def ack(self, op: Op) -> Result:
        if not self._end(op[1]):
            return Result(False)
        gone = self.execute("DELETE FROM kv_items WHERE lease = ? RETURNING value", (op[1],)).fetchall()
        self.grown -= sum(kv_usage.bytes_of(value) for (value,) in gone)
        return Result(True, affected=len(gone))

    def release(self, op: Op) -> Result:
        max_attempts = self._end(op[1])
        if not max_attempts:
            return Result(False)
        self.pushed = True
        return Result(True, affected=_give_back(self._db, op[1], max_attempts))

    def _end(self, lease: str) -> int:
        """End a lease that still runs; its bound of attempts, 0 when it is over or was never ours."""
        row = self.execute(
            "DELETE FROM kv_leases WHERE id = ? AND namespace = ? AND expires_at_ms > ? RETURNING max_attempts",
            (lease, self._namespace, self._now),
        ).fetchone()
        return row[0] if row is not None else 0


_DO: dict[str, Callable[[_Session, Op], Result]] = {
    Verb.GET: _Session.get,
    Verb.SET: _Session.set,
    Verb.SET_IF_ABSENT: _Session.set_if_absent,
    Verb.ACQUIRE: _Session.acquire,
    Verb.COMPARE_AND_SET: _Session.compare_and_set,
    Verb.DELETE: _Session.delete,
    Verb.ADD: _Session.add,
    Verb.REMOVE: _Session.remove,
    Verb.MEMBERS: _Session.members,
    Verb.PUSH: _Session.push,
    Verb.ACK: _Session.ack,
    Verb.RELEASE: _Session.release,
}


# ---- queues --------------------------------------------------------------------------------------------------------


def _give_back(db: Database, lease: str, max_attempts: int) -> int:
    return db.conn.execute(
        "UPDATE kv_items SET lease = NULL, dead = attempts >= ? WHERE lease = ?", (max_attempts, lease)
    ).rowcount


def pop_batch(
    db: Database, namespace: str, size: int, lease_ms: int, max_attempts: int, lease: str, now_ms: int
) -> tuple[Lease | None, int | None]:
    """Lease the oldest items under the id `lease`.

    Without any it returns (None, when the next lease of the queue runs out).
    """
    execute = db.conn.execute
    over = execute(
        "DELETE FROM kv_leases WHERE namespace = ? AND expires_at_ms <= ? RETURNING id, max_attempts",
        (namespace, now_ms),
    ).fetchall()
    for id, bound in over:
        _give_back(db, id, bound)
    rows = execute(
        "SELECT id, value, attempts + 1 FROM kv_items WHERE namespace = ? AND lease IS NULL AND dead = 0"
        " ORDER BY id LIMIT ?",
        (namespace, size),
    )
    items: list[Item] = []
    total = 0
    for row in rows:
        total += len(row[1])
        if items and total > kv.MAX_PAGE_CHARACTERS:
            break
        items.append(Item(*row))
    rows.close()
    if not items:
        waits = execute("SELECT min(expires_at_ms) FROM kv_leases WHERE namespace = ?", (namespace,)).fetchone()[0]
        return None, waits
    until = now_ms + lease_ms
    execute("INSERT INTO kv_leases VALUES (?, ?, ?, ?, ?)", (lease, namespace, until, max_attempts, lease_ms))
    db.conn.executemany(
        "UPDATE kv_items SET lease = ?, attempts = attempts + 1 WHERE id = ?", [(lease, item.id) for item in items]
    )
    return Lease(lease, until, tuple(items)), None


def depth(db: Database, namespace: str, now_ms: int) -> Depth:
    """What a queue holds; an item whose lease has run out counts as what the next pop makes of it."""
    leased, over, spent = db.conn.execute(
        "SELECT coalesce(sum(l.expires_at_ms > :now), 0),"
        " coalesce(sum(l.expires_at_ms <= :now AND i.attempts < l.max_attempts), 0),"
        " coalesce(sum(l.expires_at_ms <= :now AND i.attempts >= l.max_attempts), 0)"
        " FROM kv_leases l JOIN kv_items i ON i.lease = l.id WHERE l.namespace = :namespace",
        {"now": now_ms, "namespace": namespace},
    ).fetchone()
    ready = _count(db, "namespace = ? AND lease IS NULL AND dead = 0", namespace)
    return Depth(ready + over, leased, _count(db, "namespace = ? AND dead = 1", namespace) + spent)


def _count(db: Database, where: str, namespace: str) -> int:
    return int(db.conn.execute(f"SELECT count(*) FROM kv_items WHERE {where}", (namespace,)).fetchone()[0])


def dead_items(db: Database, namespace: str, limit: int) -> list[Item]:
    """The oldest dead items of a queue, each with how often it was handed out."""
    rows = db.conn.execute(
        "SELECT id, value, attempts FROM kv_items WHERE namespace = ? AND dead = 1 ORDER BY id LIMIT ?",
        (namespace, limit),
    )
    return [Item(*row) for row in rows]


def end_dead(db: Database, namespace: str, limit: int, requeue: bool, note: AuditRow) -> int:
    """Make the oldest dead items ready again with their attempts forgotten, or delete them; how many."""
    what = "UPDATE kv_items SET dead = 0, attempts = 0" if requeue else "DELETE FROM kv_items"
    audit.insert(db, note)
    ended = db.conn.execute(
        f"{what} WHERE id IN (SELECT id FROM kv_items WHERE namespace = ? AND dead = 1 ORDER BY id LIMIT ?)"
        " RETURNING value",
        (namespace, limit),
    ).fetchall()
    if not requeue:
        kv_usage.charge(db, namespace, -sum(kv_usage.bytes_of(value) for (value,) in ended))
    return len(ended)


# ---- the clock -----------------------------------------------------------------------------------------------------


def anchor(db: Database) -> Anchor | None:
    """How the store's clock stood when an owner last wrote it down; None before the first one did."""
    row = db.conn.execute("SELECT boot_id, boot_ms, ahead_of_boot_ms, ahead_of_wall_ms FROM kv_clock").fetchone()
    return None if row is None else Anchor(*row)


def keep_anchor(db: Database, now: Anchor) -> None:
    db.conn.execute("DELETE FROM kv_clock")
    db.conn.execute("INSERT INTO kv_clock VALUES (?, ?, ?, ?)", now)


def resume(db: Database, now: Anchor, now_ms: int) -> None:
    """Begin with this clock: nothing that was written before it lasts longer from now on than it was to last at all."""
    keep_anchor(db, now)
    for table, key in (("kv_entries", "namespace, key"), ("kv_members", "namespace, key, member")):
        db.conn.execute(
            f"UPDATE {table} SET expires_at_ms = :now + ttl_ms WHERE ({key}) IN"
            f" (SELECT {key} FROM {table} WHERE expires_at_ms > :now + ttl_ms)",
            {"now": now_ms},
        )
    db.conn.execute(
        "UPDATE kv_leases SET expires_at_ms = :now + lease_ms WHERE expires_at_ms > :now + lease_ms", {"now": now_ms}
    )


# ---- lists and retention -------------------------------------------------------------------------------------------


def listing(db: Database, namespace: str, prefix: str, after: str, limit: int, now_ms: int) -> Listing:
    """A page of values by key."""
    end = _end_of(prefix)
    rows = db.conn.execute(
        "SELECT key, value, revision, expires_at_ms FROM kv_entries WHERE namespace = ? AND key >= ? AND key > ?"
        f" {'AND key < ?' if end else ''} AND {ALIVE} ORDER BY key LIMIT ?",
        (namespace, prefix, after, *([end] if end else ()), now_ms, limit + 1),
    )
    entries: list[Entry] = []
    total = 0
    for row in rows:
        total += len(row[1])
        if len(entries) == limit or (entries and total > kv.MAX_PAGE_CHARACTERS):
            rows.close()
            return Listing(tuple(entries), True)
        entries.append(Entry(*row))
    return Listing(tuple(entries), False)


def namespaces(db: Database, tenant: str, after: str, limit: int) -> list[str]:
    """The names of a tenant's namespaces that hold anything, in order; each costs one look into an index."""
    first, end = f"{tenant}:", _end_of(f"{tenant}:")
    found: set[str] = set()
    for where in ("kv_entries", "kv_members", "kv_leases", *(f"kv_items INDEXED BY {i}" for i in _QUEUES)):
        more = _QUEUES.get(where.rpartition(" ")[2], "1")
        name, count = max(first, after), 0
        while count <= limit:
            row = db.conn.execute(
                f"SELECT namespace FROM {where} WHERE {more} AND namespace > ? AND namespace < ?"
                " ORDER BY namespace LIMIT 1",
                (name, end),
            ).fetchone()
            if row is None:
                break
            name, count = row[0], count + 1
            found.add(name)
    return sorted(found)[:limit]


_QUEUES = {"kv_items_ready": "lease IS NULL AND dead = 0", "kv_items_dead": "dead = 1"}


def _end_of(prefix: str) -> str:
    """The first text after all those that begin with `prefix`, in the order of code points; empty: there is none."""
    for at in range(len(prefix) - 1, -1, -1):
        if (code := ord(prefix[at]) + 1) <= sys.maxunicode:
            return prefix[:at] + chr(0xE000 if 0xD800 <= code < 0xE000 else code)
    return ""


def is_due(db: Database, now_ms: int) -> bool:
    """Whether there is something to prune."""
    return bool(
        db.conn.execute(
            "SELECT EXISTS (SELECT 1 FROM kv_entries WHERE expires_at_ms <= :now)"
            " OR EXISTS (SELECT 1 FROM kv_members WHERE expires_at_ms <= :now)",
            {"now": now_ms},
        ).fetchone()[0]
    )


def prune(db: Database, now_ms: int, at_most: int = PRUNED_AT_ONCE) -> list[tuple[str, str]]:
    """Delete a piece of what is over; returns (namespace, key) of the values, for those who watch them."""
    gone = db.conn.execute(
        "DELETE FROM kv_entries WHERE (namespace, key) IN"
        " (SELECT namespace, key FROM kv_entries WHERE expires_at_ms <= ? ORDER BY expires_at_ms LIMIT ?)"
        " RETURNING namespace, key, value",
        (now_ms, at_most),
    ).fetchall()
    members = db.conn.execute(
        "DELETE FROM kv_members WHERE (namespace, key, member) IN"
        " (SELECT namespace, key, member FROM kv_members WHERE expires_at_ms <= ? ORDER BY expires_at_ms LIMIT ?)"
        " RETURNING namespace, key, member",
        (now_ms, at_most),
    ).fetchall()
    shrunk: dict[str, int] = {}
    for namespace, key, text in (*gone, *members):
        shrunk[namespace] = shrunk.get(namespace, 0) + kv_usage.bytes_of(key, text)
    for namespace, size in shrunk.items():
        kv_usage.charge(db, namespace, -size)
    return [(namespace, key) for namespace, key, _ in gone]
