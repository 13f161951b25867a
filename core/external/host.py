"""The other machine's side: joins an engine, runs the worker process, and joins again when the way to it was lost."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from core import errors
from core.external import nats
from core.external.gateway import PROTOCOL
from core.external.sealed import RANDOM_BYTES, Records, WorkerKey
from core.external.tunnel import SILENT_BEATS, Tunnel
from core.fleet.child import Spawn
from core.model.worker_group import External
from core.settings import Settings

log = structlog.get_logger("core.external")

ANSWER_SECONDS = 5.0
FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 5.0


async def work(
    url: str, key: WorkerKey, member: External, settings: Settings, spawn: Spawn, told: Callable[[str], None]
) -> None:
    """Be a worker until cancelled; `told` hears one sentence at each change.

    The limits of jobs (exec, addresses, directories) are those of `settings`: of this machine, not of the engine.
    Cancelled, it lets the jobs finish what they have within the drain. Raises what an engine refuses for good, and
    TargetUnavailable without the extra `nats`.
    """
    nats.require()
    wire: nats.Wire | None = None
    backoff, said = FIRST_BACKOFF_SECONDS, ""
    try:
        while True:
            try:
                wire = wire or await nats.connect(url, f"sluice worker {member.name}")
                session = await _join(wire, key, member)
            except (errors.Busy, errors.TargetUnavailable) as not_now:
                if not_now.message != said:  # what goes on for an hour is said once
                    said = not_now.message
                    told(f"{said} It is tried again.")
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)
                continue
            told(f"Worker {member.name} has joined, group {member.group}")
            reason = await _carry(wire, session, member.name, settings, spawn)
            told(f"Worker {member.name} is cut off: {reason}. It joins again.")
            backoff, said = FIRST_BACKOFF_SECONDS, ""
    finally:
        if wire is not None:
            await wire.close()


@dataclass(frozen=True, slots=True)
class _Session:
    """What an engine has granted."""

    inbox: nats.Inbox
    subject: str
    records: Records
    heartbeat_seconds: float
    drain_seconds: float


async def _join(wire: nats.Wire, key: WorkerKey, member: External) -> _Session:
    """Ask to be let in. Raises Busy and TargetUnavailable when another try may do, and what it will not mend."""
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
    inbox = await wire.listen(f"{subject}.worker")  # before the engine can say anything
    try:
        data = await wire.ask(f"sluice.{key.installation}.join", key.seal(asked, b"join"), ANSWER_SECONDS)
        if data is None:
            raise errors.TargetUnavailable("No engine answers: it is not there, or it has another worker key.")
        letter = key.open(data, b"welcome" + ours.hex().encode())
        if letter is None:
            raise errors.TargetUnavailable("An answer came that was not sealed with the worker key.")
        if "error" in letter:
            raise errors.from_dict(letter["error"])
    except errors.SluiceError:
        await inbox.end()
        raise
    of_worker, of_engine = key.session(ours, bytes.fromhex(letter["random"]))
    records = Records(sends=of_worker, receives=of_engine)
    return _Session(inbox, subject, records, letter["heartbeat_seconds"], letter["drain_seconds"])


async def _carry(wire: nats.Wire, session: _Session, name: str, settings: Settings, spawn: Spawn) -> str:
    """Run a worker process for as long as its tunnel lasts; the reason for the end. No process is left."""
    near, far = socket.socketpair()

    async def send(record: bytes) -> None:
        await wire.send(f"{session.subject}.engine", record)

    beat, drain = session.heartbeat_seconds, session.drain_seconds
    take = session.inbox.take
    tunnel = Tunnel(far, session.records, send, take, beat_seconds=beat, chunk_bytes=wire.chunk_bytes)
    with near:
        told = settings.model_copy(update={"heartbeat_seconds": beat, "drain_seconds": drain})
        child = spawn(name, told, near, beat * SILENT_BEATS)
    running = asyncio.create_task(tunnel.run())
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        child.terminate()  # it drains; what it says until its end still goes through the tunnel
        await asyncio.wait([running], timeout=drain + 1.0)
        raise
    finally:
        tunnel.end("the worker has ended")
        await running
        if await child.wait(drain + 1.0) is None:
            child.kill()
            await child.wait(5.0)
        child.close()
        await session.inbox.end()
