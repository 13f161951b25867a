"""Where the schedule of each job stands, and which runs somebody asked for (core.store.schedules)."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import canceled  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0032_schedules(db: Database) -> None:
    """Schedules that are there begin with the next start: nothing is known of what came due before."""
    db.execute(
        "CREATE TABLE schedules (tenant TEXT NOT NULL, job TEXT NOT NULL, timing TEXT NOT NULL,"
        " settled_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL, ok INTEGER NOT NULL,"
        " succeeded_ns INTEGER NOT NULL, failures INTEGER NOT NULL, missed INTEGER NOT NULL, skipped INTEGER NOT NULL,"
        " missed_at_ns INTEGER NOT NULL, missed_since INTEGER NOT NULL, paused_at_ns INTEGER NOT NULL,"
        " paused_by TEXT NOT NULL, pause_reason TEXT NOT NULL, paused_until_ns INTEGER NOT NULL,"
        " PRIMARY KEY (tenant, job)) STRICT, WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE schedule_orders (id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, job TEXT NOT NULL,"
        " cause TEXT NOT NULL, scheduled_ns INTEGER NOT NULL, asked_by TEXT NOT NULL) STRICT"
    )
