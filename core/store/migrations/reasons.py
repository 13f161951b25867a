"""Why something was done, in the words of who did it; and to which revision a deployment went back."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import deactivations  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0027_reasons(db: Database) -> None:
    """What was done before has no reason on record, and is no way back."""
    db.execute("ALTER TABLE audit ADD COLUMN reason TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE deployment_history ADD COLUMN to_revision INTEGER")
