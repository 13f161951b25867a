"""A connection to SQLite: how it is set up, how a transaction on it begins and ends, and what its faults mean."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from core import errors

LEAST_SQLITE = (3, 40)  # what Debian 12 has; tests run on it, and on nothing older
OPEN_LOCK_MS = 5000  # how long to wait for a lock that a stray program holds: while opening,
LOCK_POLL_SECONDS = 0.005

_UNSYNCED = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
_UNAVAILABLE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
}


def is_busy(error: BaseException) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


def begin(connection: sqlite3.Connection, patience: float) -> None:
    """Begin to write, after waiting for the lock of the database for so many seconds. Raises sqlite3.Error."""
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
        time.sleep(LOCK_POLL_SECONDS)


def commit(connection: sqlite3.Connection) -> None:
    """Commit. Raises CommitUnconfirmed when the disk cannot sync it.

    Then all of it is in the log already: it is rolled back and written over by the next commit, but after a crash
    before that one, SQLite would take it for committed (https://sqlite.org/wal.html). What could not be written, as on
    a full disk, lacks the mark of a commit.
    """
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) not in _UNSYNCED:
            raise
        raise errors.CommitUnconfirmed(
            f"The disk failed while this was synced ({error}); it may or may not have been recorded.",
            hint="Mend the disk; the engine goes on by itself. Look, or ask again with the same key.",
        ) from error


def is_unavailable(error: BaseException) -> bool:
    """Whether the disk, and not what was written, is at fault."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNAVAILABLE


def translate(error: BaseException) -> BaseException:
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        primary = code & 0xFF if code is not None else None
        if primary == sqlite3.SQLITE_INTERRUPT:
            return errors.Busy("This read took too long.", hint="Ask for fewer rows, or filter.")
        if primary == sqlite3.SQLITE_BUSY:
            return errors.StorageUnavailable(
                "Another program holds the lock of the database.",
                hint="End what has sluice.db open besides Sluice; the engine goes on by itself.",
            )
        if primary in _UNAVAILABLE:
            return errors.StorageUnavailable(
                f"The store cannot be used right now: {error}.",
                hint="Free disk space or mend the disk; the engine goes on by itself.",
            )
    return error


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=OPEN_LOCK_MS / 1000)
    try:
        for pragma in (
            "page_size = 8192",  # of a new file: the pages of a commit cost a fifth less than with 4096
            "journal_mode = WAL",
            "synchronous = FULL",
            "trusted_schema = OFF",
            "temp_store = MEMORY",
            "cache_size = -65536",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def check_sqlite(found: tuple[int, ...] = sqlite3.sqlite_version_info) -> str:
    """The version of SQLite.

    Raises StorageUnavailable for one that is older than the least that the statements of the store are tested on.
    """
    version = ".".join(map(str, found))
    if found < LEAST_SQLITE:
        raise errors.StorageUnavailable(
            f"This Python has SQLite {version}, and Sluice needs {'.'.join(map(str, LEAST_SQLITE))} or later.",
            hint="Use a Python that is built with a newer SQLite: that of Debian 12 or later, of python.org, or of uv.",
        )
    return version
