"""Connections that say little: over a thousand of them, held by a process that may open 256 files."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from mcp_server.cli import stage
from tests import waiting

pytestmark = pytest.mark.anyio
FILES = 256
HALF_SENT = 1100
SLUICE = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))
from mcp_server.cli import main
sys.argv[0] = "sluice"
main.main()
"""
HALF = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: "


@pytest.fixture(autouse=True)
def _room_for_the_attacker() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * HALF_SENT + 512
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this process may open {hard} files, and the attack takes {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def server(tmp_path: Path, *flags: str) -> AsyncIterator[tuple[str, Path]]:
    """The address of a `sluice serve` that may open FILES files, and its log."""
    log = tmp_path / "log"
    serve = ["serve", "--home", str(tmp_path / "home"), "--port", "0", "--workers", "1"]
    limited = [sys.executable, "-c", SLUICE, *serve, *flags]
    with log.open("wb") as out:
        process = await anyio.open_process(limited, stdout=out, stderr=out, env=stage.environment())
    try:

        def url() -> str:
            found = [line for line in waiting.lines(log) if line.startswith(stage.LISTENS)]
            return found[0].split()[3] if found else ""

        yield await waiting.until(url), log
    finally:
        with anyio.CancelScope(shield=True):
            process.terminate()
            await process.aclose()


@contextmanager
def held(connections: list[socket.socket]) -> Iterator[None]:
    try:
        yield
    finally:
        for one in connections:
            one.close()


def half_sent(port: int, source: str, count: int) -> list[socket.socket]:
    """Connections that have sent a part of a head; the server may have ended some of them."""
    made = []
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))
        made.append(one)
        try:
            one.sendall(HALF)
        except OSError:
            continue  # sent away already
    return made


async def health(url: str, source: str) -> int:
    transport = httpx.AsyncHTTPTransport(local_address=source, verify=False)
    async with httpx.AsyncClient(transport=transport, base_url=url, timeout=5, trust_env=False) as client:
        return (await client.get("/health")).status_code


async def local(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [stage.program("sluice"), *words, "--home", str(tmp_path / "home")]
    with anyio.fail_after(20):
        return await anyio.run_process(command, check=False, env=stage.environment())


def refused(text: str, door: str) -> int:
    start = f'sluice_connections_refused_total{{door="{door}"'
    return sum(int(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(start))


@pytest.mark.parametrize(
    "flags", [pytest.param((), id="http", marks=pytest.mark.soak), pytest.param(("--tls",), id="https")]
)
async def test_half_sent_requests_take_nothing_from_others(tmp_path: Path, flags: tuple[str, ...]) -> None:
    async with server(tmp_path, *flags) as (url, log):
        port = int(url.rpartition(":")[2])
        attack = await anyio.to_thread.run_sync(half_sent, port, "127.0.0.1", HALF_SENT)
        with held(attack):
            assert await health(url, "127.0.0.2") == 200
            assert await health(url, "127.0.0.1") == 200, "and the address that does it is not shut out either"
            told = await local(tmp_path, "worker", "list")
            assert told.returncode == 0, told.stderr.decode()
            assert b"local-1" in told.stdout
            token = (tmp_path / "home" / "admin.token").read_text().strip()
            async with httpx.AsyncClient(base_url=url, verify=False, trust_env=False) as client:
                metrics = (await client.get("/metrics", headers={"authorization": f"Bearer {token}"})).text
            assert 'sluice_connections_most{door="http"} 128' in metrics
            assert refused(metrics, "http") > HALF_SENT / 2
        assert len(log.read_bytes()) < 4096, "one line for all of it"
        assert "connections_refused" in log.read_text()
        assert await health(url, "127.0.0.1") == 200


async def test_processes_that_hold_the_socket_of_the_engine_and_say_nothing_shut_nobody_out(tmp_path: Path) -> None:
    async with server(tmp_path) as (url, log):
        attack = []
        for _ in range(HALF_SENT // 4):
            one = socket.socket(socket.AF_UNIX)
            one.connect(str(tmp_path / "home" / "engine.sock"))
            attack.append(one)
        with held(attack):
            told = await local(tmp_path, "worker", "list")
            assert told.returncode == 0, told.stderr.decode()
            assert await health(url, "127.0.0.1") == 200
        assert len(log.read_bytes()) < 4096


async def test_bodies_that_are_never_ended_take_nothing_from_others(tmp_path: Path) -> None:
    """Of the admin's key, of a bad one and of nobody, from as many addresses as it takes to fill the server."""
    async with server(tmp_path) as (url, _):
        port = int(url.rpartition(":")[2])
        token = (tmp_path / "home" / "admin.token").read_text().strip()
        for key in (f"Authorization: Bearer {token}\r\n", "Authorization: Bearer sluice_bad\r\n", ""):
            head = f"POST /api/kv/set HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}"
            head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
            attack = []
            for number in range(FILES):
                source = (f"127.0.0.{number % 5 + 3}", 0)
                one = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=source)
                attack.append(one)
                try:
                    one.sendall(head.encode())
                except OSError:
                    continue
            with held(attack):
                assert await health(url, "127.0.0.2") == 200
                assert await health(url, "127.0.0.3") == 200, "and an address that does it is not shut out either"
                told = await local(tmp_path, "worker", "list")
                assert told.returncode == 0, told.stderr.decode()


async def test_waits_and_streams_of_one_user_leave_most_connections_to_others(tmp_path: Path) -> None:
    """However many the settings allow: a server that may open 256 files holds 128 connections."""
    async with server(tmp_path) as (url, log):
        token = (tmp_path / "home" / "admin.token").read_text().strip()
        head = f"GET /api/jobs/subscription HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
        port = int(url.rpartition(":")[2])
        attack = []
        for number in range(FILES // 2):
            source = (f"127.0.0.{number % 5 + 3}", 0)
            one = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=source)
            attack.append(one)
            one.sendall(head.encode())
        with held(attack):
            answers = Counter([(await anyio.to_thread.run_sync(one.recv, 12))[9:] for one in attack])
            assert answers == {b"200": 32, b"429": 96}
            assert await health(url, "127.0.0.3") == 200
        assert "Traceback" not in log.read_text()


async def test_the_end_of_a_server_with_open_waits_is_told_in_a_line(tmp_path: Path) -> None:
    async with server(tmp_path) as (url, log):
        token = (tmp_path / "home" / "admin.token").read_text().strip()
        head = f"GET /api/jobs/subscription HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
        one = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10)
        one.sendall(head.encode())
        assert (await anyio.to_thread.run_sync(one.recv, 12)) == b"HTTP/1.1 200"
    with held([one]):
        told = log.read_text()
    assert "timeout graceful shutdown exceeded" in told
    assert "Traceback" not in told and "CancelledError" not in told
