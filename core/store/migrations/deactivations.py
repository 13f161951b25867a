"""A trigger remembers who deactivated it, and when."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import labels  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0026_deactivations(db: Database) -> None:
    """Of triggers that were deactivated before, the audit log says it, as far back as it goes."""
    db.execute("ALTER TABLE triggers ADD COLUMN deactivated_at_ns INTEGER")
    db.execute("ALTER TABLE triggers ADD COLUMN deactivated_by TEXT")
    db.execute(
        "UPDATE triggers SET deactivated_at_ns = (SELECT max(id) FROM audit WHERE operation = 'trigger_deactivate'"
        " AND decision = 'allowed' AND target = triggers.tenant || '/' || triggers.slug AND audit.id > triggers.id)"
        " WHERE active = 0"
    )
    db.execute(
        "UPDATE triggers SET deactivated_by = (SELECT username FROM audit WHERE audit.id = deactivated_at_ns)"
        " WHERE deactivated_at_ns IS NOT NULL"
    )
