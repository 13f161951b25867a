"""The ways by which a worker joins its engine: with a credential of its own over one of the wires, or with a copy of
the key of the installation over NATS (shared_key)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from core import errors, natsclient
from core.external import credential, handshake, membership, nats, websocket
from core.external.assertion import Claim, inbox
from core.external.credential import Held
from core.external.identity import installation
from core.external.line import Line, LineBroken
from core.external.membership import Admitted, Enrolled
from core.external.sealed import RANDOM_BYTES, Records, WorkerKey
from core.model.enrolment import EnrolmentState, WorkerGrant, token_id
from core.model.frames import PROTOCOL
from core.model.worker_group import External

ANSWER_SECONDS = 10.0
LISTENING = b"listening"


@dataclass(frozen=True, slots=True)
class Session:
    """What an engine has granted."""

    line: Line
    records: Records
    name: str
    group: str
    heartbeat_seconds: float
    drain_seconds: float
    grant: WorkerGrant | None = None


class Way(Protocol):
    """Whoever has one closes it."""

    @property
    def installation(self) -> str:
        """Names the engine in files."""

    async def join(self) -> Session:
        """Join. Raises Busy and TargetUnavailable when another try may do, and what it will not mend."""

    async def close(self) -> None:
        """Let go of what it keeps open."""


class Wire(Protocol):
    """What opens lines to an engine."""

    async def open(self, claim: Claim) -> Line:
        """A line to the engine that the claim is for. Raises TargetUnavailable."""

    async def close(self) -> None:
        """Let go of what it keeps open."""


class OverWebSocket:
    """To the address of `sluice serve`; each line is a connection."""

    def __init__(self, url: str, ca_file: Path | None) -> None:
        """Raises InvalidParams."""
        websocket.address(url)
        self._url = url
        self._tls = websocket.trust(url, ca_file)

    async def open(self, claim: Claim) -> Line:
        return await websocket.dial(self._url, self._tls)

    async def close(self) -> None:
        """Nothing is open between lines."""


class OverNats:
    """Over a NATS server, to which one connection is kept, for as long as somebody connects as the same."""

    def __init__(self, url: str) -> None:
        """Raises TargetUnavailable without the extra `nats`."""
        nats.require()
        self._url = url
        self._wire: nats.Wire | None = None
        self._who = ""  # what it is connected as
        self._space = ""

    async def wire(self, claim: Claim | None = None) -> nats.Wire:
        """A connection, on which a server that asks is told the claim, unless the address has a user's name and
        password. Raises TargetUnavailable."""
        who = "" if claim is None else claim.who
        if self._wire is not None and (self._wire.ended.is_set() or self._who != who):
            await self.close()
        if self._wire is None:
            options: dict[str, Any] = {}
            if claim is not None:
                space = claim.space
                options = {"inbox_prefix": inbox(space)}
                if not natsclient.has_credentials(self._url):
                    options["token"] = lambda: claim.write(space)
                self._space = space
            self._wire, self._who = await nats.connect(self._url, "sluice worker", "worker", **options), who
        return self._wire

    async def open(self, claim: Claim) -> Line:
        wire, name = await self.wire(claim), os.urandom(16).hex()
        engine = installation(claim.engine)
        subject = f"sluice.{engine}.{self._space}.{name}"
        line = await nats.line(wire, hears=f"{subject}.worker", speaks=f"{subject}.engine")
        said = await wire.ask(f"sluice.{engine}.meet.{self._space}", name.encode(), ANSWER_SECONDS)
        if said is not None and said != LISTENING:
            await line.close()
            raise errors.Busy("Too many workers join this engine at once.")
        if said is None:
            await line.close()
            raise errors.TargetUnavailable("The engine of this worker does not answer.", hint="Does it run?")
        return line

    async def close(self) -> None:
        if self._wire is not None:
            await self._wire.close()
            self._wire = None


class ByCredential:
    """With the credential in a file, which a token is redeemed for when there is none, or when it is another token than
    the one that the credential came by."""

    def __init__(
        self,
        wire: Wire,
        path: Path,
        *,
        token: str,
        name: str,
        host: str,
        slots: int,
        told: Callable[[str], None],
    ) -> None:
        """`name` is what the worker has to be called, if that is said; else what its token says, or as its `host`.
        `token` is the text of one, or empty. What is asked for lies beside `path` until it is given: what was there
        counts until then.

        Raises StorageUnavailable (a file), InvalidParams (no token and no credential, or that of another worker).
        """
        self._wire = wire
        self._path = path
        self._name = name
        self._host = host
        self._slots = slots
        self._told = told
        self._token = token
        self._instance = os.urandom(16).hex()
        found = credential.read(path)
        if token and (found is None or found.token != token_id(token)):
            asking = path.with_name(f"{path.name}.asked")
            asked = credential.read(asking)  # else the answer to the same request was lost
            found = asked if asked is not None and asked.token == token_id(token) else credential.begin(asking, token)
        if found is None:
            raise errors.InvalidParams(
                "This worker was not let in yet.",
                hint="Make it a token on the side of the engine (sluice worker-token create --group GROUP), and name"
                " the file with it: --token-file.",
            )
        if name and found.enrolled and found.name != name:
            raise errors.InvalidParams(
                f"This home is that of worker {found.name}, and not of {name}.",
                hint=f"Give each worker a --home of its own; or let this one in as {name} with a new token.",
            )
        self._held: Held = found

    @property
    def installation(self) -> str:
        return installation(self._held.engine)

    async def join(self) -> Session:
        if not self._held.enrolled:
            await self._enrol()
        if self._held.due:
            await self._rotate()
        line = await self._wire.open(self._held.claim(self._token))
        try:
            asked = await _asked(
                line,
                self._held.engine,
                lambda transcript: self._held.join(self._slots, self._instance, transcript),
            )
            admitted = Admitted.model_validate(asked.answer)
        except BaseException:
            await line.close()
            raise
        grant = WorkerGrant(admitted.group, can=tuple(admitted.can))
        return Session(
            line,
            asked.records,
            admitted.name,
            admitted.group,
            admitted.heartbeat_seconds,
            admitted.drain_seconds,
            grant,
        )

    async def _enrol(self) -> None:
        held = self._held
        made = await self._exchange(lambda transcript: held.enrol(self._token, self._name, self._host, transcript))
        held.enrolled_as(made, self._path)
        waits = " It waits until somebody approves it." if made.state is EnrolmentState.PENDING else ""
        self._told(f"Worker {made.name} is enrolled in group {made.group}, key {held.fingerprint}.{waits}")

    async def _rotate(self) -> None:
        self._held.prepare()
        self._held.rotated(await self._exchange(self._held.rotate))
        self._told(f"Worker {self._held.name} has a new key, {self._held.fingerprint}")

    async def _exchange(self, write: Callable[[bytes], membership.Enrol | membership.Rotate]) -> Enrolled:
        line = await self._wire.open(self._held.claim(self._token))
        try:
            return Enrolled.model_validate((await _asked(line, self._held.engine, write)).answer)
        finally:
            await line.close()

    async def close(self) -> None:
        if self._held.ephemeral:  # it ends with the good-bye of this program
            self._held.forget()
        await self._wire.close()


@dataclass(frozen=True, slots=True)
class _Answered:
    answer: dict[str, object]
    records: Records


async def _asked(line: Line, engine: str, write: Callable[[bytes], membership.Asked]) -> _Answered:
    """Ask an engine. Raises what it refuses, TargetUnavailable, Unauthenticated."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            answer, records = await handshake.ask(
                line, engine, lambda transcript: write(transcript).model_dump(mode="json")
            )
    except TimeoutError:
        raise errors.TargetUnavailable("The engine of this worker does not answer in time.") from None
    except LineBroken as broken:
        raise errors.TargetUnavailable(f"The engine of this worker does not answer: {broken}.") from None
    return _Answered(membership.granted(answer), records)


class BySharedKey:
    """With a copy of the key of the installation, over NATS."""

    def __init__(self, wire: OverNats, key: WorkerKey, member: External) -> None:
        self._wire = wire
        self._key = key
        self._member = member

    @property
    def installation(self) -> str:
        return self._key.installation

    async def join(self) -> Session:
        key, member = self._key, self._member
        wire = await self._wire.wire()
        ours, name = os.urandom(RANDOM_BYTES), os.urandom(16).hex()
        asked = {
            "protocol": PROTOCOL,
            "random": ours.hex(),
            "session": name,
            "name": member.name,
            "group": member.group,
            "slots": member.slots,
        }
        subject = f"sluice.{key.installation}.{name}"
        line = await nats.line(wire, hears=f"{subject}.worker", speaks=f"{subject}.engine")
        try:
            data = await wire.ask(f"sluice.{key.installation}.join", key.seal(asked, b"join"), ANSWER_SECONDS)
            if data is None:
                raise errors.TargetUnavailable("No engine answers: it is not there, or it has another worker key.")
            letter = key.open(data, b"welcome" + ours.hex().encode())
            if letter is None:
                raise errors.TargetUnavailable("An answer came that was not sealed with the worker key.")
            membership.granted(letter)
        except BaseException:
            await line.close()
            raise
        of_worker, of_engine = key.session(ours, bytes.fromhex(letter["random"]))
        records = Records(sends=of_worker, receives=of_engine)
        beat, drain = letter["heartbeat_seconds"], letter["drain_seconds"]
        return Session(line, records, member.name, member.group, beat, drain)

    async def close(self) -> None:
        await self._wire.close()
