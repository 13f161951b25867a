"""The license that was read last."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import usage  # noqa: F401 - its step comes before these
from core.store.migrations.steps import STEPS


@STEPS()
def m0021_license(db: Database) -> None:
    db.execute("CREATE TABLE license (document BLOB NOT NULL) STRICT")
