"""The logs of jobs on the disk: a file of its own beside the database, with its own writer and readers.

Nothing waits for it: lines are taken into memory as they were written out by who sent them, put together and compressed
every half second by a thread of its own, and dropped and counted when they cannot be (a full disk, one that hangs).
What was dropped is told by a line in the log that it is missing from. A power cut or a killed engine loses the lines of
the last half second, and nothing else.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog

from core import clock, reserve
from core.model.log_lines import Bundle, Gathered
from core.store import connection, log_rows, log_search, stray_opens
from core.store.log_chunks import MERGED_BYTES, QUICK, THOROUGH, WHOLE_BYTES, Chunk, Source, pack
from core.store.log_rows import Range
from core.store.log_search import Found, Held, Pattern

log = structlog.get_logger("core.store")

Json = bytes | msgspec.Raw

FLUSH_SECONDS = 0.5
HELD_BYTES = 32 * 1024 * 1024  # of lines that wait to be written
UPKEEP_SECONDS = 10.0  # between two looks for what has to go
BEFORE_END_NS = 5 * clock.NANOSECONDS  # who wrote so shortly before an engine was killed may have lost lines
READERS = 2
_MIB = 1024 * 1024
_HOUR_NS = 3600 * clock.NANOSECONDS

_Part = tuple[Source, list[Bundle]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept, and for how long."""

    most_mb: int
    hours: int
    job_mb: int
    reserve_mb: int
    """Of the disk, that are left free."""


@dataclass(slots=True)
class _Waiting:
    bundles: list[Bundle] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True)
class _Lost:
    """Lines of one workload that came to nothing."""

    source: Source
    reason: str
    first_seq: int
    last_seq: int = 0
    count: int = 0


class _Outcome(NamedTuple):
    """What the thread tells of what it was handed."""

    refused: str
    """Why none of it is in the file; empty when it is."""
    malformed: list[tuple[Source, Bundle]]
    """What was left out, for these are no lines."""


class Logbook:
    """Use from one event loop. Before `open`, and after a failed one, lines are counted and not kept."""

    def __init__(self, path: Path, bounds: Bounds) -> None:
        self.path = path
        self.dropped: Counter[str] = Counter()
        """Lines that are not in the file, by reason."""
        self.taken = 0
        """Lines that came, those that were dropped here among them."""
        self._bounds = bounds
        self.seq = 0
        """Of the last line."""
        self._ids = clock.Ids()
        self._waiting: dict[Source, _Waiting] = {}
        self._handed: list[list[_Part]] = []  # what the thread has and has not told of, in order
        self.held = 0
        """Bytes of lines that are not written yet."""
        self._lost: dict[tuple[str, str], _Lost] = {}  # by workload and reason
        self._timer: asyncio.TimerHandle | None = None
        self._queue: queue.SimpleQueue[list[_Part] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._connections: list[sqlite3.Connection] = []
        self._unused: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._next_upkeep = 0.0

    # -- life ----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the file or make it (0600). One that cannot be used is told in the log of the engine; jobs run on."""
        self._loop = asyncio.get_running_loop()
        try:
            broken: list[tuple[Source, int]] = []
            writer = self._open_files(broken)
        except (sqlite3.Error, OSError) as error:
            log.error("job_logs_not_kept", file=str(self.path), error=str(error), hint="Logs of jobs are lost.")
            self._close_files()
            return
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sluice-log-reader")
        self._thread = threading.Thread(target=self._write_loop, args=(writer,), name="sluice-logs", daemon=True)
        self._thread.start()
        now = clock.now_ns()
        for source, last_ns in broken:
            self.broke_off(source, "engine", last_ns, now)

    def _open_files(self, broken: list[tuple[Source, int]]) -> sqlite3.Connection:
        if not self.path.exists():
            self.path.touch(0o600)
        stray_opens.protect(self.path)
        writer = log_rows.connect(self.path, write=True)
        self._connections.append(writer)
        last = log_rows.last_seq(writer)
        self.seq, self._ids = last, clock.Ids(last)
        if not log_rows.begin(writer):
            broken += log_rows.writing_at(writer, last - BEFORE_END_NS)
        for _ in range(READERS):
            self._connections.append(log_rows.connect(self.path, write=False))
            self._unused.put(self._connections[-1])
        return writer

    def _close_files(self) -> None:
        for one in reversed(self._connections):  # the writer last
            one.close()
        self._connections.clear()
        stray_opens.release(self.path)

    async def close(self) -> None:
        """Write what waits, as far as it can be, and close the file. Safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is None or self._readers is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._hand_over()
        self._queue.put(None)
        await self._loop.run_in_executor(None, thread.join)
        await self._loop.run_in_executor(None, self._readers.shutdown)
        self._close_files()

    # -- lines come ----------------------------------------------------------------------------------------

    def add(self, source: Source, at_ns: int, level: str, text: str, fields: dict[str, Any]) -> Bundle:
        """Take one line of ours; never waits, never fails."""
        line = Gathered()
        line.add(at_ns, level, text, fields)
        return self.take(source, 1, line.columns(), line.text())

    def broke_off(self, source: Source, who: str, from_ns: int, to_ns: int) -> Bundle:
        """Take a line that says that the lines between two times may be lost, for the engine or worker (`who`) that had
        them was not given the time to hand them on."""
        between = {"from": clock.iso(from_ns), "to": clock.iso(to_ns), "reason": f"{who}-ended"}
        text = f"The {who} ended here; the last lines before may be lost"
        return self.add(source, to_ns, "warning", text, {"dropped": between})

    def take(self, source: Source, lines: int, columns: Json, text: Json) -> Bundle:
        """Take lines as they were written out (core.model.log_lines), unread; never waits, never fails."""
        first = self._ids.next(lines)
        self.seq = first + lines - 1
        bundle = Bundle(first, lines, columns, text)
        self.taken += lines
        if self._thread is None:
            self.dropped["not-open"] += lines
            return bundle
        size = bundle.size
        if self.held + size > HELD_BYTES:
            self._lose(source, bundle, "slow-disk")
            return bundle
        waiting = self._waiting.get(source)
        if waiting is None:
            waiting = self._waiting[source] = _Waiting()
        waiting.bundles.append(bundle)
        waiting.size += size
        self.held += size
        if waiting.size >= MERGED_BYTES:
            self._put([(source, self._waiting.pop(source).bundles)])
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_SECONDS, self._hand_over)
        return bundle

    def _hand_over(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, {}
        if waiting:
            self._put([(source, one.bundles) for source, one in waiting.items()])

    def _put(self, parts: list[_Part]) -> None:
        self._handed.append(parts)
        self._queue.put(parts)

    def _lose(self, source: Source, bundle: Bundle, reason: str) -> None:
        self.dropped[reason] += bundle.lines
        lost = self._lost.get((source.workload, reason))
        if lost is None:
            lost = self._lost[source.workload, reason] = _Lost(source, reason, bundle.first_seq)
        lost.count += bundle.lines
        lost.last_seq = bundle.last_seq

    def _conclude(self, outcome: _Outcome) -> None:
        """The thread is done with what it was handed first."""
        parts = self._handed.pop(0)
        self.held -= sum(bundle.size for _, bundles in parts for bundle in bundles)
        if outcome.refused:
            for source, bundles in parts:
                for bundle in bundles:
                    self._lose(source, bundle, outcome.refused)
            return
        for source, bundle in outcome.malformed:
            self._lose(source, bundle, "malformed")
        lost, self._lost = self._lost, {}
        for one in lost.values():
            # A seq is the time at which the engine took the line, or just after it.
            between = {"from": clock.iso(one.first_seq), "to": clock.iso(one.last_seq)}
            fields = {"dropped": {"count": one.count, **between, "reason": one.reason}}
            self.add(
                one.source, clock.now_ns(), "warning", f"{one.count} log lines were lost here: {one.reason}", fields
            )

    # -- the writer's thread -------------------------------------------------------------------------------

    def _write_loop(self, db: sqlite3.Connection) -> None:
        while True:
            try:
                parts = self._queue.get(timeout=UPKEEP_SECONDS)
            except queue.Empty:
                self._keep_up(db)
                continue
            if parts is None:
                self._attempt(db, lambda: log_rows.end(db))
                return
            outcome = self._write(db, parts)
            try:
                self._loop.call_soon_threadsafe(self._conclude, outcome)
            except RuntimeError:  # the loop has ended, and nobody asks any more
                return
            self._keep_up(db)

    def _write(self, db: sqlite3.Connection, parts: list[_Part]) -> _Outcome:
        try:
            full = not reserve.measure(self.path.parent, self._bounds.reserve_mb).holds(0)
        except OSError:
            full = False  # the write will tell
        if full:
            return _Outcome("disk-full", [])
        malformed: list[tuple[Source, Bundle]] = []
        chunks = [chunk for source, bundles in parts for chunk in _packed(source, bundles, malformed)]
        return _Outcome(self._attempt(db, lambda: log_rows.add(db, chunks)), malformed)

    def _attempt(self, db: sqlite3.Connection, change: Callable[[], object]) -> str:
        try:
            connection.begin(db, log_rows.LOCK_SECONDS)
            change()
            db.execute("COMMIT")
        except Exception as error:  # a boundary: whatever it was, it must not end the thread
            if db.in_transaction:
                db.execute("ROLLBACK")
            full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
            log.error("job_logs_not_written", file=str(self.path), error=str(error))
            return "disk-full" if full else "disk-failed"
        return ""

    def _keep_up(self, db: sqlite3.Connection) -> None:
        """Merge one workload's small chunks; from time to time, let go what is too old or too much."""
        try:
            workload = log_rows.to_merge(db)
            if workload is not None and self._attempt(db, lambda: log_rows.merge_parts(db, workload)):
                self._attempt(db, lambda: log_rows.leave(db, workload))
            if clock.monotonic() >= self._next_upkeep:
                self._next_upkeep = clock.monotonic() + UPKEEP_SECONDS
                self._attempt(db, lambda: prune(db, self._bounds, clock.now_ns()))
                log_rows.give_back(db)
        except sqlite3.Error as error:  # as long as the disk is not well; what comes then is dropped and counted
            log.error("job_logs_not_kept_up", file=str(self.path), error=str(error))

    # -- lines are read ------------------------------------------------------------------------------------

    async def search(
        self,
        within: Range,
        limit: int,
        *,
        pattern: Pattern | None = None,
        newest_first: bool = True,
        seconds: float = 1.0,
        beside: Iterable[Held] = (),
    ) -> Found:
        """The first `limit` lines, in the order that is asked for; those that are not written yet are among them.

        `beside`: lines that somebody else has of these workloads. Raises StorageUnavailable.
        """
        held = [*beside]
        waiting = [(source, one.bundles) for source, one in self._waiting.items()]
        for source, bundles in (*(part for parts in self._handed for part in parts), *waiting):
            if within.names(source):
                held += [(source.workload, bundle) for bundle in bundles]
        if self._thread is None or self._readers is None:
            return log_search.search(None, within, pattern, limit, held, seconds, newest_first=newest_first)

        def read() -> Found:
            db = self._unused.get()
            try:
                db.execute("BEGIN")  # one state of the file: chunks that it has named may be merged, or go, meanwhile
                try:
                    return log_search.search(db, within, pattern, limit, held, seconds, newest_first=newest_first)
                finally:
                    db.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise connection.translate(error) from error
            finally:
                self._unused.put(db)

        return await self._loop.run_in_executor(self._readers, read)


def _packed(source: Source, bundles: Sequence[Bundle], malformed: list[tuple[Source, Bundle]]) -> list[Chunk]:
    """The chunk of some lines, none when all are malformed; what is so is added to `malformed`."""
    level = THOROUGH if sum(bundle.size for bundle in bundles) >= WHOLE_BYTES else QUICK
    try:
        return [pack(source, bundles, level)]
    except ValueError as error:
        if len(bundles) == 1:
            log.error("log_lines_malformed", workload=source.workload, worker=source.worker, error=str(error))
            malformed.append((source, bundles[0]))
            return []
        return [chunk for bundle in bundles for chunk in _packed(source, [bundle], malformed)]


def prune(db: sqlite3.Connection, bounds: Bounds, now_ns: int) -> None:
    """Let chunks go that are too old, of jobs that take too much, and the oldest while all take too much."""
    while log_rows.prune_old(db, now_ns - bounds.hours * _HOUR_NS):
        pass
    while log_rows.prune_jobs(db, bounds.job_mb * _MIB):
        pass
    log_rows.forget_gone(db, now_ns - 2 * bounds.hours * _HOUR_NS)
    while log_rows.size(db) > bounds.most_mb * _MIB and log_rows.prune_oldest(db):
        pass
