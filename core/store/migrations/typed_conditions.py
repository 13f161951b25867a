"""What is so of each thing by type, beside its condition (core.model.typed_condition)."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import conditions  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0030_typed_conditions(db: Database) -> None:
    """Nothing is known of what was there before; the next look decides."""
    db.execute("ALTER TABLE conditions ADD COLUMN typed TEXT NOT NULL DEFAULT ''")
