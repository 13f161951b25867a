"""Worker channels: named, bounded hops between the jobs of one worker, the only way in which they meet.

A sender waits while the channel is full and also while nobody reads, so a consumer that starts late, is slow or
restarts loses nothing. The consumer settles a batch; that is what the sender's source waits for.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Protocol

from core.dsl.component import Batch, Channel
from core.dsl.events import fan_out

CAPACITY_BATCHES = 16


class Driver(StrEnum):
    """What happens when several jobs read one channel."""

    STANDARD = "standard"  # each batch goes to one of them
    CLONE = "clone"  # each batch goes to all of them, as copies


class _Hub(Protocol):
    async def put(self, batch: Batch) -> None: ...
    async def get(self, reader: str) -> Batch: ...
    def detach(self, reader: str) -> None: ...
    def depth(self) -> int: ...


class Channels:
    """The channels of one worker. A name that nobody configured is a standard channel."""

    def __init__(self, capacity: int = CAPACITY_BATCHES) -> None:
        self._capacity = capacity
        self._hubs: dict[str, _Hub] = {}

    def configure(self, name: str, driver: Driver | str = Driver.STANDARD, readers: int = 1) -> bool:
        """Declare a channel; for `clone`, senders wait until that many different readers have come.

        A channel that exists with the same driver keeps what is in it. Returns whether one with another driver was
        replaced: who is still bound to that one has to bind anew.
        """
        hub = self._hubs.get(name)
        if Driver(driver) is Driver.CLONE:
            if isinstance(hub, _Clone):
                hub.expect(readers)
                return False
            self._hubs[name] = _Clone(self._capacity, readers)
        elif isinstance(hub, _Standard):
            return False
        else:
            self._hubs[name] = _Standard(self._capacity)
        return hub is not None

    def bind(self, name: str, workload: str) -> Channel:
        """The end of a channel that one job holds; it may put and get. All that bind with one name are one reader."""
        if name not in self._hubs:
            self.configure(name)
        return _End(self._hubs[name], workload)

    def detach(self, workload: str) -> None:
        """The job is gone for good: what only it would have read is given up."""
        for hub in self._hubs.values():
            hub.detach(workload)

    def remove(self, name: str) -> None:
        """Forget a channel. Its senders and readers must be gone."""
        self._hubs.pop(name, None)

    def depths(self) -> dict[str, int]:
        """Batches that wait, for each channel."""
        return {name: hub.depth() for name, hub in self._hubs.items()}


class _End:
    def __init__(self, hub: _Hub, workload: str) -> None:
        self._hub = hub
        self._workload = workload

    async def put(self, batch: Batch) -> None:
        await self._hub.put(batch)

    async def get(self) -> Batch:
        return await self._hub.get(self._workload)


class _Standard:
    def __init__(self, capacity: int) -> None:
        self._queue: asyncio.Queue[Batch] = asyncio.Queue(capacity)

    async def put(self, batch: Batch) -> None:
        await self._queue.put(batch)

    async def get(self, reader: str) -> Batch:
        return await self._queue.get()

    def detach(self, reader: str) -> None:
        """What waits stays for the next reader."""

    def depth(self) -> int:
        return self._queue.qsize()


class _Clone:
    def __init__(self, capacity: int, readers: int) -> None:
        self._capacity = capacity
        self._expected = readers
        self._queues: dict[str, asyncio.Queue[Batch]] = {}
        self._complete = asyncio.Event()
        self._order = asyncio.Lock()  # two senders must not interleave their copies: every reader sees one order

    def expect(self, readers: int) -> None:
        self._expected = readers
        self._update()

    def _update(self) -> None:
        if len(self._queues) >= max(self._expected, 1):
            self._complete.set()
        else:
            self._complete.clear()

    async def put(self, batch: Batch) -> None:
        async with self._order:
            await self._complete.wait()
            queues = list(self._queues.items())
            settle = fan_out.when_all(len(queues), batch.settle)
            for index, (reader, queue) in enumerate(queues):
                last = index == len(queues) - 1  # the last reader may have the original: nobody else holds it
                events = batch.events if last else [fan_out.copy(event) for event in batch.events]
                await queue.put(Batch(events, settle, batch.document_end, batch.document, batch.begins))
                if self._queues.get(reader) is not queue:  # it was detached while we waited for room
                    _give_up(queue)

    async def get(self, reader: str) -> Batch:
        queue = self._queues.get(reader)
        if queue is None:
            queue = self._queues[reader] = asyncio.Queue(self._capacity)
            self._update()
        return await queue.get()

    def detach(self, reader: str) -> None:
        queue = self._queues.pop(reader, None)
        if queue is not None:
            _give_up(queue)
            self._update()

    def depth(self) -> int:
        return max((queue.qsize() for queue in self._queues.values()), default=0)


def _give_up(queue: asyncio.Queue[Batch]) -> None:
    while not queue.empty():
        queue.get_nowait().settle(None)
