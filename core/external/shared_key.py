"""The way in of workers that have a copy of one key of the installation (`allow_shared_worker_key`).

It goes with the next release but one: a copied key cannot be taken from one worker alone, and says nothing of whose it
is. The answer to a worker that comes this way without the setting says what to do.
"""

from __future__ import annotations

import asyncio
import os
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core import errors
from core.external import nats
from core.external.gateway import Gateway
from core.external.sealed import RANDOM_BYTES, Records, WorkerKey
from core.model.frames import protocol_fault
from core.model.worker_group import NAME_PATTERN, External

log = structlog.get_logger("core.external")

KEY_FILE = "worker.key"
KEY_PURPOSE = "lets workers join"

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


class SharedKeyDoor:
    """Of one engine."""

    def __init__(
        self, key: WorkerKey, gateway: Gateway, *, allowed: bool, heartbeat_seconds: float, drain_seconds: float
    ) -> None:
        self._key = key
        self._gateway = gateway
        self._allowed = allowed
        self._heartbeat_seconds = heartbeat_seconds
        self._drain_seconds = drain_seconds
        self._wire: nats.Wire | None = None
        self._sessions: set[asyncio.Task[None]] = set()
        self._joining: set[str] = set()

    async def listen(self, wire: nats.Wire) -> None:
        """Answer on this wire from now on. Raises TargetUnavailable."""
        self._wire = wire
        await wire.answer(f"sluice.{self._key.installation}.join", self._asked)

    async def close(self) -> None:
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _asked(self, asked: nats.Question) -> bytes | None:
        """Answer a join; silence for whoever does not have the key."""
        letter = self._key.open(asked.data, b"join")
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
        """Raises InvalidParams, Forbidden, NotLicensed or Busy."""
        if refused := protocol_fault(letter.get("protocol")):
            raise errors.InvalidParams(refused, hint="Install the same version of sluice-mcp on both machines.")
        try:
            join = Join.model_validate(letter)
        except ValidationError as fault:
            first = fault.errors()[0]
            raise errors.InvalidParams(f"{first['loc'][0]}: {first['msg']}.") from None
        if not self._allowed:
            raise errors.Forbidden(
                f"Worker {join.name} comes with a copy of {KEY_FILE}, and each worker has a credential of its own now.",
                hint=f"Make it a token (sluice worker-token create --group {join.group} --name {join.name}) and start"
                " it with --url and --token-file; or set allow_shared_worker_key, which this release still knows.",
            )
        member = External(join.name, join.group, join.slots)
        self._gateway.admit(member)
        if member.name in self._joining:
            raise errors.Busy(f"A worker {member.name} is being let in already.", hint="Try again in some seconds.")
        ours = os.urandom(RANDOM_BYTES)
        of_worker, of_engine = self._key.session(bytes.fromhex(join.random), ours)
        subject = f"sluice.{self._key.installation}.{join.session}"
        self._joining.add(member.name)
        try:
            line = await nats.line(wire, hears=f"{subject}.engine", speaks=f"{subject}.worker")
            try:
                self._gateway.admit(member)  # the engine may have begun to end meanwhile
            except errors.SluiceError:
                await line.close()
                raise
            records = Records(sends=of_engine, receives=of_worker)
            task = asyncio.create_task(self._serve(member, line, records))
            self._sessions.add(task)
            task.add_done_callback(self._sessions.discard)
        finally:
            self._joining.discard(member.name)
        return {
            "random": ours.hex(),
            "heartbeat_seconds": self._heartbeat_seconds,
            "drain_seconds": self._drain_seconds,
        }

    async def _serve(self, member: External, line: nats.NatsLine, records: Records) -> None:
        try:
            await self._gateway.carry(member, line, records)
        finally:
            await line.close()
