"""`sluice serve` as a process: where it listens, who may call, how it ends."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import mcp
import orjson
import pytest
from anyio.abc import ByteReceiveStream
from mcp.client.streamable_http import streamable_http_client

from core import errors, ownership
from core.model import principal
from mcp_server import loopback
from mcp_server.cli import codes, serve, stage
from mcp_server.http import connection, console, serving
from tests import waiting
from tests.running import running

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[stage.Stage]:
    """A server for tests that leave it as it was."""
    async with running(tmp_path_factory.mktemp("serve"), workers=0) as scene:
        yield scene


async def sluice(*words: str) -> subprocess.CompletedProcess[bytes]:
    with anyio.fail_after(30):
        return await anyio.run_process([stage.program("sluice"), *words], check=False, env=stage.environment())


async def test_the_first_start_leaves_a_token_for_its_owner_alone(scene: stage.Stage) -> None:
    path = scene.home / "admin.token"
    assert path.stat().st_mode & 0o777 == 0o600
    tokens = await scene.must("GET", "/api/tokens")
    assert [(token["role"], token["tenants"]) for token in tokens["items"]] == [("admin", ["*"])]
    assert path.read_text().strip() not in str(tokens)


async def test_on_every_address_it_answers_to_the_name_of_the_host_and_to_no_other(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [stage.program("sluice"), "serve", "--home", str(tmp_path / "home"), "--host", "0.0.0.0", "--port", "0"]
    with log.open("wb") as out:
        process = await anyio.open_process(
            [*command, "--workers", "0"], stdout=out, stderr=out, env=stage.environment()
        )
    try:

        def port() -> int:
            found = [line for line in waiting.lines(log) if line.startswith(stage.LISTENS)]
            return int(found[0].split()[3].rpartition(":")[2]) if found else 0

        at = f"https://127.0.0.1:{await waiting.until(port)}"
        async with httpx.AsyncClient(base_url=at, verify=False, trust_env=False) as client:
            await waiting.until(lambda: any("Open on every address" in line for line in waiting.lines(log)))
            for name, status in ((socket.gethostname(), 200), ("localhost", 200), ("evil.example", 421)):
                assert (await client.get("/health", headers={"host": name})).status_code == status, name
    finally:
        with anyio.CancelScope(shield=True):
            process.terminate()
            await process.aclose()


async def test_the_operator_gets_a_token_also_when_there_are_some_that_open_nothing(tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    user = await sluice("token", "create", "--home", home, "--username", "ci")
    assert user.returncode == 0
    made = stage.Stage(tmp_path / "home")
    try:
        with anyio.fail_after(30):
            await made.start(workers=0)
            assert {token["role"] for token in (await made.must("GET", "/api/tokens"))["items"]} == {"admin", "user"}
    finally:
        with anyio.fail_after(30, shield=True):
            await made.stop()


async def test_a_server_works_through_the_session_that_came_first_and_takes_over_when_that_one_is_killed(
    tmp_path: Path,
) -> None:
    made = stage.Stage(tmp_path / "home")
    try:
        with anyio.fail_after(60):
            async with made.mcp("default", "all") as first:
                await first.tools()  # the first request opens the engine
                pid = ownership.owner_pid(made.home)
                assert pid is not None
                await made.start(workers=0)
                assert f"through the engine of process {pid}" in (tmp_path / "serve.log").read_text()
                await made.must("POST", "/api/kv/set", namespace="n", key="k", value=1)
                assert (await first.call("kv_get", namespace="n", key="k")).result["value"] == 1
                token = await made.must("POST", "/api/auth/token")
                again = await _mint(made, token["access_token"])
                assert (again.status_code, again.json()["code"]) == (403, "forbidden"), "a JWT mints no other one"
                os.kill(pid, signal.SIGKILL)
                await made.must("POST", "/api/kv/set", namespace="n", key="k", value=2)
                assert (await made.must("GET", "/api/kv/value?namespace=n&key=k"))["value"] == 2
                assert ownership.owner_pid(made.home) == made.pid
    finally:
        with anyio.fail_after(30, shield=True):
            await made.stop()


async def _mint(made: stage.Stage, token: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=made.url, trust_env=False) as client:
        return await client.post("/api/auth/token", headers={"authorization": f"Bearer {token}"})


async def test_sigterm_ends_it_with_0_and_the_home_is_free(tmp_path: Path) -> None:
    made = stage.Stage(tmp_path / "home")
    try:
        with anyio.fail_after(60):
            for _ in range(2):
                await made.start(workers=0)
                assert (await made.must("GET", "/api/tokens"))["total"] == 1
                assert await made.stop() == 0
                assert not (made.home / "engine.sock").exists()
    finally:
        with anyio.fail_after(30, shield=True):
            await made.stop()


async def test_a_port_that_is_taken_is_a_plain_error(scene: stage.Stage, tmp_path: Path) -> None:
    port = scene.url.rpartition(":")[2]
    done = await sluice("serve", "--home", str(tmp_path / "other"), "--port", port)
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in done.stderr.decode()
    assert not (tmp_path / "other").exists()


async def test_without_authentication_it_listens_on_loopback_only(tmp_path: Path) -> None:
    done = await sluice("serve", "--home", str(tmp_path / "home"), "--host", "0.0.0.0", "--port", "0", "--auth", "none")
    assert done.returncode == codes.USAGE
    assert "loopback only" in done.stderr.decode()


async def test_a_message_reaches_the_stream(scene: stage.Stage) -> None:
    token = (scene.home / "admin.token").read_text().strip()
    headers = {"authorization": f"Bearer {token}"}
    with anyio.fail_after(10):
        async with httpx.AsyncClient(base_url=scene.url, headers=headers, trust_env=False) as client:
            async with client.stream("GET", "/api/messages/subscribe") as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                assert await anext(answer.aiter_lines()) == "retry: 3000"


async def test_mcp_is_served_to_bearers_of_a_token(scene: stage.Stage) -> None:
    token = (scene.home / "admin.token").read_text().strip()
    with anyio.fail_after(20):
        async with httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}) as http:
            async with mcp.Client(streamable_http_client(f"{scene.url}/mcp", http_client=http)) as client:
                names = [tool.name for tool in (await client.list_tools()).tools]
                listed = await client.call_tool("trigger_list", {})
        async with httpx.AsyncClient(base_url=scene.url, trust_env=False) as stranger:
            refused = await stranger.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert "deployment_get" in names
    assert "deployment_apply" not in names
    assert listed.structured_content == {"items": [], "next_cursor": None, "total": 0}
    assert refused.status_code == 401


async def test_a_head_without_end_is_cut_off(scene: stage.Stage) -> None:
    port = int(scene.url.rpartition(":")[2])
    with anyio.fail_after(20):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ")
            await stream.send(b"x" * connection.MAX_HEAD_BYTES)
            assert (await stream.receive()).startswith(b"HTTP/1.1 431 ")
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            for _ in range(3):  # a long-lived connection may send any number of ordinary requests
                await stream.send(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 40000 + b"\r\n\r\n")
                answer = b""
                while not answer.endswith(b'{"status":"ok"}'):
                    answer += await stream.receive()
                assert answer.startswith(b"HTTP/1.1 200 OK")


JOB = 'name: once\ninput: {echo: {event: "{}", json: true}}\noutput: {print: STDOUT}\n'


async def test_messages_can_be_followed(tmp_path: Path) -> None:
    scene = stage.Stage(tmp_path / "home")
    words = ["messages", "--follow", "--type", "job-run-ended", "--home", str(scene.home)]
    try:
        with anyio.fail_after(30):
            await scene.start(workers=1)
            async with await anyio.open_process([stage.program("sluice"), *words], env=stage.environment()) as follower:
                assert follower.stderr is not None
                assert follower.stdout is not None
                assert b"Following" in await follower.stderr.receive()
                await scene.must("POST", "/api/jobs", document=JOB)
                await scene.must("POST", "/api/jobs/once/deploy")
                told = orjson.loads(await follower.stdout.receive())
                follower.terminate()
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()
    assert (told["message_type"], told["job_name"]) == ("job-run-ended", "once")


async def test_a_command_that_outlives_the_engine_ends_with_a_sentence_and_is_none_itself(tmp_path: Path) -> None:
    scene = stage.Stage(tmp_path / "home")
    words = ["worker", "list", "--watch", "--home", str(scene.home)]
    try:
        with anyio.fail_after(60):
            await scene.start(workers=1)
            await scene.must(
                "POST", "/api/jobs", document=JOB.replace("once", "ever").replace("json: true", "interval: 1h")
            )
            await scene.must("POST", "/api/jobs/ever/deploy")
            async with await anyio.open_process([stage.program("sluice"), *words], env=stage.environment()) as watcher:
                assert watcher.stderr is not None and watcher.stdout is not None
                assert b"local-1" in await watcher.stdout.receive()
                os.kill(scene.pid, signal.SIGKILL)
                said = b"".join([part async for part in watcher.stderr])
                assert await watcher.wait() == codes.NO_ENGINE
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()
    assert said.decode().splitlines() == [
        f"error: target_unavailable: No engine is running on {scene.home}.",
        f"  hint: Start one: sluice serve --home {scene.home}",
    ]


async def test_messages_that_are_followed_go_on_where_they_were_when_the_engine_was_killed(tmp_path: Path) -> None:
    scene = stage.Stage(tmp_path / "home")
    words = ["messages", "--follow", "--home", str(scene.home)]
    seen: list[str] = []
    said = bytearray()

    async def hear(notes: ByteReceiveStream) -> None:
        async for part in notes:
            said.extend(part)

    async def follow(printed: ByteReceiveStream) -> None:
        rest = b""
        async for part in printed:
            *lines, rest = (rest + part).split(b"\n")
            seen.extend(orjson.loads(line)["id"] for line in lines)

    async def more() -> None:
        before = len(seen)
        await waiting.until(lambda: len(seen) > before + 20)

    async def away(kills: int) -> None:
        gone = b"This goes on when there is an engine again."
        await waiting.until(lambda: said.count(gone) == kills)

    try:
        with anyio.fail_after(90):
            await scene.start(workers=1)
            async with (
                await anyio.open_process([stage.program("sluice"), *words], env=stage.environment()) as follower,
                anyio.create_task_group() as tasks,
            ):
                assert follower.stderr is not None and follower.stdout is not None
                assert b"Following" in await follower.stderr.receive()
                tasks.start_soon(follow, follower.stdout)
                tasks.start_soon(hear, follower.stderr)
                often = JOB.replace("json: true", "json: true, trigger: {interval: 50ms}")
                await scene.must("POST", "/api/jobs", document=often)
                await scene.must("POST", "/api/jobs/once/deploy")
                for kills in (1, 2):
                    await more()
                    os.kill(scene.pid, signal.SIGKILL)
                    await scene.stop()  # what it leaves
                    await away(kills)
                    await scene.start(workers=1)
                await more()
                follower.terminate()
            kept, after = [], seen[0]
            while items := (await scene.must("GET", f"/api/messages?after={after}&limit=100"))["items"]:
                kept += [item["id"] for item in items]
                after = kept[-1]
                if after >= seen[-1]:
                    break
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()
    assert seen == sorted(set(seen))
    assert seen[1:] == [id for id in kept if id <= seen[-1]]


async def test_a_large_body_is_refused_and_the_connection_lives(scene: stage.Stage) -> None:
    token = (scene.home / "admin.token").read_text().strip()
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    with anyio.fail_after(20):
        async with httpx.AsyncClient(base_url=scene.url, headers=headers, trust_env=False) as client:
            large = await client.post("/api/jobs", content=b"x" * 10_000_000)
            after = await client.get("/api/workers")
    assert large.status_code == 413
    assert after.status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9"])
async def test_an_address_of_this_machine_alone_is_loopback(host: str) -> None:
    assert loopback.is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", ""])
async def test_any_other_address_is_not(host: str) -> None:
    assert not loopback.is_loopback(host)


async def test_an_address_that_is_not_ours_cannot_be_listened_on() -> None:
    with pytest.raises(errors.InvalidParams, match="Cannot listen") as refused:
        serving.bind("203.0.113.7", 0)
    assert "--host" in refused.value.hint


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "Name an address of this machine with --host",
        ),
        (PermissionError(errno.EACCES, "Permission denied"), "Choose a --port from 1024 on"),
        (OSError(errno.EADDRINUSE, "Address already in use"), "Choose another --port, or stop what listens there."),
    ],
)
async def test_what_to_do_fits_why_it_cannot_listen(monkeypatch: pytest.MonkeyPatch, error: OSError, hint: str) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(errors.InvalidParams) as refused:
        serving.bind("nosuch.example.invalid", 80)
    assert refused.value.hint.startswith(hint)


@pytest.mark.parametrize("ended", [errors.Busy, errors.Unconfirmed])
async def test_a_server_starts_also_when_the_engine_of_another_process_ends_meanwhile(
    monkeypatch: pytest.MonkeyPatch, ended: type[errors.SluiceError]
) -> None:
    class Gone:
        async def call(self, *_: Any) -> dict[str, Any]:
            raise ended("The engine went away.")

    monkeypatch.setattr(console, "available", lambda: True)
    gone: Any = Gone()
    told = await serve._console(gone, principal.SYSTEM, "http://x")
    assert told == "http://x/console/  (a link that signs in: sluice console)"
