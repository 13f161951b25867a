"""The implementations that sit the exam, each with a clock that the test sets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import channel
from core.fleet.kv_calls import KvCalls
from core.kv.local import LocalKV
from core.kv.timekeeping import StoreClock
from core.model.kv import KV, Namespace
from core.store.database import open_database
from core.worker.kv import RemoteKV

START_MS = 1_800_000_000_000


@dataclass
class Sitting:
    """One implementation under examination."""

    store: KV
    advance: Callable[[int], None]  # let this many milliseconds pass
    prune: Callable[[], Any]  # do now what is done in the background

    def namespace(self, name: str = "tenant-a:exam") -> Namespace:
        return Namespace(self.store, name)


@asynccontextmanager
async def local(path: Path) -> AsyncIterator[Sitting]:
    """The store in the owner."""
    now = [START_MS]
    database = open_database(path / "sluice.db")

    def advance(milliseconds: int) -> None:
        now[0] += milliseconds

    try:
        store = LocalKV(database, StoreClock(boot_ms=lambda: now[0] - START_MS, wall_ms=lambda: now[0]))
        await store.start()
        yield Sitting(store, advance, store.prune)
    finally:
        await database.close()


@asynccontextmanager
async def over_the_channel(path: Path) -> AsyncIterator[Sitting]:
    """The same store as a worker reaches it, over a real socketpair."""
    async with local(path) as owner:
        calls = KvCalls(owner.store)
        ours, theirs = socket.socketpair()

        async def answer(link: channel.Channel, name: str, args: Any) -> Any:
            workload, what, namespace, *given = args
            return await calls.answer(link, workload.partition("/")[0], what, namespace, *given)

        end = await channel.over_socket(ours, on_call=answer)
        other = await channel.over_socket(theirs)
        try:
            yield Sitting(RemoteKV(other, "tenant-a/job#0"), owner.advance, owner.prune)
        finally:
            await other.close()
            await end.closed.wait()


IMPLEMENTATIONS: dict[str, Callable[[Path], AbstractAsyncContextManager[Sitting]]] = {
    "local": local,
    "over-the-channel": over_the_channel,
}
