"""The engine's side: answers joins, and ties each tunnel to the fleet as if a child process were at its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core import clock, errors, keyfile
from core.external import nats
from core.external.ends import Greeting
from core.external.sealed import RANDOM_BYTES, Records, WorkerKey
from core.external.tunnel import Tunnel
from core.fleet.fleet import Fleet
from core.forever import Loops
from core.license import Feature
from core.licensing import Licensing
from core.model.frames import protocol_fault
from core.model.principal import SYSTEM
from core.model.worker_group import NAME_PATTERN, External
from core.settings import Settings
from core.store import audit, external_workers
from core.store.database import Database

log = structlog.get_logger("core.external")

KEY_FILE = "worker.key"
KEY_PURPOSE = "lets workers join"
HELLO_SECONDS = 5.0
MOST_SESSIONS = 256
RETRY_SECONDS = 2.0

Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class Join(BaseModel):
    """What a worker asks with."""

    model_config = ConfigDict(extra="forbid")

    protocol: int
    random: str = Field(pattern="^[0-9a-f]{64}$")
    session: str = Field(pattern="^[0-9a-f]{32}$")
    name: Name
    group: Name
    slots: int = Field(ge=1, le=4096)


class Session:
    """One joined worker as the fleet knows the process of a worker."""

    pid = None

    def __init__(self, tunnel: Tunnel, running: asyncio.Task[str]) -> None:
        self._tunnel = tunnel
        self._running = running

    def terminate(self) -> None:
        self._tunnel.end("the engine has ended it")

    kill = terminate

    async def wait(self, seconds: float) -> int | None:
        done, _ = await asyncio.wait([self._running], timeout=seconds)
        return 0 if done else None

    def seen(self) -> None:
        """Its witness is on its own machine."""

    def close(self) -> None:
        """Whoever serves it ends its tunnel."""


class Gateway:
    """Lets workers of other machines join. Use from the engine's loop; whoever opens it closes it."""

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        database: Database,
        licensing: Licensing,
        ids: clock.Ids,
        loops: Loops,
    ) -> None:
        nats.require()
        self._settings = settings
        self._fleet = fleet
        self._database = database
        self._licensing = licensing
        self._ids = ids
        self._loops = loops
        self._key = WorkerKey(keyfile.read_or_make(settings.home / KEY_FILE, KEY_PURPOSE))
        self._wire: nats.Wire | None = None
        self._sessions: dict[str, asyncio.Task[None]] = {}  # by the name of the worker
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
        """A wire on which joins are answered. Raises TargetUnavailable."""
        wire = await nats.connect(self._settings.nats, f"sluice engine {self._key.installation}")
        try:
            await wire.answer(f"sluice.{self._key.installation}.join", self._asked)
        except BaseException:
            await wire.close()
            raise
        return wire

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        for session in self._sessions.values():
            session.cancel()
        await asyncio.gather(*self._sessions.values(), return_exceptions=True)
        if self._wire is not None:
            await self._wire.close()

    async def _asked(self, data: bytes) -> bytes | None:
        """Answer a join; silence for whoever does not have the key."""
        letter = self._key.open(data, b"join")
        if letter is None or self._wire is None:
            return None
        random = str(letter.get("random", ""))[: 2 * RANDOM_BYTES]
        try:
            answer = await self._admit(self._wire, letter)
        except errors.SluiceError as error:
            log.warning("worker_refused", name=str(letter.get("name"))[:64], code=error.code, reason=error.message)
            answer = {"error": error.to_dict()}
        return self._key.seal(answer, b"welcome" + random.encode())

    async def _admit(self, wire: nats.Wire, letter: dict[str, Any]) -> dict[str, Any]:
        """Raises InvalidParams, NotLicensed or Busy."""
        if refused := protocol_fault(letter.get("protocol")):
            raise errors.InvalidParams(refused, hint="Install the same version of sluice-mcp on both machines.")
        try:
            join = Join.model_validate(letter)
        except ValidationError as fault:
            first = fault.errors()[0]
            raise errors.InvalidParams(f"{first['loc'][0]}: {first['msg']}.") from None
        license = self._licensing.current
        license.require(Feature.EXTERNAL_WORKERS, "A worker on another machine")
        if (
            license.limits.workers is not None
            and len(self._fleet.workers.keys() | {join.name}) > license.limits.workers
        ):
            raise errors.NotLicensed(
                f"The {license.edition} edition holds {license.limits.workers} workers, and there are as many.",
                hint="Install a license with `sluice license install FILE`, or remove a worker.",
                details={"limit": "workers", "edition": license.edition},
            )
        self._fleet.admits(join.name)
        self._refuse_open_group(join)
        if join.name in self._sessions:
            raise errors.Busy(f"A worker {join.name} is being let in already.", hint="Try again in some seconds.")
        if len(self._sessions) >= MOST_SESSIONS:
            raise errors.Busy(f"{MOST_SESSIONS} workers of other machines are connected.", hint="Remove one first.")
        ours = os.urandom(RANDOM_BYTES)
        of_worker, of_engine = self._key.session(bytes.fromhex(join.random), ours)
        subject = f"sluice.{self._key.installation}.{join.session}"
        inbox = await wire.listen(f"{subject}.engine")
        try:
            self._fleet.admits(join.name)  # the engine may have begun to end meanwhile
        except errors.Busy:
            await inbox.end()
            raise

        async def send(record: bytes) -> None:
            await wire.send(f"{subject}.worker", record)

        near, far = socket.socketpair()  # nothing is waited for from here until a task has them that closes them
        tunnel = Tunnel(
            far,
            Records(sends=of_engine, receives=of_worker),
            send,
            inbox.take,
            beat_seconds=self._settings.heartbeat_seconds,
            chunk_bytes=wire.chunk_bytes,
        )
        member = External(join.name, join.group, join.slots)
        task = asyncio.create_task(self._serve(member, tunnel, near, inbox))
        self._sessions[join.name] = task
        return {
            "random": ours.hex(),
            "heartbeat_seconds": self._settings.heartbeat_seconds,
            "drain_seconds": self._settings.drain_seconds,
        }

    def _refuse_open_group(self, join: Join) -> None:
        """Raises Forbidden when the worker's group does not name its tenants: whoever owns the worker's machine sees
        the jobs and the secrets that it is given, so somebody has said whose these are."""
        name = self._fleet.groups.setting(join.name).group or join.group
        group = self._fleet.groups.get(name)
        if group is None:
            raise errors.Forbidden(
                f"There is no worker group {name} for workers of other machines.",
                hint=f"Make it, with the tenants that it serves: sluice group create {name} --admit TENANT.",
            )
        if group.open:
            raise errors.Forbidden(
                f"Worker group {name} admits every tenant, and a worker of another machine serves tenants by name.",
                hint=f"Name them: sluice group update {name} --admit TENANT, or join another group (--group).",
            )

    async def _serve(self, member: External, tunnel: Tunnel, near: socket.socket, inbox: nats.Inbox) -> None:
        running = asyncio.create_task(tunnel.run())
        try:
            if await tunnel.opened(HELLO_SECONDS):  # a join that was recorded and repeated gets no further
                await self._remember(member)
                greeting = self._heard(member.name, tunnel.greeted)
                life, before = (greeting.life, greeting.ended()) if greeting is not None else ("", None)
                await self._fleet.joined(member, near, Session(tunnel, running), life, before)
            else:
                log.warning("worker_never_spoke", name=member.name)
        except errors.SluiceError as error:
            log.warning("worker_refused", name=member.name, code=error.code, reason=error.message)
        finally:
            del self._sessions[member.name]
            tunnel.end("the engine has ended it")
            near.close()
            with contextlib.suppress(asyncio.CancelledError):
                log.warning("worker_session_ended", name=member.name, reason=await running)
            await inbox.end()

    def _heard(self, name: str, greeting: bytes) -> Greeting | None:
        """What a worker has said before anything else; None when it says nothing (an older one) or no greeting."""
        if not greeting:
            return None
        try:
            heard = Greeting.model_validate_json(greeting)
        except ValidationError:
            self._fleet.inquest.disbelieve(name, "its greeting is none")
            return None
        if heard.unreadable:
            self._fleet.inquest.disbelieve(name, "the file with an earlier end is torn, or of another worker")
        return heard

    async def _remember(self, member: External) -> None:
        if member not in await self._database.read(external_workers.known):
            note = audit.row(self._ids.next(), SYSTEM, "worker_join", member.name)
            await self._database.write(external_workers.keep, member, clock.now_ns(), note)
