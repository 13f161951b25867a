"""Idempotency keys of writes over HTTP: which request holds a key, and the sealed answer that a repeat gets."""

from __future__ import annotations

from typing import NamedTuple

from sqlite_utils import Database


class Who(NamedTuple):
    """Whose key it is, and of which operation: the same key of anyone else is another one.

    `credential` is the id of an API key, and so the same for every JWT of it; empty for the local user.
    """

    tenant: str
    username: str
    credential: str
    operation: str
    key: str


_HELD = "tenant = ? AND username = ? AND credential = ? AND operation = ? AND key = ?"


class Held(NamedTuple):
    """A key that is taken: what for, in which life of the engine, and the sealed answer once there is one."""

    digest: bytes
    life: int
    answer: bytes | None


class Full(NamedTuple):
    """The user holds too much already."""

    keys: int
    bytes: int


def begin(
    db: Database, who: Who, digest: bytes, life: int, now_ns: int, oldest_ns: int, most: tuple[int, int]
) -> Held | Full | None:
    """Take a key for a request; None when it is ours now.

    A key that was taken before `oldest_ns` is free again. `most` bounds the keys of one user and the bytes of their
    answers; beyond it nothing is written.
    """
    row = db.conn.execute(
        f"SELECT digest, life, answer FROM replays WHERE {_HELD} AND started_at_ns >= ?", (*who, oldest_ns)
    ).fetchone()
    if row is not None:
        return Held(*row)
    full = Full(
        *db.conn.execute(
            "SELECT count(*), coalesce(sum(length(answer)), 0) FROM replays"
            " WHERE tenant = ? AND username = ? AND started_at_ns >= ?",
            (who.tenant, who.username, oldest_ns),
        ).fetchone()
    )
    if full.keys >= most[0] or full.bytes >= most[1]:
        return full
    db.conn.execute(
        "INSERT OR REPLACE INTO replays VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)", (*who, digest, life, now_ns)
    )
    return None


def take_over(db: Database, who: Who, life: int) -> None:
    """Hold a key whose holder died; only for what may be done twice."""
    db.conn.execute(f"UPDATE replays SET life = ? WHERE {_HELD} AND answer IS NULL", (life, *who))


def cut_off(db: Database, who: Who) -> None:
    """Say that the request which holds a key has ended without an answer."""
    take_over(db, who, 0)


def end(db: Database, who: Who, answer: bytes) -> None:
    """Keep the answer of the request that holds a key."""
    db.conn.execute(f"UPDATE replays SET answer = ? WHERE {_HELD}", (answer, *who))


def forget(db: Database, who: Who) -> None:
    """Free a key whose request did nothing."""
    db.conn.execute(f"DELETE FROM replays WHERE {_HELD} AND answer IS NULL", who)


def prune(db: Database, older_than_ns: int, at_most: int = 2_000) -> int:
    """Delete keys that are too old, the oldest first; returns how many went."""
    return db.conn.execute(
        "DELETE FROM replays WHERE (tenant, username, credential, operation, key) IN"
        " (SELECT tenant, username, credential, operation, key FROM replays WHERE started_at_ns < ?"
        " ORDER BY started_at_ns LIMIT ?)",
        (older_than_ns, at_most),
    ).rowcount
