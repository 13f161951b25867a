"""Audit entries say which session a call came from, by the label that its client gave it."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import lean_runs  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0025_labels(db: Database) -> None:
    db.execute("ALTER TABLE audit ADD COLUMN label TEXT NOT NULL DEFAULT ''")
