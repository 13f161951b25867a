"""The KV store as a worker reaches it: every call is one frame to its engine, for the tenant of the workload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from core import clock
from core.channel import Channel
from core.errors import JobFailed
from core.model import kv
from core.model.kv import Change, Changes, Depth, Entry, Item, Lease, Listing, Op, Result, Verb

LONGEST_WAIT_SECONDS = 60.0  # of one call; whoever waits longer asks again


class RemoteKV:
    """See core.model.kv.KV for the contract; the engine checks once more what is asked."""

    def __init__(self, channel: Channel, workload: str, clean: Callable[[str, str], str] | None = None) -> None:
        self._channel = channel
        self._workload = workload
        self._clean = clean  # takes the secrets out of a text: what is stored here is stored, and shown, in the clear
        self._tasks: set[asyncio.Task[Any]] = set()

    async def _call(self, what: str, namespace: str, *arguments: Any) -> Any:
        return await self._channel.call("kv", [self._workload, what, namespace, *arguments])

    async def apply(self, namespace: str, ops: Sequence[Op]) -> list[Result]:
        kv.check(ops)
        if self._clean is not None:
            work, clean = self._workload, self._clean
            ops = [op._replace(key=clean(work, op.key), value=clean(work, op.value)) for op in ops]
        answers = await self._call("apply", namespace, [tuple(op) for op in ops])
        return [Result(done, at, value, tuple(members), affected) for done, at, value, members, affected in answers]

    async def list(self, namespace: str, prefix: str, after: str, limit: int) -> Listing:
        entries, more = await self._call("list", namespace, prefix, after, limit)
        return Listing(tuple(Entry(*entry) for entry in entries), more)

    async def pop_batch(
        self, namespace: str, size: int, lease_ms: int, max_attempts: int, wait_seconds: float
    ) -> Lease | None:
        deadline = clock.monotonic() + wait_seconds
        while True:
            left = max(0.0, deadline - clock.monotonic())
            wait = min(left, LONGEST_WAIT_SECONDS)
            answer = await self._pop(namespace, size, lease_ms, max_attempts, wait)
            if answer is not None:
                id, expires_at_ms, items = answer
                return Lease(id, expires_at_ms, tuple(Item(*item) for item in items))
            if left <= LONGEST_WAIT_SECONDS:
                return None

    async def _pop(self, namespace: str, *bounds: float) -> Any:
        id = clock.token()
        call = self._begin(self._call("pop_batch", namespace, id, *bounds))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            # Nobody is here to take what the engine may just be handing out: it takes it back, or we give it back.
            call.add_done_callback(lambda done: self._give_back(namespace, done))
            self._begin(self._call("unpop", namespace, id))
            raise

    def _give_back(self, namespace: str, call: asyncio.Future[Any]) -> None:
        if not call.cancelled() and call.exception() is None and call.result() is not None:
            self._begin(self.apply(namespace, [Op(Verb.RELEASE, call.result()[0])]))

    def _begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a lease that could not be given back runs out by itself

    async def depth(self, namespace: str) -> Depth:
        return Depth(*await self._call("depth", namespace))

    async def watch(self, namespace: str, prefix: str) -> RemoteWatch:
        id = clock.token()
        await self._call("watch", namespace, prefix, id)
        return RemoteWatch(self, namespace, id)


class RemoteWatch:
    """See core.model.kv.Watch."""

    def __init__(self, store: RemoteKV, namespace: str, id: str) -> None:
        self._store = store
        self._namespace = namespace
        self._id = id

    async def next(self, wait_seconds: float) -> Changes:
        wait = min(wait_seconds, LONGEST_WAIT_SECONDS)
        changes, lagged = await self._store._call("changes", self._namespace, self._id, wait)
        return Changes(tuple(Change(*change) for change in changes), lagged)

    async def close(self) -> None:
        await self._store._call("unwatch", self._namespace, self._id)


class NoKV:
    """The store where there is none (a trace): a namespace can be named, and every use says so."""

    async def apply(self, namespace: str, ops: Sequence[Op]) -> list[Result]:
        raise JobFailed("there is no KV store here")

    async def list(self, namespace: str, prefix: str, after: str, limit: int) -> Listing:
        raise JobFailed("there is no KV store here")

    async def pop_batch(
        self, namespace: str, size: int, lease_ms: int, max_attempts: int, wait_seconds: float
    ) -> Lease | None:
        raise JobFailed("there is no KV store here")

    async def depth(self, namespace: str) -> Depth:
        raise JobFailed("there is no KV store here")

    async def watch(self, namespace: str, prefix: str) -> RemoteWatch:
        raise JobFailed("there is no KV store here")
