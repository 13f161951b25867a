"""The database: one writer with group commit, a few short-lived reads beside it.

Durability: WAL with `synchronous=FULL`, so a commit that was told to a caller survives a power cut. Speed: all
writes that the event loop submits during one tick, and all that arrived while the last commit was syncing, share one
`BEGIN IMMEDIATE ... COMMIT`. Short ones are committed on the loop as long as the disk is quick, all others in a thread
(core.store.pace). A write is a plain function `fn(db, *args)`: no await, no network, no user code inside.
Nobody is told of a write before its commit, nor after it when the files are no longer those that their names lead to
(core.store.replaced_files): such a database is closed to all writes until an engine opens it anew.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import sqlite_utils
import structlog

from core import clock, errors
from core.model.measure import Histogram
from core.store import connection, copies, migrations, stray_opens, upgrades
from core.store.pace import Pace
from core.store.replaced_files import Files, Loss, refuse_beside_a_rescue

log = structlog.get_logger("core.store")

T = TypeVar("T")
Done = Callable[[Any, BaseException | None], None]
_Write = tuple[Callable[..., Any], tuple[Any, ...], Done]
_Outcome = list[tuple[Done, Any, BaseException | None]]

READERS = 2
READ_DEADLINE_SECONDS = 5.0  # a read snapshot that lives longer keeps the -wal from being reset
MAX_BATCH = 2048
LOOK_SECONDS = 1.0  # how often the names of the files are looked at when nothing is written
WRITE_LOCK_SECONDS = 1.0  # and for each commit in the thread, of which a caller may have to wait for two


class Database:
    """An open database. Made by `open_database`; use from one event loop.

    `loss`: what has become of its files, when they are no longer in their place; nothing is written then.
    `unwritable`: why the last write came to nothing, as on a full disk, in sentences; empty when it can be written.
    """

    def __init__(
        self, path: Path, writer: sqlite_utils.Database, readers: list[sqlite_utils.Database], files: Files
    ) -> None:
        self.path = path
        self.loss: Loss | None = None
        self.unwritable = ""
        self._files = files
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        self._pending: list[_Write] = []
        self._short = True  # all that is pending
        self._pace = Pace()
        self._handed = 0  # batches that the thread has and has not told of: none may be overtaken
        self._turn = threading.Lock()  # whoever has it works with the connection
        self._queue: queue.SimpleQueue[list[_Write] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_loop, name="sluice-writer", daemon=True)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sluice-reader")
        self._reader_connections = readers
        self._unused = list(readers)
        self._local = threading.local()
        self._closed = False
        self._copies: set[asyncio.Future[None]] = set()  # that are being made
        self.commits = 0
        self.commit_seconds = Histogram()
        self.failures = 0
        """Commits that came to nothing because of the disk."""
        self.collectors: list[Callable[[], None]] = []
        """What collects writes for the end of a tick, called before each commit to hand them over."""
        self._thread.start()

    # -- writes --------------------------------------------------------------------------------------------

    def submit(self, done: Done, fn: Callable[..., Any], *args: Any) -> None:
        """Queue a short write for the end of this tick; `done(result, error)` runs on the loop after its commit.

        Short: a few rows, or as many as one tick has brought; it may be done on the loop. The error is
        StorageUnavailable when the disk cannot be written (nothing of this write was recorded), or whatever `fn` raised
        (its own changes were rolled back, its neighbours' were not).
        """
        self._add((fn, args, done), short=True)

    async def write(self, fn: Callable[..., T], *args: Any) -> T:
        """Run `fn(db, *args)` in a transaction, however long it takes, and return its result after the commit."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._add((fn, args, done), short=False)
        return await future

    async def touch(self) -> None:
        """Write without changing anything: whoever waits for it sees whether writes come to their end."""
        await self.write(_touch)

    def _add(self, write: _Write, *, short: bool) -> None:
        if self._closed:
            write[2](None, errors.StorageUnavailable("The engine is shutting down."))
            return
        if not self._pending:
            self._loop.call_soon(self._feed)
        self._short = self._short and short
        self._pending.append(write)

    def _feed(self) -> None:
        for collect in self.collectors:
            collect()
        batch, self._pending = self._pending, []
        short, self._short = self._short, True
        if short and not self._handed and self._pace.quick and self._turn.acquire(blocking=False):
            try:
                outcome = self._commit_here(batch)
            finally:
                self._turn.release()
            if outcome is not None:
                _tell(outcome)
                return
        self._handed += 1
        self._queue.put(batch)

    def _thread_committed(self, batches: int, outcome: _Outcome) -> None:
        """The thread has committed."""
        self._handed -= batches
        _tell(outcome)

    def _write_loop(self) -> None:
        while True:
            try:
                batch = self._queue.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                with self._turn:
                    self._check_files()
                    if self.unwritable:  # nobody may be writing who would see that there is room again
                        self._transact([(_touch, (), _heard)])
                continue
            if batch is None:
                break
            stop, batches = False, 1
            while len(batch) < MAX_BATCH:  # everything that waited while the last commit synced goes with this one
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    stop = True
                    break
                batch += more
                batches += 1
            with self._turn:
                outcome = self._transact(batch)
            try:
                self._loop.call_soon_threadsafe(self._thread_committed, batches, outcome)
            except RuntimeError:  # the loop is closed: nobody is left who could be told
                return
            if stop:
                break

    def _commit_here(self, batch: list[_Write]) -> _Outcome | None:
        """Commit on the loop, without waiting for a lock; None when nothing was done: the thread finds out why."""
        started = time.perf_counter()
        try:
            if self.loss is not None:
                return None
            results, synced = self._attempt(batch, 0.0)
        except errors.CommitUnconfirmed as error:  # a second try that fails could not say any more that it is not there
            self._pace.failed()
            return [(done, None, error) for _, _, done in batch]
        except Exception:  # a boundary: all of it is rolled back, and answered when the thread has tried it
            self._pace.failed()
            return None
        return self._committed(batch, results, started, synced)

    def _transact(self, batch: list[_Write]) -> _Outcome:
        started = time.perf_counter()
        try:
            if self.loss is not None:
                raise self.loss.refusal()
            results, synced = self._attempt(batch, WRITE_LOCK_SECONDS)
        except Exception as error:  # a boundary: whatever it was, every caller gets an answer
            self._check_files()
            self._note(error)
            if self.loss is not None:
                return [(done, None, self.loss.refusal()) for _, _, done in batch]
            if len(batch) == 1 or connection.is_busy(error) or isinstance(error, errors.CommitUnconfirmed):
                # A lock that someone else holds has nothing to do with what is written: waiting for it once is enough.
                # Of what may be there, a second try that fails could not say any more that it is not.
                return [(done, None, connection.translate(error)) for _, _, done in batch]
            # One bad write must not fail its neighbours: redo them one by one.
            return [outcome for write in batch for outcome in self._transact([write])]
        return self._committed(batch, results, started, synced)

    def _committed(self, batch: list[_Write], results: list[Any], started: float, synced: float) -> _Outcome:
        took = time.perf_counter() - started
        self._pace.took(took, synced)
        self.commit_seconds.observe(took)
        self.commits += 1
        self.unwritable = ""
        if self._files.missing():  # since the look before the commit, which may have gone into a file without a name
            self._check_files()
            if self.loss is not None and not self.loss.safe:
                return [(done, None, self.loss.open_outcome()) for _, _, done in batch]
        return [(write[2], result, None) for write, result in zip(batch, results, strict=True)]

    def _note(self, error: Exception) -> None:
        """Keep in mind that the disk, and not what was written, is at fault."""
        told = connection.translate(error)
        if connection.is_unavailable(error) and isinstance(told, errors.StorageUnavailable):
            self.failures += 1
            if not self.unwritable:
                log.error("store_cannot_write", error=told.message, hint=told.hint)
            self.unwritable = f"{told.message} {told.hint}"

    def _check_files(self) -> None:
        """See whether the files are in their place, and end all writing when they are not."""
        if self.loss is None and (what := self._files.missing()):
            try:
                self.loss = self._files.save(self._writer.conn)
            except Exception as error:  # a boundary: whatever it was, nothing may be written, and callers are answered
                self.loss = Loss(what, replaced=True, safe=False, where=f"Nothing could be saved ({error}).")
            if self.loss is not None:
                log.critical("store_lost", what=self.loss.what, where=self.loss.where, hint="Restart the engine.")

    def _attempt(self, batch: list[_Write], patience: float) -> tuple[list[Any], float]:
        """The results of a batch that is committed, and how many seconds its commit took."""
        writer = self._writer.conn
        connection.begin(writer, patience)
        try:
            results = [fn(self._writer, *args) for fn, args, _ in batch]
            if what := self._files.missing():
                raise errors.StorageUnavailable(f"{what} while the engine runs.")
            started = time.perf_counter()
            connection.commit(writer)
        except BaseException:
            if writer.in_transaction:  # a full disk has rolled back already
                writer.execute("ROLLBACK")
            raise
        return results, time.perf_counter() - started

    # -- reads ---------------------------------------------------------------------------------------------

    async def read(self, fn: Callable[..., T], *args: Any) -> T:
        """Run `fn(db, *args)` on a reader connection (query only, at most 5 seconds).

        Raises StorageUnavailable when the file cannot be read, or another one is in its place, Busy when the read took
        too long.
        """
        if self._closed:
            raise errors.StorageUnavailable("The engine is shutting down.")
        if self.loss is not None and self.loss.replaced:
            raise self.loss.refusal()
        return await self._loop.run_in_executor(self._readers, self._read, fn, args)

    def _read(self, fn: Callable[..., T], args: tuple[Any, ...]) -> T:
        db: sqlite_utils.Database | None = getattr(self._local, "db", None)
        try:
            if db is None:
                db = self._local.db = self._unused.pop()
            deadline = clock.monotonic() + READ_DEADLINE_SECONDS
            db.conn.set_progress_handler(lambda: int(clock.monotonic() > deadline), 100_000)
            return fn(db, *args)
        except sqlite3.Error as error:
            raise connection.translate(error) from error

    # -- life ----------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self._closed

    async def copy(self, into: Path, at_end: Callable[[], None]) -> None:
        """Copy the database into a new file while it is read and written; see core.store.copies.live.

        Raises StorageUnavailable, Stopped (the engine is shutting down).
        """
        if self._closed:
            raise copies.Stopped()
        if self.loss is not None:
            raise self.loss.refusal()
        given_up = threading.Event()
        args = (self._writer.conn, self._turn, into, at_end)

        def stopped() -> bool:
            return self._closed or self.loss is not None or given_up.is_set()

        copying = self._loop.run_in_executor(None, copies.live, *args, stopped)
        self._copies.add(copying)
        copying.add_done_callback(self._copies.discard)
        try:
            await asyncio.wait([copying])
        except asyncio.CancelledError:  # who wanted it is gone: it ends after its present step
            given_up.set()
            await asyncio.gather(copying, return_exceptions=True)
            raise
        copying.result()

    async def close(self) -> None:
        """Commit what is queued, stop the threads, close every connection. Safe to call twice."""
        if self._closed:
            return
        self._feed()
        self._closed = True
        await asyncio.gather(*self._copies, return_exceptions=True)  # each ends after its present step
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        await self._loop.run_in_executor(None, self._readers.shutdown)
        for db in self._reader_connections:
            db.conn.close()
        if self._files.log_is_foreign():
            # The last connection to close deletes the log by its name, which leads to somebody else's now. It stays
            # open to the end of the process: ctypes takes a reference to it that is never given back.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._writer.conn))
        else:
            self._writer.conn.close()
        stray_opens.release(self.path)


def _touch(db: sqlite_utils.Database) -> None:
    """Write without changing anything."""
    db.conn.execute(f"PRAGMA user_version = {db.conn.execute('PRAGMA user_version').fetchone()[0]}")


def _heard(result: Any, error: BaseException | None) -> None:
    """Nobody waits for this write."""


def _tell(outcome: _Outcome) -> None:
    """Tell every caller of a commit; one whose callback fails must not keep the others from hearing."""
    for done, result, error in outcome:
        try:
            done(result, error)
        except Exception as fault:  # a boundary between callers: reported, and the next one is told
            asyncio.get_running_loop().call_exception_handler(
                {"message": "the callback of a write failed", "exception": fault}
            )


def open_database(path: Path, beside: Iterable[Path] = ()) -> Database:
    """Open (or make, 0600) the database and bring its schema up to date.

    `beside`: files of the home without which nothing may be written either. Only the holder of the home directory's
    lock may call this. Raises StorageUnavailable when the file cannot be used, was made by a newer Sluice or deleted
    under an engine, and when SQLite is too old.
    """
    connection.check_sqlite()
    refuse_beside_a_rescue(path)
    opened: list[sqlite3.Connection] = []

    def connect() -> sqlite_utils.Database:
        opened.append(connection.connect(path))
        return sqlite_utils.Database(opened[-1])

    try:
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        stray_opens.protect(path)
        writer = connect()
        first = migrations.first_missing(writer)
        copy = upgrades.copy_before(writer.conn, path, first) if first else None
        migrations.migrate(writer)
        if copy is not None:
            upgrades.drop_older(path, copy)
        writer.conn.execute("PRAGMA busy_timeout = 0")  # core.store.connection.begin waits, where it may
        readers = [connect() for _ in range(READERS)]  # all at once: later the name might lead to another file
        for reader in readers:
            reader.conn.execute("PRAGMA query_only = ON")
            reader.conn.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opens the log
        files = Files(path, beside)
    except BaseException as error:
        for one in opened:
            one.close()
        stray_opens.release(path)
        if isinstance(error, sqlite3.Error | OSError):
            raise errors.StorageUnavailable(
                f"The database {path} cannot be opened: {error}.",
                hint="Check the disk and the permissions of its folder.",
            ) from error
        raise
    return Database(path, writer, readers, files)
