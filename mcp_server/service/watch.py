"""When the service manager hears what: that we are ready, that we work, that we stop.

A sign of life is worth what was done for it. Each one comes after a write that went through the store's own writer and
came back to the loop; one that does not come back in time, or a store that cannot write before it is opened anew, gets
none, and the manager starts the engine again. A full disk gets one: a new start would not make room, and the engine
goes on by itself when there is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

import structlog

from core import clock, errors, readiness
from core.forever import Loops
from core.readiness import Readiness
from mcp_server.service.notify import Manager

log = structlog.get_logger("mcp_server.service")

LOOK_SECONDS = 5.0  # how often the status is looked at, and told when it is another one
STARTING_LOOK_SECONDS = 0.2  # until it is ready
PATIENCE_SECONDS = 30.0  # for the first workers; then READY is told without them, or nobody could ask what they lack
AGAIN_SECONDS = 0.5  # after a sign of life that was not given


class Engine(Protocol):
    """What is watched over."""

    async def readiness(self) -> Readiness: ...

    async def pulse(self) -> None: ...


class Watch:
    """Over one server. `readiness` is what /ready says."""

    def __init__(self, engine: Engine, manager: Manager) -> None:
        self._engine = engine
        self._manager = manager
        self._stopping = ""
        self._status = ""
        self._announced = False
        self._began = clock.monotonic()

    async def readiness(self) -> Readiness:
        """Whether this server takes work now."""
        found = await self._engine.readiness()
        return found.but(readiness.DRAINING, self._stopping) if self._stopping else found

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Tell the manager how it is for as long as the block lasts."""
        loops, self._began = Loops(), clock.monotonic()
        tasks = [loops.start("service status", self._tell_how_it_is)]
        if (seconds := self._manager.watchdog_seconds) is not None:
            tasks.append(
                loops.start("watchdog", lambda: self._give_a_sign_of_life(seconds), longest_backoff=AGAIN_SECONDS)
            )
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    def stop(self, why: str) -> None:
        """It stops: from now on it is not ready."""
        self._stopping = why
        self._manager.tell(STOPPING="1", STATUS=why)

    async def _tell_how_it_is(self) -> None:
        found = await self.readiness()
        status = in_words(found)
        news = {} if status == self._status else {"STATUS": status}
        late = clock.monotonic() - self._began >= PATIENCE_SECONDS
        if not self._announced and (found.ready or late):
            self._announced = True
            news["READY"] = "1"
        if news and not self._stopping:
            self._status = status
            self._manager.tell(**news)
        await asyncio.sleep(LOOK_SECONDS if self._announced else STARTING_LOOK_SECONDS)

    async def _give_a_sign_of_life(self, seconds: float) -> None:
        """One in each half of the time that there is, so that a slow write does not end us."""
        lives = await self._lives(seconds / 4)
        if lives:
            self._manager.tell(WATCHDOG="1")
        await asyncio.sleep(seconds / 2 if lives else min(AGAIN_SECONDS, seconds / 4))

    async def _lives(self, within_seconds: float) -> bool:
        try:
            async with asyncio.timeout(within_seconds):
                await self._engine.pulse()
        except TimeoutError:
            log.error("no_sign_of_life", why=f"The store has not answered for {within_seconds:g} s.")
            return False
        except errors.SluiceError as error:
            log.error("no_sign_of_life", why=error.message)
            return False
        return True


def in_words(found: Readiness) -> str:
    """One line of `systemctl status`."""
    workers = f"{found.workers_up} worker{'' if found.workers_up == 1 else 's'}"
    of = f" of {found.workers_wanted}" if found.workers_up < found.workers_wanted else ""
    return f"Ready, {workers}{of}" if found.ready else "Not ready: " + " ".join(found.lacking.values())
