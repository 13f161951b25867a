"""The schema, as numbered forward-only steps; each runs with its own record in one transaction, and on a new database
all of them in one.

A step is never edited once it has landed. An older Sluice refuses a database that a newer one has migrated.
"""

from __future__ import annotations

from sqlite_utils import Database

from core import errors
from core.store.migrations import mcp_grants  # noqa: F401 - the last step; it brings those before it
from core.store.migrations.steps import STEPS

__all__ = ["STEPS", "migrate"]


def first_missing(db: Database) -> str:
    """The first step that a database with data lacks; empty for a new one, and for one that is up to date.

    Raises StorageUnavailable, without a write, when the database knows steps that this Sluice does not.
    """
    known = {step.name for step in STEPS._migrations}
    applied = {step.name for step in STEPS.applied(db)} if db.table(STEPS.migrations_table).exists() else set()
    unknown = sorted(applied - known)
    if unknown:
        raise errors.StorageUnavailable(
            f"This database was made by a newer Sluice (it has {', '.join(unknown)}).",
            hint="Upgrade sluice-mcp to that version or a later one; or go back to the copy that was kept before that"
            " upgrade (docs/upgrade.md); or use another home directory.",
        )
    return min(known - applied, default="") if applied else ""


def migrate(db: Database) -> None:
    """Apply the steps that are missing. Raises StorageUnavailable as `first_missing` does."""
    first_missing(db)
    new = not db.table(STEPS.migrations_table).exists()
    with (
        db.atomic()
    ):  # sqlite-utils commits these two one by one; after a power cut between, the index would be missing
        STEPS.ensure_migrations_table(db)
        db.table(STEPS.migrations_table).create_index(["migration_set", "name"], unique=True, if_not_exists=True)
        if new:
            STEPS.apply(db)
    STEPS.apply(db)
