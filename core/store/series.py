"""Series: what workloads did over time, in a file of its own (`series.db`) whose size is bounded by their number.

A row has what one workload did in one slot of a ring; when its ring comes round, the slot is written over. What is
written are differences, so that a workload that begins anew at zero, and a graph over weeks, need no thought; and how
many seconds they are of, so that a rate is right also where nobody looked for a while. A tenant has a series of its
own, the sum of its workloads, for to add up many of them takes long.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
MOST_WORKLOADS = 2000
KEPT_SECONDS = 7 * 86400  # of workloads that are gone
LOCK_SECONDS = 1.0


class Ring(NamedTuple):
    """Slots of the same length, the last ones of which are kept."""

    step: int
    """Seconds of a slot."""
    slots: int


RINGS = (Ring(10, 360), Ring(60, 1440), Ring(300, 2016), Ring(3600, 2160))
"""From an hour to ninety days."""


class Subject(NamedTuple):
    """Whose series it is; without a workload that of all of a tenant."""

    tenant: str
    workload: str = ""
    job: str = ""
    deployment: str = ""


class Amounts(NamedTuple):
    """What was done in some seconds."""

    events_in: int = 0
    events_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    errors: int = 0
    runs: int = 0
    runs_failed: int = 0


class Slot(NamedTuple):
    """What is known of one slot of a ring."""

    start: int
    """Seconds since the epoch."""
    covered: float
    """Of how many of its seconds it is."""
    lag_seconds: float
    """The largest that was seen."""
    amounts: Amounts

    def plus(self, later: Slot) -> Slot:
        """Both as one."""
        amounts = Amounts(*map(sum, zip(self.amounts, later.amounts, strict=True)))
        lag = max(self.lag_seconds, later.lag_seconds)
        return Slot(self.start, self.covered + later.covered, lag, amounts)


_SUMS = ("covered", *Amounts._fields)
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS subjects (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    workload TEXT NOT NULL,
    job TEXT NOT NULL,
    deployment TEXT NOT NULL,
    seen INTEGER NOT NULL,
    UNIQUE (tenant, workload)
);
CREATE TABLE IF NOT EXISTS slots (
    subject INTEGER NOT NULL,
    ring INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    start INTEGER NOT NULL,
    lag_seconds REAL NOT NULL,
    {", ".join(f"{name} REAL NOT NULL" if name == "covered" else f"{name} INTEGER NOT NULL" for name in _SUMS)},
    PRIMARY KEY (subject, ring, slot)
) WITHOUT ROWID;
"""
_ADD = f"""
INSERT INTO slots (subject, ring, slot, start, lag_seconds, {", ".join(_SUMS)})
VALUES (?, ?, ?, ?, ?{", ?" * len(_SUMS)})
ON CONFLICT DO UPDATE SET
    {", ".join(f"{name} = excluded.{name} + iif(start = excluded.start, {name}, 0)" for name in _SUMS)},
    lag_seconds = max(excluded.lag_seconds, iif(start = excluded.start, lag_seconds, 0)),
    start = excluded.start
"""


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the file, which is made when it is missing (0600). Raises sqlite3.Error or OSError."""
    if not path.exists():
        path.touch(0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=LOCK_SECONDS)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "trusted_schema = OFF", "cache_size = -8192"):
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def add(db: sqlite3.Connection, at: int, covered: float, done: Mapping[Subject, tuple[Amounts, float]]) -> None:
    """Note what was done in the `covered` seconds before `at`, and the lag of each, in every ring."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for subject, (amounts, lag) in done.items():
            (id,) = db.execute(
                "INSERT INTO subjects (tenant, workload, job, deployment, seen) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET job = excluded.job, deployment = excluded.deployment, seen = excluded.seen"
                " RETURNING id",
                (*subject, at),
            ).fetchone()
            db.executemany(_ADD, _rows(id, at, covered, amounts, lag))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _rows(id: int, at: int, covered: float, amounts: Amounts, lag: float) -> Iterator[tuple[object, ...]]:
    for number, ring in enumerate(RINGS):
        index = (at - 1) // ring.step  # what ends at a border belongs to the slot before it
        yield id, number, index % ring.slots, index * ring.step, lag, covered, *amounts


def forget(db: sqlite3.Connection, before: int, most: int = 100) -> int:
    """Remove the series of some that were last seen before a time; how many."""
    ids = db.execute("SELECT id FROM subjects WHERE seen < ? LIMIT ?", (before, most)).fetchall()
    db.execute("BEGIN IMMEDIATE")
    db.executemany("DELETE FROM slots WHERE subject = ?", ids)
    db.executemany("DELETE FROM subjects WHERE id = ?", ids)
    db.execute("COMMIT")
    return len(ids)


class Grid(NamedTuple):
    """How a stretch of time is laid out in points."""

    ring: int
    """The place of the ring that is read."""
    step: int
    """Seconds of a point: so many slots of the ring, one or more, are put together."""
    since: int
    """Where the first point begins."""


def grid_for(since: int, until: int, now: int, points: int) -> Grid:
    """Points, at most so many, that cover a stretch: of the finest ring that reaches back to it.

    They begin at multiples of their length, so that the same time is in the same point whenever somebody looks; the
    only point of a stretch is as long as that.
    """
    fitting = (number for number, ring in enumerate(RINGS) if now - since <= ring.step * ring.slots)
    number = next(fitting, len(RINGS) - 1)
    slot = RINGS[number].step
    since -= since % slot
    step = slot * max(1, -(-(until - since) // (slot * points)))
    while points > 1 and until - (since - since % step) > step * points:
        step += slot
    return Grid(number, step, since - since % step if points > 1 else since)


def read(db: sqlite3.Connection, subjects: Iterable[int], ring: int, since: int, until: int) -> list[Slot]:
    """What some subjects did together, slot by slot, those alone of which something is known."""
    marks = ", ".join(str(int(id)) for id in subjects) or "NULL"
    sums = ", ".join(f"sum({name})" for name in Amounts._fields)
    rows = db.execute(
        f"SELECT start, max(covered), max(lag_seconds), {sums} FROM slots"
        f" WHERE subject IN ({marks}) AND ring = ? AND start >= ? AND start < ? GROUP BY start ORDER BY start",
        (ring, since, until),
    )
    return [Slot(start, covered, lag, Amounts(*amounts)) for start, covered, lag, *amounts in rows]


def find(db: sqlite3.Connection, tenant: str, of: str) -> list[int]:
    """The subjects that a name means: a deployment's, a job's, a workload's (JOB#REPLICA); without one the tenant's."""
    if not of:
        rows = db.execute("SELECT id FROM subjects WHERE tenant = ? AND workload = ''", (tenant,))
    else:
        rows = db.execute(
            "SELECT id FROM subjects"
            " WHERE tenant = ? AND workload != '' AND (deployment = ? OR job = ? OR workload = ?)",
            (tenant, of, of, of),
        )
    return [id for (id,) in rows]


def of_name(db: sqlite3.Connection, tenant: str, of: str, ring: int, since: int, until: int) -> list[Slot] | None:
    """The slots of what a name means; None when nothing has it."""
    subjects = find(db, tenant, of)
    return read(db, subjects, ring, since, until) if subjects else None


class SeriesFile:
    """The file, opened at its first use; one piece of work at a time, in a thread. Whoever makes it closes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._closed = False
        self._lock = threading.Lock()

    async def do(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **more: P.kwargs) -> T:
        """Do `work(db, *args)`. Raises sqlite3.Error, or OSError, when the file cannot be used."""

        def locked() -> T:
            with self._lock:
                if self._closed:  # the work of a call that was given up
                    raise sqlite3.ProgrammingError("the file of series is closed")
                if self._db is None:
                    self._db = connect(self._path)
                return work(self._db, *args, **more)

        return await asyncio.to_thread(locked)

    def close(self) -> None:
        """Safe to call twice."""
        with self._lock:
            self._closed = True
            if self._db is not None:
                self._db.close()
                self._db = None
