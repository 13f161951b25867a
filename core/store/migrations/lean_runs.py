"""What is said of a run is kept once: its record owes its message, and its two messages have no bodies of their own."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import places  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0024_lean_runs(db: Database) -> None:
    """Runs of before keep their messages as they are; what the open ones owe moves from the queue to their records."""
    db.execute("ALTER TABLE messages ADD COLUMN invocation_id INTEGER")
    for column in ("message_id", "response_id", "settled_at_ns"):
        db.execute(f"ALTER TABLE invocations ADD COLUMN {column} INTEGER")
    waiting = "finished_at_ns IS NULL AND deadline_ns IS NOT NULL"
    db.execute(
        "UPDATE invocations SET message_id ="
        " (SELECT message_id FROM dispatches WHERE invocation_id = invocations.id ORDER BY id LIMIT 1)"
        f" WHERE {waiting}"
    )
    db.execute(f"UPDATE invocations SET settled_at_ns = requested_at_ns WHERE {waiting} AND message_id IS NULL")
    db.execute(
        "DELETE FROM dispatches WHERE invocation_id IN (SELECT id FROM invocations WHERE deadline_ns IS NOT NULL)"
    )
