"""What every step is made with."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

STEPS = Migrations("sluice")


def table(db: Database, name: str, columns: dict[str, type], pk: str | tuple[str, ...], nullable: str = "") -> None:
    """Make a strict table; columns hold something unless they are named in `nullable` (words)."""
    optional = set(nullable.split())
    keys = {pk} if isinstance(pk, str) else set(pk)
    db.table(name).create(columns, pk=pk, not_null=set(columns) - optional - keys, strict=True)
