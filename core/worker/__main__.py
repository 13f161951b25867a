"""`python -m core.worker`: a worker process, started by an engine that hands it one end of a socketpair."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import fcntl
import gc
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import structlog

from core import channel, errors, logs, reserve
from core.confinement import sandbox
from core.dsl.inputs import descendants
from core.guard import open_places
from core.model import frames
from core.witness import Witness
from core.worker import ceiling, predecessor, redact
from core.worker.lease import Lease
from core.worker.runtime import Options, Runtime

log = structlog.get_logger("core.worker")
HELD_SECONDS = 5.0  # after its lease and a drain, a loop that is held ends its process, also with nobody to kill it


def main(arguments: list[str] | None = None) -> int:
    """Run until the engine goes away, or until SIGTERM and the end of the drain."""
    parser = argparse.ArgumentParser(
        prog="python -m core.worker",
        description="A Sluice worker: runs jobs for the engine at the other end of an inherited socket. Its options"
        " (name, home and limits, a line of JSON) come over stdin.",
    )
    parser.add_argument("--fd", type=int, required=True, help="the inherited end of the socketpair")
    parser.add_argument("--witness", type=int, required=True, help="the inherited file that says whose code runs")
    given = parser.parse_args(arguments)
    line = sys.stdin.readline()  # not an argument: others on this machine see those
    if not line.endswith("\n"):
        return 1  # whoever started this process was killed before it had said what to be
    options = Options.from_json(line)
    witness = Witness(given.witness)
    os.close(given.witness)
    sock = socket.socket(fileno=given.fd)
    logs.configure(options.log_level, worker=options.name)
    lock = _be_the_only_one(options)
    try:
        if options.allow_exec:
            _end_commands(lock_file(options))
        confined = _confine(options, sock)  # before any thread is started: each would stay outside
        lease = _lease(options, witness) if options.lease_seconds else None
        reserve.keep(options.disk_reserve_mb)
        ceiling.keep(options.memory_mb * 2**20, witness)
        runtime = Runtime(options, lease, witness, confined)
        sys.stderr = redact.Stream(sys.stderr, runtime.redactors)
        logs.configure(options.log_level, worker=options.name)  # into that stream, also what libraries log
        _end_with_parent(options.drain_seconds)
        asyncio.run(_serve(runtime, sock))
    finally:
        os.close(lock)
    return 0


def _confine(options: Options, sock: socket.socket) -> sandbox.Sandbox:
    """Enter the sandbox; one that is required and cannot be is told to the engine, and ends this process."""
    home = Path(options.home)
    places = open_places.of(options.files, [str(home / "state")], programs=options.allow_exec, home=options.home)
    named = [value for value in (options.cloud or {}).values() if value.startswith("/")]  # files with credentials
    places = replace(places, read=(*places.read, *named))
    try:
        return sandbox.enter(options.sandbox, places, home / "scratch" / options.name)
    except errors.TargetUnavailable as error:
        channel.last_frame(sock, frames.encode(frames.Unconfined(error.message)))
        sys.exit(f"worker {options.name}: {error.message}")


async def _serve(runtime: Runtime, sock: socket.socket) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, runtime.drain)
    gc.collect()
    gc.freeze()
    await runtime.serve(sock)


def _be_the_only_one(options: Options) -> int:
    """The lock of this worker's name; when the process that had it before (under a dead engine) does not end, exits."""
    try:
        return predecessor.take(lock_file(options))
    except errors.Busy as error:
        sys.exit(f"worker {options.name}: {error.message} {error.hint}".rstrip())


def _lease(options: Options, witness: Witness) -> Lease:
    """What this worker holds is somebody else's when its lease is over: nothing of it may run here then."""

    def end_at_once(silent_seconds: float) -> None:
        witness.nobody()  # whose turn it is now has not begun
        log.error("worker_stood_still", seconds=round(silent_seconds, 1))
        sys.stderr.flush()
        os._exit(1)

    longest = options.lease_seconds + options.drain_seconds + HELD_SECONDS

    def wind_up() -> None:  # a thread of C, which needs no lock of the interpreter; 2: stderr, below what cleans it
        faulthandler.dump_traceback_later(longest, exit=True, file=2)

    return Lease(options.lease_seconds, end_at_once, renewed=wind_up)


def lock_file(options: Options) -> Path:
    return Path(options.home) / "state" / f"{options.name}.lock"


def _end_commands(own: Path) -> None:
    """Kill what this worker, before it was killed, and workers that are gone have left running.

    From within a sandbox the commands of an earlier one cannot be seen, and two of one job must not run.
    """
    gone = [own]
    for lock in own.parent.glob("*.lock"):
        with contextlib.suppress(OSError), lock.open("rb") as held:  # of one that lives it cannot be had
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            gone.append(lock)
    if killed := descendants.kill_of(gone):
        log.warning("commands_ended", killed=killed, reason="a worker that was killed had left them")


def _end_with_parent(drain_seconds: float) -> None:
    """Make sure that this process ends when the engine dies, also when a job keeps the event loop busy.

    The closed socket is the ordinary signal; this thread is for a loop that cannot hear it.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        time.sleep(drain_seconds + 1.0)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
