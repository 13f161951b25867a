"""The processes of the workers: started, started again when they end, killed when silent, drained at the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

import structlog

from core import backoff, channel, clock
from core.fleet.child import Child, Spawn
from core.fleet.connection import LOCAL, Worker
from core.fleet.kernel import stopped
from core.forever import Loops
from core.model import frames
from core.model.states import WorkerState
from core.settings import Settings
from core.witness import Seen

log = structlog.get_logger("core.fleet")

SILENT_BEATS = 5
FIRST_BACKOFF_SECONDS = 0.02
LONGEST_BACKOFF_SECONDS = 5.0
STEADY_SECONDS = 10.0

Link = Callable[[Worker, socket.socket], Awaitable[tuple[channel.Channel, asyncio.Event]]]
"""Makes our end of the channel to a worker, and what is set when it has ended."""


class End(NamedTuple):
    """How the process of a worker ended: its exit code, and whether we killed it because it was silent."""

    code: int | None
    silent: bool
    seen: Seen | None


class Processes:
    """Use from the engine's loop. `workers` may grow; `gone` is told when the channel of one has ended.

    `ended` is awaited when the process of a local one has ended that should not, before it is started again.
    """

    def __init__(
        self,
        settings: Settings,
        spawn: Spawn,
        workers: Mapping[str, Worker],
        link: Link,
        gone: Callable[[Worker], None],
        ended: Callable[[Worker, End], Awaitable[None]],
        loops: Loops,
    ) -> None:
        self.spawn = spawn
        self.children: dict[str, Child] = {}  # of the workers that are connected, or were just now
        self.stopping = False
        self._settings = settings
        self._workers = workers
        self._link = link
        self._gone = gone
        self._ended = ended
        self._loops = loops
        self._tasks: list[asyncio.Task[None]] = []
        self._silenced: set[str] = set()
        self._short: dict[str, int] = {}  # lives in a row that were not steady, by worker
        self._looked = clock.monotonic()

    def start(self) -> None:
        """Start the processes of the local workers; does not wait for them."""
        for worker in tuple(self._workers.values()):
            if worker.kind == LOCAL:
                live = partial(self.live, worker)
                self._tasks.append(self._loops.start(f"worker {worker.name}", live, LONGEST_BACKOFF_SECONDS))
        self._looked = clock.monotonic()
        self._tasks.append(self._loops.start("silent workers", self.watch))

    async def stop(self) -> None:
        """Drain every worker within the deadline, then make sure that no process is left."""
        self.stopping = True
        for worker in self._workers.values():
            if worker.channel is not None:
                worker.channel.send(frames.encode(frames.Drain()))
        await asyncio.gather(*(self._end(child) for child in self.children.values()))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _end(self, child: Child) -> int | None:
        code = await child.wait(self._settings.drain_seconds + 1.0)
        if code is None:
            child.kill()
            code = await child.wait(5.0)
        return code

    async def live(self, worker: Worker) -> None:
        """One life of a local worker: its process from the start to the end, and the pause before the next one."""
        if self.stopping:
            await asyncio.Event().wait()  # for the end of this task
        await self._clear(worker)
        started = clock.monotonic()
        async with self._process(worker) as (link, child, ended):
            await self.work(worker, link, child, ended)
            code = await self._end(child)
        if self.stopping:
            return
        worker.restarts += 1
        await self._ended(worker, End(code, worker.name in self._silenced, child.seen()))
        steady = clock.monotonic() - started > STEADY_SECONDS
        short = self._short[worker.name] = 1 if steady else self._short.get(worker.name, 0) + 1
        await asyncio.sleep(backoff.pause(short, FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS))

    async def _clear(self, worker: Worker) -> None:
        """Make sure that nothing is left of the life before, also where a fault has cut its end short."""
        if worker.channel is not None:
            worker.channel.abort()
            self._gone(worker)
        child = self.children.get(worker.name)
        if child is not None:
            child.kill()
            await child.wait(5.0)
            del self.children[worker.name]
            child.close()
        self._silenced.discard(worker.name)

    @asynccontextmanager
    async def _process(self, worker: Worker) -> AsyncIterator[tuple[channel.Channel, Child, asyncio.Event]]:
        """A process of a worker, with our end of its channel. Raises OSError, and leaves nothing then."""
        ours, theirs = socket.socketpair()
        link: channel.Channel | None = None
        try:
            link, ended = await self._link(worker, ours)
            child = self.children[worker.name] = self.spawn(
                worker.name, self._settings.of_group(worker.started_in), theirs
            )
            theirs.close()
            yield link, child, ended
        finally:
            theirs.close()
            if link is not None:
                link.abort()
            else:
                ours.close()

    async def work(
        self, worker: Worker, link: channel.Channel, child: Child, ended: asyncio.Event, life: str = ""
    ) -> None:
        """Work with a worker until its channel ends; `life` names that of its process, if that was told."""
        worker.connect(link, child.pid, life)
        self.children[worker.name] = child
        await ended.wait()
        self._gone(worker)

    def forget(self, name: str) -> None:
        """A worker of another machine is gone, and nobody starts it again from here."""
        self.children.pop(name, None)

    async def watch(self) -> None:
        """Wait for a heartbeat, then kill what is silent: its jobs start again in a fresh process."""
        beat, before = self._settings.heartbeat_seconds, self._looked
        await asyncio.sleep(beat)
        now = self._looked = clock.monotonic()
        # While this process itself stood still, nobody was silent: what workers said then has yet to be read.
        still = max(0.0, now - before - beat)
        for worker in self._workers.values():
            worker.last_seen = min(now, worker.last_seen + still)
            child = self.children.get(worker.name)
            if child is None or worker.state is not WorkerState.ONLINE or now - worker.last_seen <= beat * SILENT_BEATS:
                continue
            log.error("worker_silent", worker=worker.name, seconds=beat * SILENT_BEATS)
            if not stopped(child.pid):  # by somebody: then no job is to blame
                self._silenced.add(worker.name)
            child.kill()
