"""Tokens may end when nobody has used them for a while: those that browsers hold."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import trace_ids  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0035_idle_tokens(db: Database) -> None:
    db.execute("ALTER TABLE tokens ADD COLUMN idle_seconds INTEGER")
