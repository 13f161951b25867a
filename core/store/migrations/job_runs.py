"""Runs of jobs, and per minute what those did that messages started (core.store.job_runs)."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import schedules  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0033_job_runs(db: Database) -> None:
    db.execute(
        "CREATE TABLE runs (id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, job TEXT NOT NULL, deployment TEXT NOT NULL,"
        " version TEXT NOT NULL, workload TEXT NOT NULL, worker TEXT NOT NULL, name TEXT NOT NULL,"
        " trigger TEXT NOT NULL, cause TEXT NOT NULL, scheduled_ns INTEGER NOT NULL, started_ns INTEGER NOT NULL,"
        " state TEXT NOT NULL, ended_ns INTEGER NOT NULL, count INTEGER NOT NULL, last_started_ns INTEGER NOT NULL,"
        " events_in INTEGER NOT NULL, events_out INTEGER NOT NULL, refused INTEGER NOT NULL, reason TEXT NOT NULL,"
        " by TEXT NOT NULL, confirmed INTEGER, late TEXT NOT NULL) STRICT"
    )
    db.execute("CREATE INDEX runs_of_job ON runs (tenant, job, id)")
    db.execute("CREATE INDEX runs_of_tenant ON runs (tenant, id)")
    db.execute("CREATE INDEX runs_named ON runs (tenant, name) WHERE name != ''")
    db.execute("CREATE INDEX runs_under_way ON runs (id) WHERE ended_ns = 0")
    db.execute(
        "CREATE TABLE run_minutes (tenant TEXT NOT NULL, job TEXT NOT NULL, minute_ns INTEGER NOT NULL,"
        " runs INTEGER NOT NULL, failed INTEGER NOT NULL, events_in INTEGER NOT NULL, events_out INTEGER NOT NULL,"
        " refused INTEGER NOT NULL, PRIMARY KEY (tenant, job, minute_ns)) STRICT, WITHOUT ROWID"
    )
    db.execute("CREATE INDEX run_minutes_age ON run_minutes (minute_ns)")
