"""The engine's door over NATS: subjects on which workers ask to be met.

    sluice.NAME.meet              a worker says which line it opens, the engine that it listens (request and reply)
    sluice.NAME.LINE.engine       records for the engine
    sluice.NAME.LINE.worker       records for the worker

NAME comes from the fingerprint of the engine, so that several engines share a server.
"""

from __future__ import annotations

import asyncio
import re

import structlog

from core import errors, keyfile
from core.external import nats, shared_key
from core.external.gateway import NO_ADDRESS, Gateway
from core.external.identity import installation
from core.external.sealed import WorkerKey
from core.forever import Loops
from core.settings import Settings

log = structlog.get_logger("core.external")

RETRY_SECONDS = 2.0
_LINE = re.compile(rb"[0-9a-f]{32}").fullmatch


def of(settings: Settings, gateway: Gateway, loops: Loops) -> Broker:
    """The door of an engine with these settings. Raises TargetUnavailable, StorageUnavailable (a key in its home)."""
    path = settings.home / shared_key.KEY_FILE
    door = None
    if settings.allow_shared_worker_key or path.exists():
        door = shared_key.SharedKeyDoor(
            WorkerKey(keyfile.read_or_make(path, shared_key.KEY_PURPOSE)),
            gateway,
            allowed=settings.allow_shared_worker_key,
            heartbeat_seconds=settings.heartbeat_seconds,
            drain_seconds=settings.drain_seconds,
        )
    return Broker(settings.nats, gateway, loops, door)


class Broker:
    """Keeps a connection to a NATS server. Use from the engine's loop; whoever opens it closes it."""

    def __init__(self, url: str, gateway: Gateway, loops: Loops, shared: shared_key.SharedKeyDoor | None) -> None:
        """Raises TargetUnavailable without the extra `nats`, StorageUnavailable (the identity)."""
        nats.require()
        self._url = url
        self._gateway = gateway
        self._loops = loops
        self._shared_key = shared
        self._name = installation(gateway.identity().fingerprint)
        self._wire: nats.Wire | None = None
        self._meetings: set[asyncio.Task[None]] = set()
        self._opening: asyncio.Task[None] | None = None
        self._unreachable = ""  # what was said of it

    @property
    def connected(self) -> bool:
        """Whether the NATS server can be reached at present."""
        return self._wire is not None and self._wire.connected

    def open(self) -> None:
        """Connect in the background: an engine works, with its own workers, also while NATS is away."""
        self._opening = self._loops.start("nats", self.keep)

    async def keep(self) -> None:
        """Connect, and let workers join from then on; the connection comes back by itself when it is lost."""
        if self._wire is None:
            try:
                wire = await self._connect()
            except errors.TargetUnavailable as error:
                if not self._unreachable:
                    log.warning("nats_unreachable", error=error.message, hint=error.hint)
                self._unreachable = error.message
                await asyncio.sleep(RETRY_SECONDS)
                return
            self._wire = wire
        await asyncio.Event().wait()

    async def _connect(self) -> nats.Wire:
        """A wire on which workers are met. Raises TargetUnavailable."""
        wire = await nats.connect(self._url, f"sluice engine {self._name}")
        try:
            await wire.answer(f"sluice.{self._name}.meet", self._called)
            if self._shared_key is not None:
                await self._shared_key.listen(wire)
        except BaseException:
            await wire.close()
            raise
        return wire

    async def _called(self, data: bytes) -> bytes | None:
        if self._wire is None or not _LINE(data):
            return None
        subject = f"sluice.{self._name}.{data.decode()}"
        line = await nats.line(self._wire, hears=f"{subject}.engine", speaks=f"{subject}.worker")
        task = asyncio.create_task(self._gateway.meet(line, NO_ADDRESS))
        self._meetings.add(task)
        task.add_done_callback(self._meetings.discard)
        return b"listening"

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._shared_key is not None:
            await self._shared_key.close()
        if self._wire is not None:
            await self._wire.close()
