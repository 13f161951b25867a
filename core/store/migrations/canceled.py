"""Runs that were canceled are found as quickly as those that failed."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import typed_conditions  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0031_canceled(db: Database) -> None:
    db.execute("DROP INDEX invocations_bad")
    db.execute(
        "CREATE INDEX invocations_bad ON invocations (tenant, id) WHERE state IN ('failed', 'timed_out', 'canceled')"
    )
