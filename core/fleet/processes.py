"""The processes of the workers: started, started again when they end, killed when silent, drained at the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping

import structlog

from core import channel, clock
from core.fleet.child import Child, Spawn
from core.fleet.connection import LOCAL, Worker
from core.model.states import WorkerState
from core.settings import Settings

log = structlog.get_logger("core.fleet")

SILENT_BEATS = 5
FIRST_BACKOFF_SECONDS = 0.02
LONGEST_BACKOFF_SECONDS = 5.0
STEADY_SECONDS = 10.0

Link = Callable[[Worker, socket.socket], Awaitable[tuple[channel.Channel, asyncio.Event]]]
"""Makes our end of the channel to a worker, and what is set when it has ended."""


class Processes:
    """Use from the engine's loop. `workers` may grow; `gone` is told when the channel of one has ended."""

    def __init__(
        self,
        settings: Settings,
        spawn: Spawn,
        workers: Mapping[str, Worker],
        link: Link,
        gone: Callable[[Worker], None],
    ) -> None:
        self.spawn = spawn
        self.children: dict[str, Child] = {}  # of the workers that are connected, or were just now
        self.stopping = False
        self._settings = settings
        self._workers = workers
        self._link = link
        self._gone = gone
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the processes of the local workers; does not wait for them."""
        for worker in tuple(self._workers.values()):
            if worker.kind == LOCAL:
                self._tasks.append(asyncio.create_task(self._supervise(worker)))
        self._tasks.append(asyncio.create_task(self._watch()))

    async def stop(self) -> None:
        """Drain every worker within the deadline, then make sure that no process is left."""
        self.stopping = True
        for worker in self._workers.values():
            if worker.channel is not None:
                worker.channel.notice("drain", None)
        ended = [self._end(child) for child in self.children.values()]
        await asyncio.gather(*ended)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _end(self, child: Child) -> None:
        if await child.wait(self._settings.drain_seconds + 1.0) is None:
            child.kill()
            await child.wait(5.0)

    async def _supervise(self, worker: Worker) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while not self.stopping:
            started = clock.monotonic()
            ours, theirs = socket.socketpair()
            link, ended = await self._link(worker, ours)
            try:
                child = self.spawn(worker.name, self._settings.of_group(worker.started_in), theirs)
            except OSError as error:
                log.error("worker_not_started", worker=worker.name, error=str(error))
                link.abort()
                await asyncio.sleep(LONGEST_BACKOFF_SECONDS)
                continue
            finally:
                theirs.close()
            await self.work(worker, link, child, ended)
            if await child.wait(self._settings.drain_seconds + 1.0) is None:
                child.kill()
                await child.wait(5.0)
            if self.stopping:
                return
            worker.restarts += 1
            if clock.monotonic() - started > STEADY_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)

    async def work(self, worker: Worker, link: channel.Channel, child: Child, ended: asyncio.Event) -> None:
        """Work with a worker until its channel ends."""
        worker.connect(link, child.pid)
        self.children[worker.name] = child
        await ended.wait()
        self._gone(worker)

    def forget(self, name: str) -> None:
        """A worker of another machine is gone, and nobody starts it again from here."""
        del self.children[name]

    async def _watch(self) -> None:
        """Kill a worker that is silent: its jobs start again in a fresh process."""
        beat, before = self._settings.heartbeat_seconds, clock.monotonic()
        while True:
            await asyncio.sleep(beat)
            now = clock.monotonic()
            # While this process itself stood still, nobody was silent: what workers said then has yet to be read.
            still, before = max(0.0, now - before - beat), now
            for worker in self._workers.values():
                worker.last_seen = min(now, worker.last_seen + still)
                if worker.state is WorkerState.ONLINE and now - worker.last_seen > beat * SILENT_BEATS:
                    log.error("worker_silent", worker=worker.name, seconds=beat * SILENT_BEATS)
                    self.children[worker.name].kill()
