"""The dead letters on the disk: a file of its own beside the database, with its own writer and readers.

Who puts letters is told when they are on the disk (synchronous FULL), or that there was no room: an answer always
comes, so that a full box or a full disk holds up no job. What is put while a commit is under way is committed together.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import structlog

from core import clock, errors, reserve
from core.model.letter import EMPTY, Box, Letter, Status
from core.store import connection, letter_rows, stray_opens

log = structlog.get_logger("core.store")

UPKEEP_SECONDS = 60.0  # between two looks for what is too old
MOST_TOGETHER = 256  # changes of one commit
READERS = 1
_MIB = 1024 * 1024
_HOUR_NS = 3600 * clock.NANOSECONDS

T = TypeVar("T")
Owner = tuple[str, str]
"""(tenant, job)"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept, and for how long."""

    job_count: int
    job_mb: int
    tenant_mb: int
    hours: int
    reserve_mb: int
    """Of the disk, that are left free."""


class Put(NamedTuple):
    """What became of letters."""

    kept: int
    dropped: int
    full: bool
    """There is no room for more now."""


class _Change(NamedTuple):
    """Something to do in a transaction, and who waits for it."""

    work: Callable[[sqlite3.Connection], Any]
    touched: set[Owner]  # the jobs whose boxes it changes; more may come while it is done
    future: asyncio.Future[Any]


class Letterbox:
    """Use from one event loop. Before `open`, and after a failed one, every letter is counted and not kept."""

    def __init__(self, path: Path, bounds: Bounds) -> None:
        self.path = path
        self.bounds = bounds
        self.lost = 0
        """Letters that are in no box, because the file could not be written."""
        self.listeners: list[Callable[[str, str], None]] = []
        """Called with (tenant, job) when none of the letters of a job waits any more, and none was dropped."""
        self.room_listeners: list[Callable[[str], None]] = []
        """Called with a tenant when letters of it went, or were replayed: there may be room for others."""
        self._boxes: dict[Owner, Box] = {}
        self._ids = clock.Ids()
        self._queue: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._connections: list[sqlite3.Connection] = []
        self._next_upkeep = 0.0
        self._writes = True  # the last change could be written

    # -- life ----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the file or make it (0600). One that cannot be used is told in the log of the engine; jobs run on."""
        self._loop = asyncio.get_running_loop()
        try:
            if not self.path.exists():
                self.path.touch(0o600)
            stray_opens.protect(self.path)
            for write in (True, False):
                self._connections.append(letter_rows.connect(self.path, write=write))
            writer = self._connections[0]
            self._ids = clock.Ids(letter_rows.last_id(writer))
            self._boxes = letter_rows.boxes(writer)
        except (sqlite3.Error, OSError) as error:
            log.error("dead_letters_not_kept", file=str(self.path), error=str(error), hint="Refused events are lost.")
            self._close_files()
            return
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sluice-letter-reader")
        self._thread = threading.Thread(target=self._write_loop, args=(writer,), name="sluice-letters", daemon=True)
        self._thread.start()

    def _close_files(self) -> None:
        for one in reversed(self._connections):  # the writer last
            one.close()
        self._connections.clear()
        stray_opens.release(self.path)

    async def close(self) -> None:
        """Commit what waits, and close the file. Safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is None or self._readers is None:
            return
        self._queue.put(None)
        await self._loop.run_in_executor(None, thread.join)
        await self._loop.run_in_executor(None, self._readers.shutdown)
        self._close_files()

    # -- what there is -------------------------------------------------------------------------------------

    def box(self, tenant: str, job: str) -> Box:
        """How it is with the letters of a job, as of the last commit."""
        return self._boxes.get((tenant, job), EMPTY)

    @property
    def boxes(self) -> Mapping[Owner, Box]:
        """Those of all jobs that have letters, or had some."""
        return self._boxes

    def is_full(self, tenant: str, job: str) -> bool:
        """Whether a letter of a job may find no room now: counted are the last commit, and the largest there is."""
        if self._thread is None or not self._writes or self._disk_is_full():
            return True
        box, bounds = self.box(tenant, job), self.bounds
        if box.waiting >= bounds.job_count:
            return True
        if box.replayed:  # these go first
            return False
        of_tenant = sum(one.bytes for (who, _), one in self._boxes.items() if who == tenant)
        return min(bounds.job_mb * _MIB - box.bytes, bounds.tenant_mb * _MIB - of_tenant) < letter_rows.LARGEST_BYTES

    async def read(self, look: Callable[..., T], *given: Any) -> T:
        """Look into the file: `look(db, *given)`. Raises StorageUnavailable."""
        if self._thread is None or self._readers is None:
            raise _not_open()

        def looked() -> T:
            try:
                return look(self._connections[1], *given)
            except sqlite3.Error as error:
                raise connection.translate(error) from error

        return await self._loop.run_in_executor(self._readers, looked)

    # -- letters come and go -------------------------------------------------------------------------------

    def new_id(self) -> int:
        return self._ids.next()

    async def put(self, owner: Owner, letters: Sequence[Letter], dropped: int = 0) -> Put:
        """Keep letters of one job, and count those that its worker has dropped; returns when they are on the disk.

        One whose status is `replayed` is not kept: it settles the one of the same subject that waits.
        """
        count = sum(one.status == Status.WAITING for one in letters)
        if self._thread is None:
            self.lost += count + dropped
            return Put(0, count, True)
        try:
            return await self.change(lambda db, _: self._put(db, owner, letters, dropped), owner)
        except (errors.StorageUnavailable, errors.CommitUnconfirmed):
            self.lost += count + dropped
            return Put(0, count, True)

    async def change(self, work: Callable[[sqlite3.Connection, set[Owner]], T], *owners: Owner) -> T:
        """Do something in a transaction; returns when it is on the disk. `work` adds further jobs that it touches.

        Raises StorageUnavailable.
        """
        if self._thread is None:
            raise _not_open()
        touched = set(owners)
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Change(lambda db: work(db, touched), touched, future))
        return await future

    def _put(self, db: sqlite3.Connection, owner: Owner, letters: Sequence[Letter], dropped: int) -> Put:
        tenant, job = owner
        room = _Room(db, owner, self.bounds)
        fits: list[Letter] = []
        news: list[Letter] = []
        for letter in letters:
            if letter.status == Status.REPLAYED:
                letter_rows.settle(db, letter)
                news = [one for one in news if one.subject != letter.subject]  # skipped and read within one call
            elif not letter_rows.repeated(db, letter):
                news.append(letter)
        for letter in () if news and self._disk_is_full() else news:
            if not room.takes(letter_rows.size_of(letter)):
                break
            fits.append(letter)
        letter_rows.add(db, fits)
        missed = len(news) - len(fits)
        if missed or dropped:
            letter_rows.drop(db, tenant, job, missed + dropped, clock.now_ns())
        return Put(len(letters) - missed, missed, missed > 0)

    def _disk_is_full(self) -> bool:
        try:
            return not reserve.measure(self.path.parent, self.bounds.reserve_mb).holds(0)
        except OSError:
            return False  # the write will tell

    # -- the writer's thread -------------------------------------------------------------------------------

    def _write_loop(self, db: sqlite3.Connection) -> None:
        while True:
            changes: list[_Change] = []
            try:
                while len(changes) < MOST_TOGETHER:
                    one = self._queue.get(timeout=UPKEEP_SECONDS) if not changes else self._queue.get_nowait()
                    if one is None:
                        self._commit(db, changes)
                        return
                    changes.append(one)
            except queue.Empty:
                pass
            if changes and not self._commit(db, changes):
                return
            self._keep_up(db)

    def _commit(self, db: sqlite3.Connection, changes: list[_Change]) -> bool:
        """Do changes in one transaction, or, when one of them fails, each in its own; False when the loop has ended."""
        outcomes = self._attempt(db, changes)
        if len(changes) > 1 and any(isinstance(outcome, Exception) for outcome in outcomes):
            outcomes = [self._attempt(db, [change])[0] for change in changes]
        touched = {owner for change in changes for owner in change.touched}
        try:
            boxes = {owner: letter_rows.box(db, *owner) for owner in touched}
        except sqlite3.Error:  # the figures of before stand until the disk is well
            boxes = {}
        try:
            self._loop.call_soon_threadsafe(self._tell, changes, outcomes, boxes)
        except RuntimeError:
            return False
        return True

    def _attempt(self, db: sqlite3.Connection, changes: list[_Change]) -> list[Any]:
        """What each of the changes gave, or the fault for all of them when the transaction failed."""
        try:
            connection.begin(db, letter_rows.LOCK_SECONDS)
            outcomes = [change.work(db) for change in changes]
            connection.commit(db)
        except Exception as error:  # a boundary: whatever it was, it must not end the thread
            if db.in_transaction:
                db.execute("ROLLBACK")
            log.error("dead_letters_not_written", file=str(self.path), error=str(error))
            fault = connection.translate(error)
            if not isinstance(fault, errors.SluiceError):
                fault = errors.StorageUnavailable(f"The file of the dead letters cannot be written: {error}.")
            return [fault] * len(changes)
        return outcomes

    def _tell(self, changes: list[_Change], outcomes: list[Any], boxes: dict[Owner, Box]) -> None:
        self._writes = not any(isinstance(outcome, errors.StorageUnavailable) for outcome in outcomes)
        self._renew(boxes)
        for change, outcome in zip(changes, outcomes, strict=True):
            if change.future.done():
                continue
            if isinstance(outcome, Exception):
                change.future.set_exception(outcome)
                change.future.exception()  # a waiter that is gone already must not make asyncio warn
            else:
                change.future.set_result(outcome)

    def _renew(self, boxes: Mapping[Owner, Box]) -> None:
        """Remember how some boxes are now, and tell who waits for letters to go."""
        before = {owner: self.box(*owner) for owner in boxes}
        self._boxes.update(boxes)
        for owner, box in boxes.items():
            if before[owner].any and not box.any:
                for listener in self.listeners:
                    listener(*owner)
        fewer = [
            one for one, box in boxes.items() if box.waiting < before[one].waiting or box.bytes < before[one].bytes
        ]
        for tenant in {tenant for tenant, _ in fewer}:
            for room_listener in self.room_listeners:
                room_listener(tenant)

    def _keep_up(self, db: sqlite3.Connection) -> None:
        """From time to time, let go what is too old."""
        if clock.monotonic() < self._next_upkeep:
            return
        self._next_upkeep = clock.monotonic() + UPKEEP_SECONDS
        before_ns = clock.now_ns() - self.bounds.hours * _HOUR_NS
        try:
            while True:
                connection.begin(db, letter_rows.LOCK_SECONDS)
                touched = letter_rows.prune(db, before_ns)
                connection.commit(db)
                if not touched:
                    break
                boxes = {owner: letter_rows.box(db, *owner) for owner in touched}
                self._loop.call_soon_threadsafe(self._renew, boxes)
            letter_rows.give_back(db)
        except (sqlite3.Error, errors.CommitUnconfirmed, RuntimeError) as error:  # the next look tries again
            if db.in_transaction:
                db.execute("ROLLBACK")
            log.error("dead_letters_not_kept_up", file=str(self.path), error=str(error))


class _Room:
    """What a job may still take; letters that were replayed make room for new ones."""

    def __init__(self, db: sqlite3.Connection, owner: Owner, bounds: Bounds) -> None:
        self._db = db
        self._owner = owner
        box = letter_rows.box(db, *owner)
        self._replayed = box.replayed
        self._count = bounds.job_count - box.waiting - box.replayed
        self._bytes = bounds.job_mb * _MIB - box.bytes
        self._of_tenant = bounds.tenant_mb * _MIB - letter_rows.tenant_bytes(db, owner[0])

    def takes(self, size: int) -> bool:
        """Whether there is room for one more letter; then it is taken."""
        while self._count < 1 or min(self._bytes, self._of_tenant) < size:
            if not self._replayed:
                return False
            before = letter_rows.box(self._db, *self._owner)
            letter_rows.remove_replayed(self._db, *self._owner)
            after = letter_rows.box(self._db, *self._owner)
            self._replayed = after.replayed
            self._count += before.replayed - after.replayed
            self._bytes += before.bytes - after.bytes
            self._of_tenant += before.bytes - after.bytes
        self._count -= 1
        self._bytes -= size
        self._of_tenant -= size
        return True


def _not_open() -> errors.StorageUnavailable:
    return errors.StorageUnavailable(
        "There is no file of dead letters here.", hint="A running engine has one; its log says why it has none."
    )
