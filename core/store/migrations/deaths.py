"""Ends of workers with the job that was at work (core.fleet.quarantine)."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import home  # noqa: F401 - its steps come before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0022_worker_deaths(db: Database) -> None:
    db.execute(
        "CREATE TABLE worker_deaths (at_ns INTEGER NOT NULL, tenant TEXT NOT NULL, job TEXT NOT NULL,"
        " version TEXT NOT NULL, workload TEXT NOT NULL, worker TEXT NOT NULL, cause TEXT NOT NULL) STRICT"
    )
