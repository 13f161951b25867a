"""A copy of the database as it was before it is migrated: the way back to the Sluice that wrote it.

It lies beside the database, is made by SQLite's backup API, and is whole before the first step is taken: without room
for it nothing is migrated.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import structlog

from core import errors, reserve
from core.store import copies

log = structlog.get_logger("core.store")

BEFORE = ".before-"  # between the name of the database and the first step that was missing
KEPT = 2
SPARE_BYTES = 64 * 1024 * 1024


def copy_before(connection: sqlite3.Connection, database: Path, missing: str) -> Path:
    """Copy the database beside itself before the step `missing` is taken; where it is.

    Raises StorageUnavailable, with nothing changed. A copy of a start that was cut off stays: the steps that it took
    are in no later copy of the same name.
    """
    copy = database.with_name(f"{database.name}{BEFORE}{missing}")
    if copy.exists():
        return copy
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    free = reserve.measure(database.parent, 0).free
    if free < pages * size + SPARE_BYTES:
        raise errors.StorageUnavailable(
            f"{database.name} is of an older Sluice, and is copied before it is brought up to date: that takes"
            f" {pages * size >> 20} MiB, and {free >> 20} are free.",
            hint="Make room on the disk of the home; until then the older Sluice runs on it as before.",
        )
    partial = copy.with_name(f"{copy.name}.partial")
    partial.unlink(missing_ok=True)
    copies.of_snapshot(connection, partial, lambda: False)
    partial.rename(copy)
    handle = os.open(database.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return copy


def drop_older(database: Path, copy: Path) -> None:
    """Keep the newest copies, now that the database is up to date; how it went is told."""
    found = sorted(database.parent.glob(f"{database.name}{BEFORE}*"), key=lambda path: path.stat().st_mtime_ns)
    dropped = [path for path in found if path != copy][: max(0, len(found) - KEPT)]
    for path in dropped:
        path.unlink()
    log.warning(
        "database_migrated",
        database=str(database),
        before=str(copy),
        dropped=[path.name for path in dropped],
        hint="docs/upgrade.md tells how to go back to it.",
    )
