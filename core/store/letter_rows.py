"""The file of the dead letters: its schema, letters in and out, how much each job has. Not part of the database.

The count of each job (`boxes`) changes in the transaction of its letters, so that it is right after a crash as well.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.model.letter import MOST_EVENT_BYTES, MOST_REASON_CHARACTERS, Box, Letter, Status

Connection = sqlite3.Connection
LOCK_SECONDS = 1.0
ROW_BYTES = 400  # that a letter takes besides its event and its reason
LARGEST_BYTES = ROW_BYTES + MOST_REASON_CHARACTERS + 2 * MOST_EVENT_BYTES  # with a message that is as long
PRUNED = 500  # letters that go at once
VACUUMED = 500  # pages that are given back at once
_FIELDS = tuple(field.name for field in dataclasses.fields(Letter))
_COLUMNS = ", ".join(_FIELDS)
_SUMMARY = ", ".join("NULL" if name in ("event", "message") else name for name in _FIELDS)
_REPLAYABLE = "event IS NOT NULL AND NOT truncated AND NOT redacted AND step NOT LIKE '/input%'"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS letters (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    job TEXT NOT NULL,
    deployment TEXT NOT NULL,
    workload TEXT NOT NULL,
    worker TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    version TEXT NOT NULL,
    run TEXT NOT NULL,
    invocation TEXT NOT NULL,
    step TEXT NOT NULL,
    component TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    event TEXT,
    truncated INTEGER NOT NULL,
    redacted INTEGER NOT NULL,
    message TEXT,
    subject TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    tried_at_ns INTEGER NOT NULL,
    replay_step TEXT NOT NULL,
    size INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS letters_by_job ON letters (tenant, job, status, id);
CREATE INDEX IF NOT EXISTS letters_by_subject ON letters (tenant, job, subject) WHERE subject != '';
CREATE INDEX IF NOT EXISTS letters_replaying ON letters (tenant, job, id) WHERE status = 'replaying';
CREATE TABLE IF NOT EXISTS boxes (
    tenant TEXT NOT NULL,
    job TEXT NOT NULL,
    waiting INTEGER NOT NULL DEFAULT 0,
    replayed INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0,
    dropped_at_ns INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, job)
) WITHOUT ROWID;
"""


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """A connection to the file; the one that writes makes what is missing. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=LOCK_SECONDS)
    try:
        if write:
            connection.execute("PRAGMA page_size = 8192")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file; before its first table
        # FULL: a worker forgets an event when its letter is committed, so a power cut must not take it back.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "trusted_schema = OFF", "cache_size = -8192"):
            connection.execute(f"PRAGMA {pragma}")
        if write:
            connection.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
        else:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opens the files, while they are ours
    except BaseException:
        connection.close()
        raise
    return connection


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters: of a tenant, and what else is not empty."""

    tenant: str
    job: str = ""
    deployment: str = ""
    code: str = ""
    status: str = ""
    ids: tuple[int, ...] = ()
    resting: bool = False
    """Only those that are not being replayed."""

    def conditions(self) -> tuple[str, list[object]]:
        said = ["tenant = ?"]
        given: list[object] = [self.tenant]
        for name in ("job", "deployment", "code", "status"):
            if value := getattr(self, name):
                said.append(f"{name} = ?")
                given.append(value)
        if self.ids:
            said.append(f"id IN ({', '.join('?' * len(self.ids))})")
            given += self.ids
        if self.resting:
            said.append("status <> ?")
            given.append(Status.REPLAYING)
        return " AND ".join(said), given


def last_id(db: sqlite3.Connection) -> int:
    found: int = db.execute("SELECT coalesce(max(id), 0) FROM letters").fetchone()[0]
    return found


def size_of(letter: Letter) -> int:
    """How much room a letter takes."""
    return ROW_BYTES + len(letter.reason) + len(letter.event or "") + len(letter.message or "")


def add(db: sqlite3.Connection, letters: Sequence[Letter]) -> None:
    """Keep letters of one job."""
    marks = ", ".join("?" * (len(_FIELDS) + 1))
    rows = [(*(getattr(one, name) for name in _FIELDS), size_of(one)) for one in letters]
    db.executemany(f"INSERT INTO letters ({_COLUMNS}, size) VALUES ({marks})", rows)
    if letters:
        first = letters[0]
        _count(db, first.tenant, first.job, waiting=len(rows), bytes=sum(row[-1] for row in rows))


def _count(db: sqlite3.Connection, tenant: str, job: str, **by: int) -> None:
    db.execute("INSERT OR IGNORE INTO boxes (tenant, job) VALUES (?, ?)", (tenant, job))
    changes = ", ".join(f"{name} = max(0, {name} + ?)" for name in by)
    db.execute(f"UPDATE boxes SET {changes} WHERE tenant = ? AND job = ?", (*by.values(), tenant, job))


def repeated(db: sqlite3.Connection, letter: Letter) -> bool:
    """Whether a letter tells of what another one that waits has told of, which then counts one attempt more."""
    if not letter.subject:
        return False
    changed = db.execute(
        "UPDATE letters SET attempts = attempts + 1, tried_at_ns = ?, reason = ?, run = ?, version = ?"
        " WHERE tenant = ? AND job = ? AND subject = ? AND subject != '' AND status = ?",
        (
            *(letter.tried_at_ns, letter.reason, letter.run, letter.version),
            *(letter.tenant, letter.job, letter.subject, Status.WAITING),
        ),
    )
    return changed.rowcount > 0


def settle(db: sqlite3.Connection, letter: Letter) -> None:
    """What a letter tells of was skipped, and has been read: the one that waits for it has come to its end."""
    changed = db.execute(
        "UPDATE letters SET status = ?, tried_at_ns = ?"
        " WHERE tenant = ? AND job = ? AND subject = ? AND subject != '' AND status = ?",
        (
            *(Status.REPLAYED, letter.tried_at_ns),
            *(letter.tenant, letter.job, letter.subject, Status.WAITING),
        ),
    )
    if changed.rowcount > 0:
        _count(db, letter.tenant, letter.job, waiting=-changed.rowcount, replayed=changed.rowcount)


def drop(db: sqlite3.Connection, tenant: str, job: str, count: int, now_ns: int) -> None:
    """Count letters for which there is no room."""
    _count(db, tenant, job, dropped=count)
    db.execute("UPDATE boxes SET dropped_at_ns = ? WHERE tenant = ? AND job = ?", (now_ns, tenant, job))


def box(db: sqlite3.Connection, tenant: str, job: str) -> Box:
    row = db.execute(
        "SELECT waiting, replayed, bytes, dropped, dropped_at_ns FROM boxes WHERE tenant = ? AND job = ?", (tenant, job)
    ).fetchone()
    if row is None:
        return Box()
    oldest = db.execute(
        "SELECT min(id) FROM letters WHERE tenant = ? AND job = ? AND status = ?", (tenant, job, Status.WAITING)
    ).fetchone()[0]
    waiting, replayed, size, dropped, dropped_at_ns = row
    return Box(waiting, replayed, size, dropped, dropped_at_ns, oldest or 0)


def boxes(db: sqlite3.Connection) -> dict[tuple[str, str], Box]:
    """Those of all jobs that have any letter, or had one."""
    owners = db.execute("SELECT tenant, job FROM boxes").fetchall()
    return {(tenant, job): box(db, tenant, job) for tenant, job in owners}


def tenant_bytes(db: sqlite3.Connection, tenant: str) -> int:
    found: int = db.execute("SELECT coalesce(sum(bytes), 0) FROM boxes WHERE tenant = ?", (tenant,)).fetchone()[0]
    return found


def page(db: sqlite3.Connection, wanted: Wanted, before: int, limit: int) -> list[Letter]:
    """Letters from the newest, below an id unless it is 0, without their events."""
    where, given = wanted.conditions()
    if before:
        where, given = f"{where} AND id < ?", [*given, before]
    rows = db.execute(f"SELECT {_SUMMARY} FROM letters WHERE {where} ORDER BY id DESC LIMIT ?", (*given, limit))
    return [_letter(row) for row in rows]


def oldest(db: sqlite3.Connection, wanted: Wanted, limit: int) -> list[Letter]:
    """Letters from the oldest, without their events."""
    where, given = wanted.conditions()
    rows = db.execute(f"SELECT {_SUMMARY} FROM letters WHERE {where} ORDER BY id LIMIT ?", (*given, limit))
    return [_letter(row) for row in rows]


def whole(db: sqlite3.Connection, wanted: Wanted, after: int, limit: int) -> list[Letter]:
    """Letters with their events, from the oldest, above an id."""
    where, given = wanted.conditions()
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM letters WHERE {where} AND id > ? ORDER BY id LIMIT ?", (*given, after, limit)
    )
    return [_letter(row) for row in rows]


def count(db: sqlite3.Connection, wanted: Wanted) -> int:
    where, given = wanted.conditions()
    found: int = db.execute(f"SELECT count(*) FROM letters WHERE {where}", given).fetchone()[0]
    return found


def _letter(row: Sequence[object]) -> Letter:
    values = dict(zip(_FIELDS, row, strict=True))
    values["truncated"], values["redacted"] = bool(values["truncated"]), bool(values["redacted"])
    return Letter(**values)  # type: ignore[arg-type]


def begin_replay(db: sqlite3.Connection, wanted: Wanted, step: str, limit: int) -> tuple[list[int], int]:
    """Have the oldest of some letters be replayed, of those that can be: their ids, also of those that somebody has
    begun with, from wherever that is; and how many wait and cannot be."""
    where, given = wanted.conditions()
    (fixed,) = db.execute(
        f"SELECT count(*) FROM letters WHERE {where} AND status = ? AND NOT ({_REPLAYABLE})", (*given, Status.WAITING)
    ).fetchone()
    rows = db.execute(
        f"SELECT id FROM letters WHERE {where} AND status IN (?, ?) AND {_REPLAYABLE} ORDER BY id LIMIT ?",
        (*given, Status.WAITING, Status.REPLAYING, limit),
    ).fetchall()
    db.executemany(
        "UPDATE letters SET status = ?, replay_step = ? WHERE id = ? AND status = ?",
        [(Status.REPLAYING, step, id, Status.WAITING) for (id,) in rows],
    )
    return [id for (id,) in rows], fixed


def replaying(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """The jobs with letters that are to be replayed."""
    return [*db.execute("SELECT DISTINCT tenant, job FROM letters WHERE status = 'replaying'")]


def next_replays(db: sqlite3.Connection, tenant: str, job: str, limit: int) -> list[Letter]:
    """The oldest letters of a job that are to be replayed, with their events."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM letters WHERE tenant = ? AND job = ? AND status = 'replaying' ORDER BY id LIMIT ?",
        (tenant, job, limit),
    )
    return [_letter(row) for row in rows]


def accepted(db: sqlite3.Connection, id: int, now_ns: int) -> None:
    """A letter that was replayed has come to its end."""
    row = db.execute(
        "UPDATE letters SET status = ?, tried_at_ns = ? WHERE id = ? AND status = ? RETURNING tenant, job",
        (Status.REPLAYED, now_ns, id, Status.REPLAYING),
    ).fetchone()
    if row is not None:
        _count(db, *row, waiting=-1, replayed=1)


def refused(db: sqlite3.Connection, id: int, code: str, reason: str, now_ns: int) -> None:
    """A letter that was replayed was refused again."""
    db.execute(
        "UPDATE letters SET status = ?, attempts = attempts + 1, code = ?, reason = ?, tried_at_ns = ?"
        " WHERE id = ? AND status = ?",
        (Status.WAITING, code, reason, now_ns, id, Status.REPLAYING),
    )


def wait_on(db: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Letters could not be replayed now: they wait as before."""
    db.executemany(
        "UPDATE letters SET status = ? WHERE id = ? AND status = ?",
        [(Status.WAITING, id, Status.REPLAYING) for id in ids],
    )


def remove(db: sqlite3.Connection, ids: Iterable[int], *, resting: bool = False) -> list[tuple[str, str]]:
    """Let letters go, with `resting` only those that are not being replayed; of each that went, the job it was of."""
    gone, kept = [], Status.REPLAYING if resting else ""
    for id in ids:
        row = db.execute(
            "DELETE FROM letters WHERE id = ? AND status <> ? RETURNING tenant, job, status, size", (id, kept)
        ).fetchone()
        if row is not None:
            tenant, job, status, size = row
            counted = "replayed" if status == Status.REPLAYED else "waiting"
            _count(db, tenant, job, **{counted: -1, "bytes": -size})
            gone.append((tenant, job))
    return gone


def remove_replayed(db: sqlite3.Connection, tenant: str, job: str, limit: int = PRUNED) -> int:
    """Let go of the oldest of a job that have done their duty; how many went."""
    found = db.execute(
        "SELECT id FROM letters WHERE tenant = ? AND job = ? AND status = ? ORDER BY id LIMIT ?",
        (tenant, job, Status.REPLAYED, limit),
    ).fetchall()
    remove(db, [id for (id,) in found])
    return len(found)


def prune(db: sqlite3.Connection, before_ns: int) -> set[tuple[str, str]]:
    """Let some letters go that came before a time; the jobs that they were of."""
    old = db.execute("SELECT id FROM letters WHERE id < ? LIMIT ?", (before_ns, PRUNED)).fetchall()
    return {*remove(db, [id for (id,) in old])}


def forget_dropped(db: sqlite3.Connection, tenant: str, job: str) -> None:
    """Somebody has made room: what was dropped before is no news any more."""
    db.execute("UPDATE boxes SET dropped = 0, dropped_at_ns = 0 WHERE tenant = ? AND job = ?", (tenant, job))


def give_back(db: sqlite3.Connection) -> None:
    """Give some unused pages back to the disk."""
    db.execute(f"PRAGMA incremental_vacuum({VACUUMED})").fetchall()
