"""Idempotency keys of writes over HTTP: which request holds a key, and the sealed answer that a repeat gets."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlite_utils import Database


class Who(NamedTuple):
    """Whose key it is, and of which operation: the same key of anyone else is another one."""

    tenant: str
    username: str
    operation: str
    key: str


_HELD = "tenant = ? AND username = ? AND operation = ? AND key = ?"


def begin(
    db: Database, who: Who, digest: bytes, life: int, now_ns: int, oldest_ns: int, most: tuple[int, int]
) -> tuple[Any, ...] | None:
    """Take a key for a request; None when it is ours now, else (digest, life, status, answer) of its holder.

    A key that was taken before `oldest_ns` is free again. `most` bounds the keys of one user and the bytes of their
    answers; beyond it (None, None, None, None) is returned, and nothing is written.
    """
    row = db.conn.execute(
        f"SELECT digest, life, status, answer FROM replays WHERE {_HELD} AND started_at_ns >= ?", (*who, oldest_ns)
    ).fetchone()
    if row is not None:
        return tuple(row)
    count, size = db.conn.execute(
        "SELECT count(*), coalesce(sum(length(answer)), 0) FROM replays"
        " WHERE tenant = ? AND username = ? AND started_at_ns >= ?",
        (who.tenant, who.username, oldest_ns),
    ).fetchone()
    if count >= most[0] or size >= most[1]:
        return (None,) * 4
    db.conn.execute(
        "INSERT OR REPLACE INTO replays VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL)", (*who, digest, life, now_ns)
    )
    return None


def take_over(db: Database, who: Who, life: int) -> None:
    """Hold a key whose holder died; only for what may be done twice."""
    db.conn.execute(f"UPDATE replays SET life = ? WHERE {_HELD} AND status IS NULL", (life, *who))


def end(db: Database, who: Who, status: int, answer: bytes) -> None:
    """Keep the answer of the request that holds a key."""
    db.conn.execute(f"UPDATE replays SET status = ?, answer = ? WHERE {_HELD}", (status, answer, *who))


def forget(db: Database, who: Who) -> None:
    """Free a key whose request did nothing."""
    db.conn.execute(f"DELETE FROM replays WHERE {_HELD} AND status IS NULL", who)


def prune(db: Database, older_than_ns: int, at_most: int = 2_000) -> int:
    """Delete keys that are too old, the oldest first; returns how many went."""
    return db.conn.execute(
        "DELETE FROM replays WHERE (tenant, username, operation, key) IN"
        " (SELECT tenant, username, operation, key FROM replays WHERE started_at_ns < ?"
        " ORDER BY started_at_ns LIMIT ?)",
        (older_than_ns, at_most),
    ).rowcount
