"""The file of the logs: its schema, chunks in and out, and what has to go. Not part of the database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.model.log_line import mask
from core.model.workload import parse
from core.store.log_chunks import WHOLE_BYTES, Chunk, Opened, Source, merge

LOCK_SECONDS = 1.0
PARTS = 64  # of one workload, that are merged
PRUNED = 200  # chunks that go at once
VACUUMED = 500  # pages that are given back at once
_WHOSE = "tenant, job, workload, deployment, worker"
_COLUMNS = ", ".join((*Source._fields, *Chunk._fields[1:]))
"""Of a chunk: its source, and what is known of it."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunks (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    job TEXT NOT NULL,
    workload TEXT NOT NULL,
    deployment TEXT NOT NULL,
    worker TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    first_at_ns INTEGER NOT NULL,
    last_at_ns INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    levels INTEGER NOT NULL,
    raw INTEGER NOT NULL,
    size INTEGER NOT NULL,
    merged INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS chunks_by_job ON chunks (tenant, job, last_seq, size);
CREATE INDEX IF NOT EXISTS chunks_by_seq ON chunks (last_seq);
CREATE INDEX IF NOT EXISTS chunks_to_merge ON chunks (workload, first_seq) WHERE merged = 0;
CREATE TABLE IF NOT EXISTS gone (
    tenant TEXT NOT NULL,
    job TEXT NOT NULL,
    workload TEXT NOT NULL,
    deployment TEXT NOT NULL,
    worker TEXT NOT NULL,
    last_seq INTEGER NOT NULL,
    PRIMARY KEY (tenant, job, workload, deployment, worker)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS life (ended INTEGER NOT NULL);
"""


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """A connection to the file; the one that writes makes what is missing. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=LOCK_SECONDS)
    try:
        if write:
            connection.execute("PRAGMA page_size = 8192")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file; before its first table
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "trusted_schema = OFF", "cache_size = -8192"):
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


def add(db: sqlite3.Connection, chunks: Sequence[Chunk], *, merged: bool = False) -> None:
    rows = []
    for chunk in chunks:
        id = parse(chunk.source.workload)
        whole = merged or chunk.raw >= WHOLE_BYTES
        rows.append((id.tenant, id.job, *chunk.source, *chunk[1:], len(chunk.body), whole))
    marks = ", ".join("?" * 15)
    db.executemany(f"INSERT INTO chunks (tenant, job, {_COLUMNS}, size, merged) VALUES ({marks})", rows)


def last_seq(db: sqlite3.Connection) -> int:
    found: int = db.execute("SELECT coalesce(max(last_seq), 0) FROM chunks").fetchone()[0]
    return found


def begin(db: sqlite3.Connection) -> bool:
    """An engine begins to write; whether the one before had said that it ends (or there was none)."""
    row = db.execute("SELECT ended FROM life").fetchone()
    db.execute("DELETE FROM life")
    db.execute("INSERT INTO life VALUES (0)")
    return row is None or bool(row[0])


def end(db: sqlite3.Connection) -> None:
    db.execute("UPDATE life SET ended = 1")


def writing_at(db: sqlite3.Connection, seq: int) -> list[tuple[Source, int]]:
    """Who wrote lines after one, and the time of the last line of each."""
    rows = db.execute(
        "SELECT workload, deployment, worker, max(last_at_ns) FROM chunks WHERE last_seq >= ? GROUP BY workload",
        (seq,),
    )
    return [(Source(workload, deployment, worker), last_ns) for workload, deployment, worker, last_ns in rows]


def to_merge(db: sqlite3.Connection) -> str | None:
    """A workload with many small chunks."""
    row = db.execute(
        "SELECT workload FROM chunks WHERE merged = 0 GROUP BY workload HAVING count(*) >= ? LIMIT 1", (PARTS,)
    ).fetchone()
    return None if row is None else row[0]


def merge_parts(db: sqlite3.Connection, workload: str) -> None:
    """Put small chunks of a workload together. Raises ValueError when one cannot be read."""
    parts = "FROM chunks WHERE workload = ? AND merged = 0 ORDER BY first_seq LIMIT ?"
    ids = db.execute(f"SELECT id {parts}", (workload, PARTS)).fetchall()
    rows = db.execute(f"SELECT {_COLUMNS} {parts}", (workload, PARTS)).fetchall()
    add(db, merge([_chunk(row) for row in rows]), merged=True)
    db.executemany("DELETE FROM chunks WHERE id = ?", ids)


def leave(db: sqlite3.Connection, workload: str) -> None:
    """Merge these chunks no more."""
    db.execute("UPDATE chunks SET merged = 1 WHERE workload = ? AND merged = 0", (workload,))


def _chunk(row: Sequence[Any]) -> Chunk:
    workload, deployment, worker, *known = row
    return Chunk(Source(workload, deployment, worker), *known)


def size(db: sqlite3.Connection) -> int:
    """How many bytes of the file are in use."""
    pages, free, page = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page)


def prune_old(db: sqlite3.Connection, before_ns: int) -> int:
    """Let chunks go whose last line is older; how many went."""
    return _delete(db, "SELECT id FROM chunks WHERE last_seq < ? ORDER BY last_seq LIMIT ?", (before_ns, PRUNED))


def forget_gone(db: sqlite3.Connection, before_ns: int) -> None:
    """Remember no more that lines have gone which were older."""
    db.execute("DELETE FROM gone WHERE last_seq < ?", (before_ns,))


def prune_oldest(db: sqlite3.Connection) -> int:
    """Let some of the oldest chunks go, whose ever they are."""
    return _delete(db, "SELECT id FROM chunks ORDER BY last_seq LIMIT ?", (PRUNED // 10,))


def prune_jobs(db: sqlite3.Connection, most: int) -> int:
    """Let the oldest chunks of those jobs go that take more bytes."""
    over = db.execute(
        "SELECT tenant, job, sum(size) FROM chunks GROUP BY tenant, job HAVING sum(size) > ?", (most,)
    ).fetchall()
    gone = 0
    for tenant, job, taken in over:
        rows = db.execute(
            "SELECT id, size FROM chunks WHERE tenant = ? AND job = ? ORDER BY last_seq LIMIT ?", (tenant, job, PRUNED)
        ).fetchall()
        going = []
        for id, part in rows:
            if taken <= most:
                break
            going.append(id)
            taken -= part
        gone += _delete(db, "SELECT value FROM json_each(?)", (json.dumps(going),))
    return gone


def _delete(db: sqlite3.Connection, chosen: str, arguments: tuple[int | str, ...]) -> int:
    """Let chunks go, and note up to where, so that who follows a log is told."""
    gone = db.execute(
        f"DELETE FROM chunks WHERE id IN ({chosen}) RETURNING tenant, job, workload, deployment, worker, last_seq",
        arguments,
    ).fetchall()
    db.executemany(
        f"INSERT INTO gone ({_WHOSE}, last_seq) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET last_seq = max(last_seq, excluded.last_seq)",
        gone,
    )
    return len(gone)


def has_gone(db: sqlite3.Connection, within: Range) -> bool:
    """Whether lines of these workloads after a place are kept no more."""
    where, values = within.of_whom()
    return (
        db.execute(f"SELECT 1 FROM gone WHERE {where} AND last_seq > ?", (*values, within.after)).fetchone() is not None
    )


def give_back(db: sqlite3.Connection) -> None:
    """Give pages that are free back to the disk; not within a transaction."""
    db.executescript(f"PRAGMA incremental_vacuum({VACUUMED})")  # execute() takes the first step of it alone


@dataclass(frozen=True, slots=True)
class Range:
    """Whose lines, and which of them; what is empty or 0 does not limit."""

    tenant: str
    job: str = ""
    of: str = ""
    """A deployment, a job, a workload (without its tenant) or a worker."""
    levels: int = 0
    """Bits."""
    since_ns: int = 0
    until_ns: int = 0
    after: int = 0
    """Only lines with a greater seq."""
    before: int = 0
    """Only lines with a smaller seq."""
    run: str = ""
    """Only lines of this run, as its worker calls it."""
    invocation: str = ""
    """Only lines of runs that this invocation has started."""

    def fitting(self, opened: Opened, numbers: Sequence[int]) -> Sequence[int]:
        """Which of some lines of these workloads, given by their places, are among them."""
        if self.run or self.invocation:
            wanted_numbers = opened.written_in(self.run, self.invocation)
            numbers = [number for number in numbers if number in wanted_numbers] if wanted_numbers else ()
        if self.levels:
            wanted = {place for place, name in enumerate(opened.head.names) if self.levels & mask(name)}
            levels = opened.head.levels
            numbers = [number for number in numbers if levels[number] in wanted]
        if self.since_ns:
            numbers = [number for number in numbers if opened.times[number] >= self.since_ns]
        if self.until_ns:
            numbers = [number for number in numbers if opened.times[number] < self.until_ns]
        if self.after:
            numbers = [number for number in numbers if opened.seqs[number] > self.after]
        if self.before:
            numbers = [number for number in numbers if opened.seqs[number] < self.before]
        return numbers

    def names(self, source: Source) -> bool:
        """Whether lines of a source can be among them."""
        id = parse(source.workload)
        names = ("", id.job, source.deployment, source.worker, id.name)
        return id.tenant == self.tenant and self.job in ("", id.job) and self.of in names

    def of_whom(self) -> tuple[str, list[object]]:
        """The condition for whose lines they are."""
        return _given(
            {
                "tenant = ?": self.tenant,
                "job = ?": self.job,
                "? IN (job, deployment, worker, substr(workload, length(tenant) + 2))": self.of,
            }
        )

    def conditions(self) -> tuple[str, list[object]]:
        """Of chunks that may have such lines."""
        whose, names = self.of_whom()
        which, values = _given(
            {
                "levels & ?": self.levels,
                "last_at_ns >= ?": self.since_ns,
                "first_at_ns < ?": self.until_ns,
                "last_seq > ?": self.after,
                "first_seq < ?": self.before,
            }
        )
        return f"{whose} AND {which}" if which else whose, names + values


def _given(conditions: dict[str, object]) -> tuple[str, list[object]]:
    given = {text: value for text, value in conditions.items() if value}
    return " AND ".join(given), list(given.values())


def chunks(db: sqlite3.Connection, within: Range, *, newest_first: bool) -> Iterator[Chunk]:
    """The chunks that may have lines of a range, by last seq from the newest, or by first seq from the oldest."""
    where, values = within.conditions()
    if newest_first:  # one by one from the index: who has enough asks for no more
        index = "chunks_by_job" if within.job else "chunks_by_seq"
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM chunks INDEXED BY {index} WHERE {where} ORDER BY last_seq DESC", values
        )
        yield from map(_chunk, rows)
        return
    ids = db.execute(f"SELECT id FROM chunks WHERE {where} ORDER BY first_seq", values).fetchall()
    for id in ids:
        yield _chunk(db.execute(f"SELECT {_COLUMNS} FROM chunks WHERE id = ?", id).fetchone())
