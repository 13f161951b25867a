"""Look at a database without owning it: for a check-up beside a running engine, or before there is one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlite_utils

from core import clock, errors
from core.store import home
from core.store.migrations import STEPS
from core.whereabouts import Known

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


@dataclass(frozen=True, slots=True)
class Description:
    """What a copy of the database holds. `schema`: the last step; `unknown`: steps of a newer Sluice; `counts`: of what
    people ask after, and of what the next engine goes on with; `known`: whose database it is, None before an engine has
    written it."""

    schema: str
    unknown: tuple[str, ...]
    known: Known | None
    counts: dict[str, int]

    @property
    def home_id(self) -> str:
        return "" if self.known is None else self.known.id


_COUNTS = {
    "deployments": "deployments",
    "triggers": "triggers WHERE active = 1",
    "secrets": "secrets",
    "tokens": "tokens",
    "invocations": "invocations",
    "open_invocations": "invocations WHERE finished_at_ns IS NULL",
    "pending_callbacks": "callback_deliveries WHERE outcome = 'pending'",
}


def describe(path: Path) -> Description:
    """Read a copy that nobody has open; makes no file beside it. Raises StorageUnavailable when it is no database."""
    known = {step.name for step in STEPS._migrations}
    try:
        with closing(_of_copy(path)) as connection:
            applied = sorted(step.name for step in STEPS.applied(sqlite_utils.Database(connection)))
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            known_home = home.known(sqlite_utils.Database(connection)) if "home" in tables else None
            counts = {
                name: connection.execute(f"SELECT count(*) FROM {rows}").fetchone()[0]
                for name, rows in _COUNTS.items()
                if rows.split()[0] in tables
            }
    except sqlite3.Error as error:
        raise errors.StorageUnavailable(f"{path.name} cannot be read: {error}.") from None
    unknown = tuple(name for name in applied if name not in known)
    return Description(applied[-1] if applied else "", unknown, known_home, counts)


def fault_of(path: Path) -> str:
    """What the whole integrity check finds in a copy that nobody has open; empty when it finds nothing."""
    try:
        with closing(_of_copy(path)) as connection:
            connection.execute("PRAGMA cell_size_check = ON")
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            odd = connection.execute("SELECT name FROM sqlite_schema WHERE type IN ('trigger', 'view')").fetchone()
    except sqlite3.Error as error:
        return str(error)
    if odd is not None:  # code that would run with our rights; no step of ours makes any
        return f"it has a trigger or view that Sluice does not make ({errors.shorten(odd[0], 60)})"
    return "" if found == "ok" else str(found)


def _of_copy(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection
