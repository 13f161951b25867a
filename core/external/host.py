"""The other machine's side: joins an engine, runs the worker process, and joins again when the way to it was lost."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from core import backoff, clock, errors, witness
from core.external import nats
from core.external.ends import Ends
from core.external.sealed import RANDOM_BYTES, Records, WorkerKey
from core.external.tunnel import SILENT_BEATS, Tunnel
from core.external.watch import Watch
from core.fleet import kernel
from core.fleet.child import Child, Spawn
from core.fleet.deaths import Cause
from core.model.frames import PROTOCOL
from core.model.worker_group import External
from core.settings import Settings
from core.witness import NOBODY

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
    ends = Ends(settings.home / f"{member.name}.end", key.installation, member.name)
    wire: nats.Wire | None = None
    tries, said = 0, ""  # in a row without joining, and what was told of them
    try:
        while True:
            try:
                wire = wire or await nats.connect(url, f"sluice worker {member.name}")
                session = await _join(wire, key, member)
            except (errors.Busy, errors.TargetUnavailable) as not_now:
                if not_now.message != said:  # what goes on for an hour is said once
                    said = not_now.message
                    told(f"{said} It is tried again.")
                tries += 1
                await asyncio.sleep(backoff.pause(tries, FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS))
                continue
            told(f"Worker {member.name} has joined, group {member.group}")
            reason = await _carry(wire, session, member.name, settings, spawn, ends)
            told(f"Worker {member.name} is cut off: {reason}. It joins again.")
            tries, said = 0, ""
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


async def _carry(wire: nats.Wire, session: _Session, name: str, settings: Settings, spawn: Spawn, ends: Ends) -> str:
    """Run a worker process for as long as its tunnel lasts; the reason for the end. No process is left.

    What there is to say about the end of the process, `ends` keeps for the next session.
    """
    near, far = socket.socketpair()
    life = witness.life()

    async def send(record: bytes) -> None:
        await wire.send(f"{session.subject}.engine", record)

    beat, drain = session.heartbeat_seconds, session.drain_seconds
    take, greeting = session.inbox.take, ends.greeting(life)
    tunnel = Tunnel(
        far, session.records, send, take, beat_seconds=beat, chunk_bytes=wire.chunk_bytes, greeting=greeting
    )
    with near:
        told = settings.model_copy(update={"heartbeat_seconds": beat, "drain_seconds": drain})
        child = spawn(name, told, near, beat * SILENT_BEATS)
    watch = Watch(beat, kernel.killed_for_memory(), clock.monotonic())
    running = asyncio.create_task(tunnel.run())
    watching = asyncio.create_task(_keep_watch(watch, child, tunnel, beat))
    asked, blamed = False, None
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        asked = await child.wait(0.0) is None
        child.terminate()  # it drains; what it says until its end still goes through the tunnel
        await asyncio.wait([running], timeout=drain + 1.0)
        raise
    finally:
        watching.cancel()
        tunnel.end("the worker has ended")
        await running
        _see(watch, child, tunnel)
        if tunnel.heard:
            ends.greeted()
        ending = asyncio.create_task(_end(child, watch, drain))
        try:
            blamed = await asyncio.shield(ending)
        except asyncio.CancelledError:  # a supervisor that saw a process die may stop what is left at once
            blamed = await ending
            raise
        finally:
            if blamed is not None and not asked:
                ends.keep(life, *blamed)
            await session.inbox.end()


async def _end(child: Child, watch: Watch, drain_seconds: float) -> tuple[Cause, int] | None:
    """Make sure that a process has ended; who is to blame for that."""
    code = await child.wait(0.0 if watch.silent else drain_seconds + 1.0)
    if code is None:
        child.kill()
        code = await child.wait(5.0)
    seen = child.seen()
    blamed = watch.verdict(code, kernel.killed_for_memory(), seen) if seen is not None else None
    child.close()
    return blamed


async def _keep_watch(watch: Watch, child: Child, tunnel: Tunnel, beat_seconds: float) -> None:
    while not tunnel.ended:
        await asyncio.sleep(beat_seconds)
        _see(watch, child, tunnel)


def _see(watch: Watch, child: Child, tunnel: Tunnel) -> None:
    seen = child.seen()
    running = seen.running if seen is not None else NOBODY
    watch.observe(tunnel.idle_since, running, kernel.stopped(child.pid), kernel.killed_for_memory(), clock.monotonic())
