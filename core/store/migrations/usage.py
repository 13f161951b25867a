"""How much the invocations of each user take; core.store.usage counts on from here."""

from __future__ import annotations

from sqlite_utils import Database

from core.store import usage
from core.store.migrations import credentials  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0020_usage(db: Database) -> None:
    db.execute(
        "CREATE TABLE usage (tenant TEXT NOT NULL, username TEXT NOT NULL, records INTEGER NOT NULL,"
        " bytes INTEGER NOT NULL, PRIMARY KEY (tenant, username)) STRICT, WITHOUT ROWID"
    )
    # What is younger than this id is counted when an engine starts.
    db.execute("CREATE TABLE usage_counted (last_id INTEGER NOT NULL) STRICT")
    db.execute("INSERT INTO usage_counted SELECT coalesce(max(id), 0) FROM invocations")
    db.execute(f"INSERT INTO usage {usage.COUNT} GROUP BY tenant, username")
