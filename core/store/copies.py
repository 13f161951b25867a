"""Copies of open databases, by SQLite's backup API: what a kill of the engine at that moment would have left.

The main database is copied through the connection that writes it. A commit during the copy changes the copy as well
(https://sqlite.org/c3ref/backup_finish.html), so that the copy is the database as it is at its end, nothing is copied
twice, and the log does not grow meanwhile as under a reader that holds a snapshot for as long as the copy takes
(docs/decisions/0033). It goes in steps, of which each holds up commits for about a millisecond.

The other files of the store are read by connections of their own, which hold a snapshot; `pinned` begins them all in
the step that ends the copy of the main one, while nobody can commit there.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from core import errors
from core.store import connection

STEP_PAGES = 32  # of 8 KiB
REST = 4.0  # after each step: so many times as long as it took, for those who commit
LEAST_REST_SECONDS = 0.001
SYNC_BYTES = 8 * 1024 * 1024  # written between two syncs: one at the end would hold up every commit for seconds


class Stopped(errors.Busy):
    """The engine is shutting down; the copy was not made."""


def live(
    writer: sqlite3.Connection,
    turn: threading.Lock,
    into: Path,
    at_end: Callable[[], None],
    stopped: Callable[[], bool],
) -> None:
    """Copy the database of the connection that writes it. `turn`: whoever has it works with that connection.

    `at_end()` is called at the moment that the copy shows, while nothing can be committed. Blocks; for a thread of its
    own. Raises Stopped, StorageUnavailable.
    """

    course = _Course()

    def rest(status: int, remaining: int, total: int) -> None:
        if status == sqlite3.SQLITE_DONE:
            at_end()
            return
        if (seconds := course.stepped(remaining)) is None:
            return
        turn.release()
        try:
            written.grew()
            time.sleep(seconds)
        finally:
            turn.acquire()
        if stopped():
            raise Stopped()
        course.goes_on()

    with _new(into) as target:
        written = _Written(into)
        with closing(written), turn:
            writer.backup(target, pages=STEP_PAGES, progress=rest, sleep=0.005)


class _Course:
    """How long the copy goes on without a rest.

    A write that is rolled back makes SQLite begin the copy anew, for in its log it cannot be taken back from the copy.
    Where that happens again and again, the copy takes more steps in one go each time, and so comes to its end between
    two of them at the latest when it does all of it in one.
    """

    def __init__(self) -> None:
        self._restarts = 0
        self._steps = 0
        self._remaining = -1
        self.goes_on()

    def goes_on(self) -> None:
        self._began = time.perf_counter()

    def stepped(self, remaining: int) -> float | None:
        """For how many seconds others come first now; None: take another step at once."""
        if 0 < self._remaining <= remaining:  # also when it begins anew at each step, and never comes any further
            self._restarts, self._steps = self._restarts + 1, 0
        self._remaining = remaining
        self._steps += 1
        if self._steps % (1 << self._restarts):
            return None
        took = time.perf_counter() - self._began
        return max(LEAST_REST_SECONDS, REST * took) if not self._restarts else LEAST_REST_SECONDS


@contextmanager
def pinned(paths: Iterable[Path]) -> Iterator[Callable[[], list[tuple[Path, sqlite3.Connection]]]]:
    """Gives a function that begins a snapshot of each database that is there; all of them end with the block.

    The connections are opened before, so that the function itself takes no longer than a look at each log.
    """
    with ExitStack() as opened:
        found: list[tuple[Path, sqlite3.Connection]] = []
        for path in paths:
            if path.exists():
                source = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
                opened.enter_context(closing(source))
                source.execute("PRAGMA query_only = ON")
                source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                found.append((path, source))

        def begin() -> list[tuple[Path, sqlite3.Connection]]:
            for _, source in found:
                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # here the snapshot begins
            return found

        yield begin


def of_snapshot(source: sqlite3.Connection, into: Path, stopped: Callable[[], bool]) -> None:
    """Copy what a connection with a snapshot sees. Raises Stopped, StorageUnavailable."""

    def rest(status: int, remaining: int, total: int) -> None:
        written.grew()
        time.sleep(LEAST_REST_SECONDS)
        if stopped():
            raise Stopped()

    with _new(into) as target:
        written = _Written(into)
        with closing(written):
            source.backup(target, pages=4 * STEP_PAGES, progress=rest, sleep=0.005)


@contextmanager
def _new(into: Path) -> Iterator[sqlite3.Connection]:
    """A new file (0600) to copy into: it is of no use before it is whole, so SQLite need not guard it meanwhile."""
    try:
        os.close(os.open(into, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(into, isolation_level=None, check_same_thread=False)) as target:
            for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -4096"):
                target.execute(f"PRAGMA {pragma}")
            yield target
    except (sqlite3.Error, OSError) as error:
        into.unlink(missing_ok=True)
        told = connection.translate(error)
        raise errors.StorageUnavailable(f"The copy {into} cannot be made: {told}.", hint="Make room there.") from error
    except BaseException:
        into.unlink(missing_ok=True)
        raise


class _Written:
    """What has been written of a file, brought to the disk piece by piece."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._synced = 0

    def grew(self) -> None:
        """Sync what was written when it has become much."""
        size = os.fstat(self._handle).st_size
        if size - self._synced >= SYNC_BYTES:
            os.fdatasync(self._handle)
            self._synced = size

    def close(self) -> None:
        os.fdatasync(self._handle)
        os.close(self._handle)
