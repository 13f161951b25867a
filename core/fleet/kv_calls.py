"""What jobs ask of the KV store over the channel of their worker, answered for the tenant that each belongs to."""

from __future__ import annotations

import asyncio
from typing import Any

from core import errors
from core.channel import Channel
from core.model import kv
from core.model.kv import KV, Lease, Op, Watch

MAX_WATCHES = 1000  # of one worker
LONGEST_WAIT_SECONDS = 60.0


class KvCalls:
    """Answers the `kv` calls of all workers: [workload, what, namespace, argument...]."""

    def __init__(self, store: KV) -> None:
        self._store = store
        self._pops: dict[tuple[Channel, str], asyncio.Future[Lease | None]] = {}
        self._watches: dict[Channel, dict[str, Watch]] = {}
        self._ends: set[asyncio.Task[None]] = set()

    async def answer(self, link: Channel, tenant: str, what: str, namespace: str, *given: Any) -> Any:
        """Do one call for a job of `tenant`; the answer is plain JSON.

        Raises Forbidden for another tenant's namespace, whatever the worker has let through.
        """
        name = kv.qualify(tenant, namespace)
        match what, given:
            case "apply", [ops]:
                return [tuple(done) for done in await self._store.apply(name, [Op(*op) for op in ops])]
            case "list", [prefix, after, limit]:
                found = await self._store.list(name, prefix, after, limit)
                return [tuple(entry) for entry in found.entries], found.more
            case "pop_batch", [id, size, lease_ms, max_attempts, wait_seconds]:
                pop = asyncio.ensure_future(
                    self._store.pop_batch(name, size, lease_ms, max_attempts, min(wait_seconds, LONGEST_WAIT_SECONDS))
                )
                lease = await self._popped(link, id, pop)
                return None if lease is None else (lease.id, lease.expires_at_ms, [tuple(i) for i in lease.items])
            case "unpop", [id]:
                if waiting := self._pops.get((link, id)):
                    waiting.cancel()
                return None
            case "depth", []:
                return tuple(await self._store.depth(name))
            case "watch", [prefix, id]:
                return await self._watch(link, name, prefix, id)
            case "changes", [id, wait_seconds]:
                changed = await self._watched(link, id).next(wait_seconds)
                return [tuple(change) for change in changed.changes], changed.lagged
            case "unwatch", [id]:
                watch = self._watched(link, id)
                del self._watches[link][id]
                return await watch.close()
        raise errors.NotFound(f"There is no KV call {errors.shorten(what, 60)} with {len(given)} arguments.")

    async def _popped(self, link: Channel, id: str, pop: asyncio.Future[Lease | None]) -> Lease | None:
        """What a pop brought; None when it was called off."""
        self._pops[link, id] = pop
        try:
            await asyncio.wait({pop})
        finally:
            del self._pops[link, id]
            pop.cancel()  # the worker is gone; done already otherwise
        return None if pop.cancelled() else pop.result()

    async def _watch(self, link: Channel, namespace: str, prefix: str, id: str) -> None:
        watches = self._watches.get(link)
        if watches is None:
            watches = self._watches[link] = {}
            task = asyncio.get_running_loop().create_task(self._until_closed(link))
            self._ends.add(task)
            task.add_done_callback(self._ends.discard)
        if len(watches) >= MAX_WATCHES:
            raise errors.Busy(f"A worker has at most {MAX_WATCHES} watches.", hint="Watch fewer prefixes.")
        watches[id] = await self._store.watch(namespace, prefix)

    def _watched(self, link: Channel, id: str) -> Watch:
        watch = self._watches.get(link, {}).get(id)
        if watch is None:
            raise errors.NotFound("This watch has ended.")
        return watch

    async def _until_closed(self, link: Channel) -> None:
        await link.closed.wait()
        for watch in self._watches.pop(link, {}).values():
            await watch.close()
