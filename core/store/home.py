"""What the database knows of the home that it lies in, and what an engine on it would do."""

from __future__ import annotations

from typing import NamedTuple

from sqlite_utils import Database

from core.whereabouts import Known, Place


class Duties(NamedTuple):
    """What two engines on two copies would both do."""

    deployments: int
    jobs: int
    runs: int
    callbacks: int


def known(db: Database) -> Known | None:
    """The home's id and where it was used last; None before an engine has written it."""
    row = db.conn.execute("SELECT id, machine, path, file FROM home").fetchone()
    return None if row is None else Known(row[0], Place(*row[1:]))


def keep(db: Database, now: Known) -> None:
    db.conn.execute("DELETE FROM home")
    db.conn.execute("INSERT INTO home VALUES (?, ?, ?, ?)", (now.id, *now.place))


def duties(db: Database) -> Duties:
    """Deployments, jobs that run besides them, runs that have not ended, and callbacks that are owed."""
    counts = (
        "(SELECT count(*) FROM deployments)",
        "(SELECT count(DISTINCT tenant || '/' || job) FROM workloads WHERE deployment = '')",
        "(SELECT count(*) FROM invocations WHERE finished_at_ns IS NULL)",
        "(SELECT count(*) FROM callback_deliveries WHERE outcome = 'pending')",
    )
    return Duties(*db.conn.execute(f"SELECT {', '.join(counts)}").fetchone())
