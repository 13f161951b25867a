"""What credentials are bound to: the key that made them, and the answers that were given to them."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import admission  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0019_credentials(db: Database) -> None:
    db.execute("ALTER TABLE tokens ADD COLUMN made_by TEXT NOT NULL DEFAULT ''")  # the id of the API key that made it
    db.execute("CREATE INDEX tokens_made_by ON tokens (made_by)")
    db.execute("CREATE INDEX tokens_username ON tokens (username)")
    # Kept for a day, and whose credential they were given to is not known: nobody may have them any more.
    db.execute("DROP TABLE replays")
    db.execute(
        "CREATE TABLE replays (tenant TEXT NOT NULL, username TEXT NOT NULL, credential TEXT NOT NULL,"
        " operation TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, life INTEGER NOT NULL,"
        " started_at_ns INTEGER NOT NULL, answer BLOB,"
        " PRIMARY KEY (tenant, username, credential, operation, key)) STRICT, WITHOUT ROWID"
    )
    db.execute("CREATE INDEX replays_age ON replays (started_at_ns)")
