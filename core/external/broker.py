"""The engine's door over NATS: subjects on which workers ask to be met.

    sluice.NAME.meet.SPACE           a worker says which line it opens, the engine that it listens (request and reply)
    sluice.NAME.SPACE.LINE.engine    records for the engine
    sluice.NAME.SPACE.LINE.worker    records for the worker

NAME comes from the fingerprint of the engine, so that several engines share a server; SPACE is the credential of the
worker, or, before it has one, a name that its connection has for itself (core.external.assertion). A server that knows
the engine keeps each worker to its own space (core.external.callout); on others it is a name among others.
"""

from __future__ import annotations

import asyncio
import re

import structlog

from core import errors, keyfile
from core.external import accounts, callout, nats, parting, shared_key
from core.external.assertion import inbox
from core.external.callout import Callout
from core.external.enrolment import Enrolment
from core.external.gateway import Gateway
from core.external.identity import installation
from core.external.parting import Parting
from core.external.sealed import WorkerKey
from core.external.ways import LISTENING
from core.forever import Loops
from core.settings import Settings

log = structlog.get_logger("core.external")

RETRY_SECONDS = 2.0
BUSY = b"busy"
_LINE = re.compile(rb"[0-9a-f]{32}").fullmatch


def of(settings: Settings, gateway: Gateway, enrolment: Enrolment, loops: Loops) -> Broker:
    """The door of an engine with these settings. Raises TargetUnavailable, StorageUnavailable (a key in its home)."""
    nats.require()
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
    return Broker(settings.nats, gateway, enrolment, loops, door)


class Broker:
    """Keeps a connection to a NATS server. Use from the engine's loop; whoever opens it closes it."""

    def __init__(
        self,
        url: str,
        gateway: Gateway,
        enrolment: Enrolment,
        loops: Loops,
        shared: shared_key.SharedKeyDoor | None,
    ) -> None:
        """Raises StorageUnavailable (the identity)."""
        self._url = url
        self._gateway = gateway
        self._loops = loops
        self._shared_key = shared
        self._name = installation(gateway.identity().fingerprint)
        self._keys = accounts.of(gateway.identity())
        self._callout = Callout(self._keys, self._name, enrolment, gateway.refuse)
        self._wire: nats.Wire | None = None
        self._meetings: set[asyncio.Task[None]] = set()
        self._parting = Parting(url, f"sluice engine {self._name}", self._keys, enrolment)
        self._tasks: list[asyncio.Task[None]] = []
        self._unreachable = ""  # what was said of it
        self.asked = False
        """Whether the server asks this engine whom to let in."""
        gateway.parts.append(self.part)

    @property
    def connected(self) -> bool:
        """Whether the NATS server can be reached at present."""
        return self._wire is not None and self._wire.connected

    def open(self) -> None:
        """Connect in the background: an engine works, with its own workers, also while NATS is away."""
        self._tasks = [self._loops.start("nats", self.keep), self._loops.start("nats_parting", self._parting.keep)]

    async def keep(self) -> None:
        """Connect, and let workers join from then on; the connection comes back by itself when it is lost, and is made
        anew when the server has ended it."""
        try:
            wire = await self._connect()
        except errors.TargetUnavailable as error:
            if not self._unreachable:
                log.warning("nats_unreachable", error=error.message, hint=error.hint)
            self._unreachable = error.message
            await asyncio.sleep(RETRY_SECONDS)
            return
        self._wire, self._unreachable = wire, ""
        wire.comes_back = self._ask_again
        await wire.ended.wait()
        log.warning("nats_ended", hint="The server has ended the connection; another one is made.")
        self._wire = None
        await wire.close()

    async def _connect(self) -> nats.Wire:
        """A wire on which workers are met. Raises TargetUnavailable."""
        wire = await accounts.knock(self._url, f"sluice engine {self._name}", self._keys)
        try:
            self.asked = await accounts.is_asked(wire, self._keys)
            if self.asked:
                await wire.answer(callout.SUBJECT, lambda asked: self._callout.answer(asked.data))
                self._parting.want()  # somebody may have been shut out while no server heard of it
            await wire.answer(f"sluice.{self._name}.meet.*", self._called)
            if self._shared_key is not None:
                await self._shared_key.listen(wire)
        except BaseException:
            await wire.close()
            raise
        return wire

    async def _called(self, asked: nats.Question) -> bytes | None:
        space = asked.subject.rpartition(".")[2]
        # Who may not speak on a subject must not have us do it.
        if self._wire is None or not _LINE(asked.data) or not asked.reply.startswith(f"{inbox(space)}."):
            return None
        if self._gateway.crowded(space):
            self._gateway.refused["busy"] += 1
            return BUSY
        mine = f"sluice.{self._name}.{space}.{asked.data.decode()}"
        line = await nats.line(self._wire, hears=f"{mine}.engine", speaks=f"{mine}.worker")
        task = asyncio.create_task(self._gateway.meet(line, self._callout.host(space), space))
        self._meetings.add(task)
        task.add_done_callback(self._meetings.discard)
        return LISTENING

    def _ask_again(self) -> None:
        """The server was away: it may be another one, or have another configuration."""
        task = asyncio.create_task(self._asks_still())
        self._meetings.add(task)
        task.add_done_callback(self._meetings.discard)

    async def _asks_still(self) -> None:
        wire = self._wire
        if wire is None or await accounts.is_asked(wire, self._keys) is self.asked:
            return
        if self.asked:
            hint = "Whoever it lets in may hold back what workers say; its configuration was of sluice nats-config."
            log.error("nats_server_asks_no_more", hint=hint)
        await wire.close()  # what is answered on it follows from what it asks

    # -- shutting out --------------------------------------------------------------------------------------

    def part(self, name: str) -> None:
        """A worker is shut out: have the server end its connections, as soon as it can be asked to."""
        if self.asked:
            self._parting.want(parting.PART_SECONDS)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._shared_key is not None:
            await self._shared_key.close()
        if self._wire is not None:
            await self._wire.close()
