"""The KV store inside the owner: durable in its database, with those who wait and watch woken after the commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from core import clock
from core.kv.timekeeping import StoreClock
from core.model import kv
from core.model.kv import READS, Change, Changes, Depth, Entry, Lease, Listing, Op, Result, Verb
from core.store import kv as table
from core.store.audit import AuditRow
from core.store.database import Database

log = structlog.get_logger("core.kv")
PRUNE_SECONDS = 5.0


class LocalKV:
    """See core.model.kv.KV for the contract. Use from the engine's loop, after `start`; `run` prunes in the background.

    Inside, times are those of the store's clock; what is told outside is told by the wall clock.
    """

    def __init__(self, database: Database, time: StoreClock | None = None, tenant_bytes: int | None = None) -> None:
        """`tenant_bytes`: the most that is kept for one tenant."""
        self.tenant_bytes = tenant_bytes
        self._database = database
        self._time = time or StoreClock()
        self._now_ms = self._time.now_ms
        self._waiting: dict[str, deque[asyncio.Event]] = {}  # pops under way, by namespace, the oldest first
        self._watches: dict[str, set[LocalWatch]] = {}

    async def start(self) -> None:
        """Go on with the time that the store has, before anything is read or written."""
        now = self._time.resume(await self._database.read(table.anchor))
        await self._database.write(table.resume, now, self._now_ms())

    async def apply(self, namespace: str, ops: Sequence[Op], note: AuditRow | None = None) -> list[Result]:
        kv.check(ops)
        if all(op[0] in READS for op in ops):
            return (await self._database.read(table.apply, namespace, ops, self._now_ms())).results
        done = await self._database.write(table.apply, namespace, ops, self._now_ms(), note, self.tenant_bytes)
        self._tell(namespace, done)
        return done.results

    def _tell(self, namespace: str, done: table.Applied) -> None:
        if done.changes:
            for watch in self._watches.get(namespace, ()):
                watch.tell(done.changes)
        if done.pushed:
            self._wake(namespace)

    async def list(self, namespace: str, prefix: str, after: str, limit: int) -> Listing:
        limit = max(1, min(limit, kv.MAX_LIST))
        found = await self._database.read(table.listing, namespace, prefix, after, limit, self._now_ms())
        return Listing(tuple(self._on_the_wall(entry) for entry in found.entries), found.more)

    def _on_the_wall(self, entry: Entry) -> Entry:
        end = entry.expires_at_ms
        return entry if end is None else entry._replace(expires_at_ms=self._time.to_wall(end))

    async def depth(self, namespace: str) -> Depth:
        return await self._database.read(table.depth, namespace, self._now_ms())

    async def end_dead(self, namespace: str, limit: int, requeue: bool, note: AuditRow) -> int:
        """Make the oldest dead items ready again, or delete them; how many."""
        count = await self._database.write(table.end_dead, namespace, limit, requeue, note)
        if count and requeue:
            self._wake(namespace)
        return count

    # -- queues --------------------------------------------------------------------------------------------

    async def pop_batch(
        self, namespace: str, size: int, lease_ms: int, max_attempts: int, wait_seconds: float
    ) -> Lease | None:
        kv.check_pop(size, lease_ms, max_attempts)
        deadline = clock.monotonic() + wait_seconds
        line = self._waiting.setdefault(namespace, deque())
        woken = asyncio.Event()
        line.append(woken)
        lease = None
        try:
            while True:
                woken.clear()
                lease, next_end = await self._pop(namespace, size, lease_ms, max_attempts)
                left = deadline - clock.monotonic()
                if lease is not None:
                    return lease._replace(expires_at_ms=self._time.to_wall(lease.expires_at_ms))
                if left <= 0:
                    return None
                if next_end is not None:
                    left = min(left, max(0.001, (next_end - self._now_ms()) / 1000))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await woken.wait()
        finally:
            line.remove(woken)
            if not line:
                del self._waiting[namespace]
            elif lease is not None or woken.is_set():  # there may be more, or the wake-up was not used
                self._wake(namespace)

    def _wake(self, namespace: str) -> None:
        """Let the one that has waited longest look again; it wakes the next one when it has found something."""
        line = self._waiting.get(namespace)
        if line:
            line[0].set()

    async def _pop(self, namespace: str, *bounds: int) -> tuple[Lease | None, int | None]:
        future: asyncio.Future[tuple[Lease | None, int | None]] = asyncio.get_running_loop().create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if not future.done():
                if error is not None:
                    future.set_exception(error)
                else:
                    future.set_result(result)
            elif error is None and result[0] is not None:
                self._return(namespace, result[0])

        self._database.submit(done, table.pop_batch, namespace, *bounds, clock.token(), self._now_ms())
        try:
            return await future
        except asyncio.CancelledError:
            # Cancelled after the commit and before it could be told: `done` has seen nobody leave.
            if future.done() and not future.cancelled() and future.exception() is None:
                lease, _ = future.result()
                if lease is not None:
                    self._return(namespace, lease)
            raise

    def _return(self, namespace: str, lease: Lease) -> None:
        """The one that popped is gone before it could be told: its items go to somebody else now."""

        def done(result: Any, error: BaseException | None) -> None:
            if error is None:
                self._tell(namespace, result)
            else:  # they come again when the lease has run out
                log.error("lease_not_released", namespace=namespace, error=str(error))

        self._database.submit(done, table.apply, namespace, [Op(Verb.RELEASE, lease.id)], self._now_ms())

    # -- watches -------------------------------------------------------------------------------------------

    async def watch(self, namespace: str, prefix: str) -> LocalWatch:
        watch = LocalWatch(prefix, lambda gone: self._forget(namespace, gone))
        self._watches.setdefault(namespace, set()).add(watch)
        return watch

    def _forget(self, namespace: str, watch: LocalWatch) -> None:
        watches = self._watches.get(namespace, set())
        watches.discard(watch)
        if not watches:
            self._watches.pop(namespace, None)

    # -- retention -----------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Wait, and prune what is over; only a watch can tell when this happens, for reads are exact."""
        await asyncio.sleep(PRUNE_SECONDS)
        await self.keep_time()
        await self.prune()

    async def keep_time(self) -> None:
        """Write down how the store's clock stands to the wall clock, when that has been set."""
        if (moved := self._time.moved()) is not None:
            log.warning("wall_clock_was_set", store_is_ahead_ms=moved.ahead_of_wall_ms)
            await self._database.write(table.keep_anchor, moved)

    async def prune(self) -> None:
        """Delete everything that is over now, piece by piece, with room for other writes in between."""
        now = self._now_ms()
        while await self._database.read(table.is_due, now):
            for namespace, key in await self._database.write(table.prune, now):
                for watch in self._watches.get(namespace, ()):
                    watch.tell([Change(key, True)])


class LocalWatch:
    """See core.model.kv.Watch."""

    def __init__(self, prefix: str, forget: Callable[[LocalWatch], None]) -> None:
        self._prefix = prefix
        self._forget = forget
        self._changes: dict[str, Change] = {}
        self._lagged = False
        self._on_the_wall = asyncio.Event()

    def tell(self, changes: Sequence[Change]) -> None:
        """Remember what concerns this watch: of each key the last state, and of too many keys only that."""
        for change in changes:
            if change.key.startswith(self._prefix):
                self._changes[change.key] = change
                self._on_the_wall.set()
        if len(self._changes) > kv.MAX_WATCHED:
            self._changes.clear()
            self._lagged = True

    async def next(self, wait_seconds: float) -> Changes:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds):
                await self._on_the_wall.wait()
        self._on_the_wall.clear()
        told, self._changes = tuple(self._changes.values()), {}
        lagged, self._lagged = self._lagged, False
        return Changes(told, lagged)

    async def close(self) -> None:
        self._forget(self)
