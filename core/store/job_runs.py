"""Runs of jobs: one row for each, or for several in a row of which there is nothing to tell; and sums per minute of
those that messages started, of which only failures have rows.

The end of a run is a compare-and-set: what its worker says after another end is kept beside it (`late`).
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any, NamedTuple

from sqlite_utils import Database

from core import clock
from core.model.run import UNKNOWN, Run
from core.store import audit
from core.store.audit import AuditRow
from core.store.rows import fields_of, insertion

COLUMNS = fields_of(Run)
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM runs"
_INSERT = insertion("runs", Run)
_values = attrgetter(*COLUMNS)

KEPT = 200  # rows of one job
KEPT_FAILED = 50  # and so many beyond them that did not come to a good end
KEPT_DAYS = 30
KEPT_MINUTES_HOURS = 24
MOST_COUNTED = 10_000  # rows that a list counts for its total
_DAY_NS = 24 * 3600 * clock.NANOSECONDS


class Ended(NamedTuple):
    """The end of a run that is under way."""

    id: int
    state: str
    ended_ns: int
    events_in: int = UNKNOWN
    events_out: int = UNKNOWN
    refused: int = UNKNOWN
    reason: str = ""
    confirmed: int | None = None
    by: str = ""


class More(NamedTuple):
    """Further runs of a row that stands for several."""

    id: int
    runs: int
    last_started_ns: int
    ended_ns: int
    events_in: int
    events_out: int
    refused: int


class Minute(NamedTuple):
    """What the runs did that messages started in one minute, as far as it is not counted yet."""

    tenant: str
    job: str
    minute_ns: int
    runs: int
    failed: int
    events_in: int
    events_out: int
    refused: int

    def plus(self, more: Minute) -> Minute:
        """What both count."""
        return self._replace(**{name: getattr(self, name) + getattr(more, name) for name in COUNTED})


COUNTED = ("runs", "failed", "events_in", "events_out", "refused")
"""Of a Minute."""


class Gone(NamedTuple):
    """A row that is not worth keeping: its run came to an end of which nothing is told."""

    id: int


Change = Run | Ended | More | Minute | Gone


def record(db: Database, changes: Iterable[Change]) -> None:
    for change in changes:
        match change:
            case Run():
                db.conn.execute(_INSERT, _values(change))
            case Ended():
                end(db, change)
            case More():
                db.conn.execute(
                    "UPDATE runs SET count = count + :runs, last_started_ns = :last_started_ns, ended_ns = :ended_ns,"
                    " events_in = events_in + :events_in, events_out = events_out + :events_out,"
                    " refused = refused + :refused WHERE id = :id",
                    change._asdict(),
                )
            case Minute():
                db.conn.execute(
                    "INSERT INTO run_minutes VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " runs = runs + excluded.runs, failed = failed + excluded.failed,"
                    " events_in = events_in + excluded.events_in, events_out = events_out + excluded.events_out,"
                    " refused = refused + excluded.refused",
                    change,
                )
            case Gone():
                db.conn.execute("DELETE FROM runs WHERE id = ?", (change.id,))


def end(db: Database, wish: Ended) -> bool:
    """End a run, if it has not ended; true when this call did it. Otherwise what is said now is kept beside its end.

    The reason that somebody gave who canceled it stays, unless another one is told.
    """
    won = (
        db.conn.execute(
            "UPDATE runs SET state = :state, ended_ns = :ended_ns, events_in = :events_in, events_out = :events_out,"
            " refused = :refused, reason = CASE :reason WHEN '' THEN reason ELSE :reason END,"
            " by = CASE :by WHEN '' THEN by ELSE :by END, confirmed = :confirmed WHERE id = :id AND ended_ns = 0",
            wish._asdict(),
        ).rowcount
        == 1
    )
    if not won:
        said = f"{wish.state}: {wish.reason}" if wish.reason else wish.state
        db.conn.execute("UPDATE runs SET late = ? WHERE id = ?", (said, wish.id))
    return won


def request_cancel(db: Database, id: int, by: str, reason: str, note: AuditRow) -> bool:
    """Note that somebody wants the end of a run, and who; false, and nothing is noted, when it has ended."""
    asked = db.conn.execute("UPDATE runs SET by = ?, reason = ? WHERE id = ? AND ended_ns = 0", (by, reason, id))
    if asked.rowcount:
        audit.insert(db, note)
    return asked.rowcount == 1


def get(db: Database, tenant: str, id: int) -> Run | None:
    row = db.conn.execute(f"{_SELECT} WHERE id = ? AND tenant = ?", (id, tenant)).fetchone()
    return None if row is None else Run(*row)


def named(db: Database, tenant: str, name: str) -> Run | None:
    """The last run that its worker called so."""
    where = "WHERE tenant = ? AND name = ? AND name != '' ORDER BY id DESC LIMIT 1"
    row = db.conn.execute(f"{_SELECT} {where}", (tenant, name)).fetchone()
    return None if row is None else Run(*row)


def under_way(db: Database) -> list[Run]:
    """The runs that have no end."""
    return [Run(*row) for row in db.conn.execute(f"{_SELECT} WHERE ended_ns = 0")]


def search(
    db: Database,
    tenant: str,
    *,
    equal: dict[str, str],
    since_ns: int = 0,
    until_ns: int | None = None,
    before: int | None = None,
    limit: int,
) -> tuple[list[Run], int]:
    """Runs of a tenant, newest first, and how many there are whatever the page (counted up to MOST_COUNTED); `equal`
    are columns with their values, and the times bound when runs ended or, as long as they have not, began."""
    where, values = ["tenant = ?"], list[Any]([tenant])
    for column, value in equal.items():
        where.append(f"{column} = ?")
        values.append(value)
    at = "CASE ended_ns WHEN 0 THEN started_ns ELSE ended_ns END"
    for bound, time in ((f"{at} >= ?", since_ns or None), (f"{at} < ?", until_ns)):
        if time is not None:
            where.append(bound)
            values.append(time)
    source = f"WHERE {' AND '.join(where)}"
    counted = f"SELECT count(*) FROM (SELECT 1 FROM runs {source} LIMIT {MOST_COUNTED})"
    total = db.conn.execute(counted, values).fetchone()[0]
    if before is not None:
        source += " AND id < ?"
        values.append(before)
    rows = db.conn.execute(f"{_SELECT} {source} ORDER BY id DESC LIMIT ?", [*values, limit])
    return [Run(*row) for row in rows], int(total)


def last(db: Database, tenant: str, job: str, count: int) -> list[Run]:
    """The newest rows of a job, so many at the most."""
    where = "WHERE tenant = ? AND job = ? ORDER BY id DESC LIMIT ?"
    return [Run(*row) for row in db.conn.execute(f"{_SELECT} {where}", (tenant, job, count))]


def minutes(db: Database, tenant: str, job: str, since_ns: int) -> list[Minute]:
    """The sums of a job since a time, the oldest first."""
    rows = db.conn.execute(
        "SELECT tenant, job, minute_ns, runs, failed, events_in, events_out, refused FROM run_minutes"
        " WHERE tenant = ? AND job = ? AND minute_ns >= ? ORDER BY minute_ns",
        (tenant, job, since_ns),
    )
    return [Minute(*row) for row in rows]


def prune(db: Database, jobs: Iterable[tuple[str, str]], now_ns: int, at_most: int = 5_000) -> int:
    """Delete what is too old, and of these jobs the oldest rows that are too many; returns how many rows went.

    What is under way stays.
    """
    gone = db.conn.execute(
        "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE id < ? AND ended_ns > 0 ORDER BY id LIMIT ?)",
        (now_ns - KEPT_DAYS * _DAY_NS, at_most),
    ).rowcount
    gone += db.conn.execute(
        "DELETE FROM run_minutes WHERE (tenant, job, minute_ns) IN (SELECT tenant, job, minute_ns FROM run_minutes"
        " WHERE minute_ns < ? LIMIT ?)",
        (now_ns - KEPT_MINUTES_HOURS * 3600 * clock.NANOSECONDS, at_most),
    ).rowcount
    for tenant, job in jobs:
        of_job = "FROM runs WHERE tenant = ? AND job = ?"
        floor = db.conn.execute(f"SELECT id {of_job} ORDER BY id DESC LIMIT 1 OFFSET ?", (tenant, job, KEPT)).fetchone()
        if floor is None:
            continue
        bad = f"{of_job} AND id <= ? AND state IN ('failed', 'canceled', 'missed') ORDER BY id DESC LIMIT ?"
        gone += db.conn.execute(
            f"DELETE {of_job} AND id <= ? AND ended_ns > 0 AND id NOT IN (SELECT id {bad})",
            (tenant, job, floor[0], tenant, job, floor[0], KEPT_FAILED),
        ).rowcount
    return gone
