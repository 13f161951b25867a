"""Bytes that no client library sends, to real processes over HTTP and stdio: an answer or an end in time, no fault of
ours, no growth, and nothing of another tenant touched."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import orjson
import psutil
import pytest

from mcp_server.cli import stage
from tests.attacks import rawbytes
from tests.attacks.rig import TRIGGER

pytestmark = pytest.mark.anyio

ANSWER_SECONDS = 5.0
START_SECONDS = 30.0
GROWTH_BYTES = 50 * 1024 * 1024
AT_ONCE = 8
SIZES = [pytest.param(600, id="ci"), pytest.param(12_000, id="soak", marks=pytest.mark.soak)]


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


async def _send(port: int, request: bytes) -> bytes:
    """What comes back for the bytes until the server closes. Raises TimeoutError when it does neither."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def push() -> None:
        try:
            writer.write(request)
            await writer.drain()
            writer.write_eof()
        except OSError:
            pass  # it has closed already, which is an answer

    pushing = asyncio.ensure_future(push())
    got = bytearray()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            while part := await reader.read(65536):
                got += part
                if b"text/event-stream" in got and b"\r\n\r\n" in got:
                    break  # a stream goes on until its reader leaves
    except ConnectionError:
        pass
    finally:
        pushing.cancel()
        writer.close()
    return bytes(got[:2000])


@pytest.mark.parametrize("count", SIZES)
async def test_http_answers_or_closes_whatever_it_is_sent(tmp_path: Path, count: int) -> None:
    server = stage.Stage(tmp_path / "home", SLUICE_LOG_LEVEL="warning")
    statuses: Counter[str] = Counter()
    await server.start(0)
    try:
        for tenant in ("default", "tenant-b"):
            await server.http("POST", "/api/triggers/publish", tenant, **{**TRIGGER, "tenant_id": tenant})
        process = psutil.Process(server.pid)
        token = (tmp_path / "home" / "admin.token").read_text().strip().encode()
        authority = server.url.removeprefix("http://").encode()
        port = int(authority.rpartition(b":")[2])
        requests = rawbytes.http(17, count, authority, token)
        others, memory = _of_others(tmp_path / "home"), 0

        async def one() -> None:
            nonlocal memory
            for request in requests:
                try:
                    got = await _send(port, request)
                except TimeoutError:
                    raise AssertionError(f"neither answered nor closed: {request[:600]!r}") from None
                found = [int(text) for text in re.findall(rb"(?:\A|\n)HTTP/1\.1 ([0-9]{3})", got)]
                assert all(status < 500 for status in found), (request[:600], got)
                statuses.update(map(str, found or ["closed"]))
                if memory == 0 and statuses.total() > count // 6:
                    memory = process.memory_info().rss  # warm: every path has been taken

        with anyio.fail_after(60 + count / 20):
            await asyncio.gather(*(one() for _ in range(AT_ONCE)))
        assert process.is_running() and (await server.http("GET", "/health")).result["status"] == "ok"
        assert process.memory_info().rss - memory < GROWTH_BYTES
        assert _of_others(tmp_path / "home") == others
    finally:
        await server.stop()
    log = (tmp_path / "serve.log").read_text(errors="replace")
    assert "Traceback" not in log and "ERROR" not in log, log[-3000:]  # what a client does wrong is no fault of ours
    assert {"400", "401", "404", "413", "421", "422"} <= set(statuses), statuses  # it was not all of one kind
    print(dict(statuses))


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("era", ["2025-06-18", "2026-07-28"])
async def test_stdio_speaks_the_protocol_whatever_it_is_told(tmp_path: Path, era: str, count: int) -> None:
    program = "from mcp_server.cli.main import main_mcp; main_mcp()"
    command = [sys.executable, "-c", program, "--home", str(tmp_path / "home"), "--allow-write"]
    answers: Counter[str] = Counter()
    with (tmp_path / "stderr").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            limit=64 * 1024 * 1024, env={**stage.environment(), "SLUICE_WORKERS": "0"},
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
    assert answers["error"] > count / 10, answers
    print(dict(answers))
