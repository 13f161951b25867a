"""Look at a database without owning it: for a check-up beside a running engine, or before there is one."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import sqlite_utils

from core import clock
from core.store.migrations import STEPS

CHECK_SECONDS = 3.0
_OPERATIONS = 100_000  # of SQLite's virtual machine between two looks at the clock


@dataclass(frozen=True, slots=True)
class Condition:
    """What was seen. `missing` steps are applied by the next engine; `unknown` ones are of a newer Sluice.

    `fault` is what the integrity check found, empty when it found nothing; `whole` tells whether it came to its end.
    """

    steps: int
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    fault: str
    whole: bool


def inspect(path: Path) -> Condition:
    """Read the schema steps and check the pages for at most CHECK_SECONDS; never writes.

    A reader of its own process disturbs no owner: SQLite's locks are between processes.
    """
    known = {step.name for step in STEPS._migrations}
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1.0)
    try:
        applied = {step.name for step in STEPS.applied(sqlite_utils.Database(connection))}
        missing, unknown = tuple(sorted(known - applied)), tuple(sorted(applied - known))
        fault, whole = _check(connection)
        return Condition(len(applied), missing, unknown, fault, whole)
    except sqlite3.Error as error:
        return Condition(0, (), (), str(error), False)
    finally:
        connection.close()


def _check(connection: sqlite3.Connection) -> tuple[str, bool]:
    deadline = clock.monotonic() + CHECK_SECONDS
    connection.set_progress_handler(lambda: clock.monotonic() > deadline, _OPERATIONS)
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return "", False
        raise
    finally:
        connection.set_progress_handler(None, 0)
    return ("" if found == "ok" else str(found), True)
