"""A worker child process: `python -m core.worker`, joined to the owner by one end of a socketpair."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import Protocol

import orjson

from core import witness
from core.guard import filepolicy
from core.settings import Settings
from core.witness import Seen, Witness

# A worker gets a fixed environment: nothing that a caller's shell happened to hold reaches the jobs.
# HOME is where Python finds packages of the user; once they are known, a worker has an empty one (core.confinement).
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "SSL_CERT_FILE")
CLOUD_ENVIRONMENT = ("AWS_", "GOOGLE_", "AZURE_")  # beginnings of names; with the setting cloud_credentials


class Child(Protocol):
    """What the fleet needs of a worker process."""

    @property
    def pid(self) -> int | None:
        """Its process id on this machine, if it runs here."""

    def terminate(self) -> None:
        """Ask it to drain and end."""

    def kill(self) -> None:
        """End it at once."""

    async def wait(self, seconds: float) -> int | None:
        """Its exit code, or None when it has not ended after `seconds`."""

    def seen(self) -> Seen | None:
        """What its witness shows, also when it has ended; None when it has none that can be read here."""

    def close(self) -> None:
        """Let go of what is left of it; it has ended."""


class Spawn(Protocol):
    """Starts a worker with one end of a socketpair; `lease_seconds` see core.worker.lease, 0 for none."""

    def __call__(self, name: str, settings: Settings, sock: socket.socket, lease_seconds: float = 0.0, /) -> Child: ...


class Process:
    """A child as an operating system process."""

    def __init__(self, popen: subprocess.Popen[bytes], witness: Witness) -> None:
        self._popen = popen
        self._witness = witness
        self.pid: int | None = popen.pid

    def terminate(self) -> None:
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self._popen.poll() is None:
            self._popen.kill()

    async def wait(self, seconds: float) -> int | None:
        def ended() -> int | None:
            try:
                return self._popen.wait(seconds)
            except subprocess.TimeoutExpired:
                return None

        return await asyncio.get_running_loop().run_in_executor(None, ended)

    def seen(self) -> Seen | None:
        return self._witness.seen()

    def close(self) -> None:
        self._witness.close()


def environment() -> dict[str, str]:
    """The environment of a worker. No plugin of pydantic is let in: it would see what documents hold."""
    kept = {key: value for key, value in os.environ.items() if key in KEPT_ENVIRONMENT}
    return {**kept, "PYDANTIC_DISABLE_PLUGINS": "__all__"}


def cloud_variables(settings: Settings) -> dict[str, str] | None:
    """What jobs may know of the operator's credentials for clouds: nothing unless the setting says so.

    They are no part of the environment: a client library would mix them with what a document names.
    """
    if not settings.cloud_credentials:
        return None
    return {key: value for key, value in os.environ.items() if key.startswith(CLOUD_ENVIRONMENT)}


def spawn(name: str, settings: Settings, sock: socket.socket, lease_seconds: float = 0.0, /) -> Child:
    """Start a worker that inherits `sock`, its witness and nothing else.

    Its stdout is our stderr, for stdout may be a protocol. Raises OSError, and leaves nothing then.
    """
    options = {
        "name": name,
        "home": str(settings.home),
        "heartbeat_seconds": settings.heartbeat_seconds,
        "drain_seconds": settings.drain_seconds,
        "allow_exec": settings.allow_exec,
        "sandbox": settings.sandbox,
        "egress_allow": list(settings.egress_allow),
        "listen_allow": list(settings.listen_allow),
        "closed_ports": sorted(settings.ports_closed_to_jobs),
        "files": filepolicy.of(settings),
        "disk_reserve_mb": settings.disk_reserve_mb,
        "job_memory_mb": settings.job_memory_mb,
        "memory_mb": settings.worker_memory_mb,
        "log_level": settings.log_level,
        "nats": settings.nats,
        "stream_replicas": settings.jetstream_replicas,
        "cloud": cloud_variables(settings),
        "lease_seconds": lease_seconds,
    }
    fd = witness.make()
    try:
        seen = Witness(fd)
        try:
            return Process(_popen(sock.fileno(), fd, settings, orjson.dumps(options)), seen)
        except BaseException:
            seen.close()
            raise
    finally:
        os.close(fd)


def _popen(sock: int, shown: int, settings: Settings, options: bytes) -> subprocess.Popen[bytes]:
    popen = subprocess.Popen(
        [sys.executable, "-P", "-m", "core.worker", "--fd", str(sock), "--witness", str(shown)],
        pass_fds=(sock, shown),
        stdin=subprocess.PIPE,
        stdout=2,
        env=environment(),
        start_new_session=True,  # Ctrl-C is the owner's: it drains its workers
    )
    assert popen.stdin is not None
    with contextlib.suppress(BrokenPipeError), popen.stdin:  # a child that is dead already is noticed by its exit
        popen.stdin.write(options + b"\n")  # without its end it is not whole, and the child ends
    return popen
