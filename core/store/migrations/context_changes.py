"""What was changed in contexts: each value before and after."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import reasons  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS, table


@STEPS()
def m0028_context_changes(db: Database) -> None:
    """Changes of before are not on record; only that there were some, in the audit log."""
    columns = {"id": int, "at_ns": int, "tenant": str, "level": str, "target": str, "key": str, "old": str, "new": str}
    table(db, "context_changes", {**columns, "username": str, "surface": str}, "id", nullable="old new")
    db.table("context_changes").create_index(["tenant", "id"])
