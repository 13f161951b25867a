"""Bytes that no client library sends, to real processes over HTTP and stdio: an answer or an end in time, no fault of
ours, no growth, and nothing of another tenant touched."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import psutil
import pytest

from mcp_server.cli import stage
from tests import figures
from tests.attacks import rawbytes
from tests.attacks.rig import TRIGGER

pytestmark = pytest.mark.anyio

ANSWER_SECONDS = 5.0
START_SECONDS = 30.0
GROWTH_BYTES = 50 * 1024 * 1024
AT_ONCE = 8
SIZES = [pytest.param(300, id="ci"), pytest.param(12_000, id="soak", marks=pytest.mark.soak)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _of_others(home: Path) -> str:
    """A digest of every row of tenant-b."""
    connection = sqlite3.connect(f"file:{home / 'sluice.db'}?mode=ro", uri=True)
    try:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = []
        for table in sorted(tables):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            if "tenant" in columns and table != "audit":
                rows += [
                    (table, *row) for row in connection.execute(f"SELECT * FROM {table} WHERE tenant = 'tenant-b'")
                ]
    finally:
        connection.close()
    assert any(row[0] == "triggers" for row in rows), "there is something that could be touched"
    return hashlib.sha256(repr(sorted(map(repr, rows))).encode()).hexdigest()


async def _send(port: int, request: bytes, whole: bool = False) -> bytes:
    """What comes back for the bytes until the server closes. Raises TimeoutError when it does neither.

    The client says that there is no more, which a server may take for its leaving; not behind a `whole` request.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def push() -> None:
        try:
            writer.write(request)
            await writer.drain()
            if not whole:
                writer.write_eof()
        except OSError:
            pass  # it has closed already, which is an answer

    pushing = asyncio.ensure_future(push())
    got = bytearray()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            while part := await reader.read(65536):
                got += part
                if b"text/event-stream" in got and b"\r\n\r\n" in got and not request.startswith(b"POST /mcp "):
                    break  # a stream goes on until its reader leaves; that of a call ends with its answer
    except ConnectionError:
        pass
    finally:
        pushing.cancel()
        writer.close()
    return bytes(got[:2000])


@asynccontextmanager
async def _serving(tmp_path: Path) -> AsyncIterator[tuple[stage.Stage, bytes, bytes]]:
    """A server with a trigger of two tenants, its authority and a token; at its end nothing in its log is a fault."""
    server = stage.Stage(tmp_path / "home", SLUICE_LOG_LEVEL="warning")
    await server.start(0)
    try:
        for tenant in ("default", "tenant-b"):
            await server.http("POST", "/api/triggers/publish", tenant, **{**TRIGGER, "tenant_id": tenant})
        token = (tmp_path / "home" / "admin.token").read_text().strip().encode()
        yield server, server.url.removeprefix("http://").encode(), token
    finally:
        await server.stop()
    log = (tmp_path / "serve.log").read_text(errors="replace")
    assert "Traceback" not in log and "ERROR" not in log, log[-3000:]  # what a client does wrong is no fault of ours


async def _stands(
    server: stage.Stage, home: Path, requests: Iterator[tuple[bytes, bool]], count: int, recorder: figures.Recorder
) -> Counter[str]:
    """Send all requests, some at once; returns how often each status, and each code of a JSON-RPC error, came back."""
    answers: Counter[str] = Counter()
    process = psutil.Process(server.pid)
    port = int(server.url.rpartition(":")[2])
    others, memory, done = _of_others(home), 0, 0

    async def one() -> None:
        nonlocal memory, done
        for request, whole in requests:
            try:
                got = await _send(port, request, whole)
            except TimeoutError:
                raise AssertionError(f"neither answered nor closed: {request[:600]!r}") from None
            found = [int(text) for text in re.findall(rb"(?:\A|\n)HTTP/1\.1 ([0-9]{3})", got)]
            codes = re.findall(rb'"code":(-[0-9]+)', got)
            assert all(status < 500 for status in found) and b"-32603" not in codes, (request[:600], got)
            assert found or not whole, request[:600]
            answers.update(map(str, found or ["closed"]))
            answers.update(code.decode() for code in codes)
            done += 1
            if memory == 0 and done > count // 6:
                memory = process.memory_info().rss  # warm: every path has been taken

    with anyio.fail_after(60 + count / 20):
        await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    figures.record(recorder, requests=done)
    assert process.is_running() and (await server.http("GET", "/health")).result["status"] == "ok"
    assert process.memory_info().rss - memory < GROWTH_BYTES
    assert _of_others(home) == others
    print(dict(answers))
    return answers


@pytest.mark.parametrize("count", SIZES)
async def test_http_answers_or_closes_whatever_it_is_sent(
    tmp_path: Path, count: int, record_property: figures.Recorder
) -> None:
    async with _serving(tmp_path) as (server, authority, token):
        requests = ((request, False) for request in rawbytes.http(17, count, authority, token))
        answers = await _stands(server, tmp_path / "home", requests, count, record_property)
    assert {"400", "401", "404", "413", "421", "422"} <= set(answers), answers  # it was not all of one kind


@pytest.mark.parametrize("count", [pytest.param(600, id="ci"), SIZES[1]])
async def test_mcp_over_http_answers_or_closes_whatever_it_is_sent(
    tmp_path: Path, count: int, record_property: figures.Recorder
) -> None:
    async with _serving(tmp_path) as (server, authority, token):
        session = await _session(server.url, token.decode())
        requests = rawbytes.mcp(29, count, authority, token, session.encode())
        answers = await _stands(server, tmp_path / "home", requests, count, record_property)
        assert await _session(server.url, token.decode()) != session, "it still speaks the protocol"
    assert {"200", "202", "400", "401", "404", "421", "-32602", "-32601"} <= set(answers), answers
    assert answers["200"] > count / 60, answers


async def _session(url: str, token: str) -> str:
    """Open a session of the older protocol; returns its id."""
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient(headers=headers, timeout=ANSWER_SECONDS) as client:
        hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about}
        answer = await client.post(f"{url}/mcp", json=hello)
        assert answer.status_code == 200, answer.text
        session = answer.headers["mcp-session-id"]
        told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await client.post(f"{url}/mcp", json=told, headers={"Mcp-Session-Id": session})).status_code == 202
        return session


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("era", ["2025-06-18", "2026-07-28"])
async def test_stdio_speaks_the_protocol_whatever_it_is_told(
    tmp_path: Path, era: str, count: int, record_property: figures.Recorder
) -> None:
    program = "from mcp_server.cli.main import main_mcp; main_mcp()"
    command = [sys.executable, "-c", program, "--home", str(tmp_path / "home"), "--allow-write"]
    answers: Counter[str] = Counter()
    with (tmp_path / "stderr").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            limit=64 * 1024 * 1024, env=stage.environment(),
        )  # fmt: skip
    assert process.stdin and process.stdout
    reader, writer = process.stdout, process.stdin

    async def ask(message: dict[str, Any], seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        writer.write(orjson.dumps(message) + b"\n")
        while True:
            line = await asyncio.wait_for(reader.readline(), seconds)
            said = orjson.loads(line)  # only JSON comes out of it
            assert isinstance(said, dict) and said["jsonrpc"] == "2.0", line[:300]
            answers["error" if "error" in said else "result" if "result" in said else "notice"] += 1
            if "error" in said:
                assert said["error"]["code"] != -32603, line[:500]
            if said.get("id") == message["id"]:
                return said

    try:
        with anyio.fail_after(60 + count / 20):
            probe: dict[str, Any] = {"jsonrpc": "2.0", "method": "tools/list"}
            if era == "2025-06-18":
                about = {"protocolVersion": era, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
                await ask({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": about}, START_SECONDS)
                writer.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
            else:  # the first request decides about the connection
                meta = {"protocolVersion": era, "clientCapabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
                probe["params"] = {"_meta": {f"io.modelcontextprotocol/{name}": value for name, value in meta.items()}}
                await ask({**probe, "id": "hello"}, START_SECONDS)
            memory = 0
            for number, line in enumerate(rawbytes.lines(23, count)):
                writer.write(line + b"\n")
                if number % 10 == 9:
                    await writer.drain()
                    said = await ask({**probe, "id": f"probe {number}"})
                    assert "result" in said, said
                if memory == 0 and number > count // 6:
                    memory = psutil.Process(process.pid).memory_info().rss
            assert psutil.Process(process.pid).memory_info().rss - memory < GROWTH_BYTES
            writer.close()
            await asyncio.wait_for(process.wait(), 4)
            assert process.returncode == 0
            rest = await reader.read()
            assert all(orjson.loads(line)["jsonrpc"] == "2.0" for line in rest.splitlines())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    figures.record(record_property, requests=count)
    assert answers["error"] > count / 10, answers
    print(dict(answers))
