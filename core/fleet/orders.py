"""Runs that somebody asked for, one after the other: kept until they have ended, and asked for again until then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from core.fleet.scheduled import Key
from core.model import frames
from core.model.schedule import Cause, Order


class Orders:
    """Of one engine, in memory. Who adds an order has recorded it."""

    def __init__(self, send: Callable[[str, frames.Frame], None]) -> None:
        """`send` gives a frame to the worker of a workload."""
        self._send = send
        self._waiting: dict[Key, list[Order]] = {}
        self._asked: dict[Key, int] = {}  # the one that its worker was told
        self._waiters: dict[int, asyncio.Future[frames.Run]] = {}

    def load(self, orders: Iterable[Order]) -> None:
        """Take up what an earlier engine left."""
        for order in orders:
            self._waiting.setdefault((order.tenant, order.job), []).append(order)

    def of(self, key: Key) -> list[Order]:
        """Those of a job that have not ended."""
        return self._waiting.get(key, [])

    def add(self, key: Key, orders: Iterable[Order]) -> None:
        """Somebody asks for runs; `ask` tells them to a worker."""
        self._waiting.setdefault(key, []).extend(orders)

    def ask(self, key: Key, workload: str) -> None:
        """Tell the worker of a workload the next one, unless it is at one. What is asked for now goes first."""
        waiting = self._waiting.get(key)
        if waiting and key not in self._asked:
            order = min(waiting, key=lambda one: (one.cause != Cause.MANUAL, one.id))
            self._asked[key] = order.id
            self._send(workload, frames.Fire(workload, order.id, order.cause, order.scheduled_ns))

    def forget_asking(self, key: Key) -> None:
        """The worker that was told one is gone, or runs the job anew."""
        self._asked.pop(key, None)

    def end(self, key: Key, run: frames.Run) -> None:
        """The run of one has ended."""
        left = [one for one in self._waiting.get(key, ()) if one.id != run.order]
        if left:
            self._waiting[key] = left
        else:
            self._waiting.pop(key, None)
        self._asked.pop(key, None)
        waiter = self._waiters.pop(run.order, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(run)

    def forget(self, key: Key) -> None:
        """The job has no schedule any more."""
        self._waiting.pop(key, None)
        self._asked.pop(key, None)

    async def ended(self, order: int, seconds: float) -> frames.Run | None:
        """The end of the run of one; None when it does not end within that time."""
        future = self._waiters.setdefault(order, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(future)
        except TimeoutError:
            return None
        finally:
            self._waiters.pop(order, None)

    def close(self) -> None:
        """Nobody is told of an end any more."""
        for future in self._waiters.values():
            future.cancel()
