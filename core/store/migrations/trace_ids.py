"""Invocations say which trace of their caller they belong to."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import job_runs  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0034_trace_ids(db: Database) -> None:
    db.execute("ALTER TABLE invocations ADD COLUMN trace_id TEXT")
