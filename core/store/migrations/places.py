"""Where the home was used last (core.whereabouts)."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import deaths  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0023_home(db: Database) -> None:
    db.execute(
        "CREATE TABLE home (id TEXT NOT NULL, machine TEXT NOT NULL, path TEXT NOT NULL, file TEXT NOT NULL) STRICT"
    )
