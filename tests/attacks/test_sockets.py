"""Connections that say little: over a thousand of them, held by a process that may open 256 files."""

from __future__ import annotations

import resource
import socket
import subprocess
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
    serve = [stage.program("sluice"), "serve", "--home", str(tmp_path / "home"), "--port", "0", "--workers", "1"]
    limited = ["sh", "-c", f'ulimit -n {FILES} && exec "$@"', "sh", *serve, *flags]
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


@pytest.mark.parametrize("flags", [(), ("--tls",)], ids=["http", "https"])
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


async def test_what_an_address_may_hold_is_bounded_also_when_its_connections_are_at_work(tmp_path: Path) -> None:
    """Each of these has sent the head of a request and a part of its body."""
    async with server(tmp_path) as (url, _):
        port = int(url.rpartition(":")[2])
        token = (tmp_path / "home" / "admin.token").read_text().strip()
        head = f"POST /api/kv/set HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        attack = []
        for _ in range(FILES // 2):
            one = socket.create_connection(("127.0.0.1", port), timeout=10)
            attack.append(one)
            try:
                one.sendall(head.encode())
            except OSError:
                continue
        with held(attack):
            assert await health(url, "127.0.0.2") == 200
            with pytest.raises(httpx.HTTPStatusError, match="503"):
                transport = httpx.AsyncHTTPTransport(local_address="127.0.0.1")
                async with httpx.AsyncClient(transport=transport, base_url=url, trust_env=False) as client:
                    (await client.get("/health")).raise_for_status()
        assert await health(url, "127.0.0.1") == 200
