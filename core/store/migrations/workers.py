"""Workers of other machines."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import doors  # noqa: F401 - its steps come before these
from core.store.migrations.steps import STEPS, table


@STEPS()
def m0015_external_workers(db: Database) -> None:
    table(db, "external_workers", {"name": str, "group_name": str, "slots": int, "joined_at_ns": int}, "name")
