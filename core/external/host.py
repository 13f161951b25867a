"""The other machine's side: joins an engine, runs the worker process, and joins again when the way to it was lost."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import structlog

from core import backoff, clock, errors, witness
from core.external.ends import Ends
from core.external.tunnel import SILENT_BEATS, Tunnel
from core.external.watch import Watch
from core.external.ways import Session, Way
from core.fleet import kernel
from core.fleet.child import Child, Spawn
from core.fleet.deaths import Cause
from core.settings import Settings
from core.witness import NOBODY

log = structlog.get_logger("core.external")

FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 30.0
STEADY_SECONDS = 10.0  # a session that lasted for so long was one


async def work(way: Way, settings: Settings, spawn: Spawn, told: Callable[[str], None]) -> None:
    """Be a worker until cancelled; `told` hears one sentence at each change.

    The limits of jobs (exec, addresses, directories) are those of `settings`: of this machine, not of the engine, and
    narrower where the engine has granted less. Cancelled, it lets the jobs finish what they have within the drain.
    Raises what an engine refuses for good, and TargetUnavailable without what the way needs.
    """
    ends: Ends | None = None
    tries, said = 0, ""  # in a row without a session that lasted, and what was told of them
    try:
        while True:
            try:
                session = await way.join()
            except (errors.Busy, errors.TargetUnavailable) as not_now:
                if not_now.message != said:  # what goes on for an hour is said once
                    said = not_now.message
                    told(f"{said} It is tried again.{f' {not_now.hint}' if not_now.hint else ''}")
                tries += 1
                await asyncio.sleep(backoff.pause(tries, FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS))
                continue
            ends = ends or Ends(settings.home / f"{session.name}.end", way.installation, session.name)
            told(f"Worker {session.name} has joined, group {session.group}")
            began = clock.monotonic()
            reason = await _carry(session, settings, spawn, ends)
            told(f"Worker {session.name} is cut off: {reason}. It joins again.")
            said = ""
            tries = 0 if clock.monotonic() - began > STEADY_SECONDS else tries + 1
            if tries > 1:
                await asyncio.sleep(backoff.pause(tries - 1, FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS))
    finally:
        await way.close()


async def _carry(session: Session, settings: Settings, spawn: Spawn, ends: Ends) -> str:
    """Run a worker process for as long as its tunnel lasts; the reason for the end. No process is left.

    What there is to say about the end of the process, `ends` keeps for the next session.
    """
    near, far = socket.socketpair()
    life = witness.life()

    line, beat, drain = session.line, session.heartbeat_seconds, session.drain_seconds
    greeting = ends.greeting(life)
    tunnel = Tunnel(
        far,
        session.records,
        line.send,
        line.take,
        beat_seconds=beat,
        chunk_bytes=line.chunk_bytes,
        greeting=greeting,
    )
    with near:
        own = settings.of_group(session.group).model_copy(update={"heartbeat_seconds": beat, "drain_seconds": drain})
        if session.grant is not None:
            own = session.grant.settings(own)
        child = spawn(session.name, own, near, beat * SILENT_BEATS)
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
            await line.close()


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
