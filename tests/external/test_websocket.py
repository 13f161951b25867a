"""Workers that join by the address of `sluice serve`: with a one-time token, through nginx, and out again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from core.external.line import PATH, SUBPROTOCOL
from core.external.websocket import MOST_BYTES
from mcp_server.cli import codes, stage
from mcp_server.http import serving
from tests import waiting
from tests.external import rig
from tests.mcp_server.service import test_proxies as proxies

pytestmark = pytest.mark.anyio

SECONDS = 90.0
FAST = {"SLUICE_HEARTBEAT_SECONDS": "0.5", "SLUICE_DRAIN_SECONDS": "2"}
RUNS = 40


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[stage.Stage]:
    made = stage.Stage(tmp_path / "home", **FAST)
    try:
        await made.start(workers=1)
        await made.must("POST", "/api/worker-groups", name="edge", tenants=["default"])
        yield made
    finally:
        with anyio.fail_after(30, shield=True):
            await made.stop()


async def token(scene: stage.Stage, file: Path, **wanted: Any) -> Path:
    made = await scene.must("POST", "/api/worker-tokens", group="edge", **wanted)
    rig.keep(file, made["token"])
    return file


async def state(scene: stage.Stage, name: str = "edge-1") -> str:
    rows = (await scene.must("GET", "/api/workers"))["items"]
    return next((row["state"] for row in rows if row["name"] == name), "")


async def online(scene: stage.Stage, name: str = "edge-1") -> None:
    async def found() -> bool:
        return await state(scene, name) == "online"

    await waiting.until(found)


async def deployed(scene: stage.Stage, group: str = "edge") -> None:
    await scene.must("POST", "/api/triggers/publish", **{**rig.DEFINITION, "tenant_id": "default"})
    await scene.must("POST", "/api/jobs", document=rig.HANDLER)
    await scene.must("POST", "/api/jobs/smoke_trigger_handler/deploy", worker_group=group)


async def run(scene: stage.Stage) -> str:
    wanted = {"params": {"env": "prod"}, "wait_timeout_seconds": 60}
    return str((await scene.must("POST", "/api/triggers/smoke_trigger/invoke", **wanted))["state"])


async def test_a_worker_joins_with_a_token_works_and_says_good_bye(scene: stage.Stage, tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        file = await token(scene, tmp_path / "token")
        async with rig.machine(tmp_path / "edge", scene.url, file) as edge:
            await edge.says("is enrolled in group edge")
            await online(scene)
            await deployed(scene)
            assert {await one for one in [asyncio.create_task(run(scene)) for _ in range(20)]} == {"succeeded"}
            edge.signal(signal.SIGTERM)
            assert await edge.ended() == 0
        assert await state(scene) == "offline", "it said good-bye: it is not lost"
        file.unlink()
        async with rig.machine(tmp_path / "edge", scene.url, file) as edge:
            await edge.says("has joined")
            assert await run(scene) == "succeeded"


async def test_a_worker_finds_its_engine_again_after_kill_9_and_after_a_good_end(tmp_path: Path) -> None:
    held = serving.bind("127.0.0.1", 0)
    port = held.getsockname()[1]
    held.close()
    scene = stage.Stage(tmp_path / "home", SLUICE_PORT=str(port), SLUICE_WORKERS="1", **FAST)
    try:
        with anyio.fail_after(SECONDS):
            await scene.start()
            await scene.must("POST", "/api/worker-groups", name="edge", tenants=["default"])
            async with rig.machine(tmp_path / "edge", scene.url, await token(scene, tmp_path / "token")) as edge:
                await online(scene)
                await deployed(scene)
                for number in (signal.SIGKILL, signal.SIGTERM):
                    os.kill(scene.pid, number)
                    await scene.stop()
                    await scene.start()
                    await online(scene)
                    assert await run(scene) == "succeeded"
                assert not edge.silent
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()


async def test_through_nginx_with_a_one_time_token_and_revoked_in_mid_batch(scene: stage.Stage, tmp_path: Path) -> None:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    folder = tmp_path / "proxy"
    folder.mkdir()
    with anyio.fail_after(2 * SECONDS):
        async with proxies.behind("nginx", folder, scene.url.removeprefix("http://")) as (port, _):
            url = f"https://127.0.0.1:{port}"
            file = await token(scene, tmp_path / "token", name="edge-1")
            async with rig.machine(tmp_path / "edge", url, file) as edge:
                await online(scene)
                (row,) = (await scene.must("GET", "/api/worker-credentials"))["items"]
                assert (row["state"], row["address"]) == ("active", "127.0.0.1")
                await deployed(scene)
                batch = [asyncio.create_task(run(scene)) for _ in range(RUNS)]
                await batch[0]
                ended = await scene.must("POST", "/api/workers/edge-1/revoke")
                assert ended["state"] == "revoked"
                assert await edge.ended() == codes.REFUSED
                assert "was revoked" in "".join(edge.said)
            async with rig.machine(tmp_path / "thief", url, file) as thief:
                assert await thief.ended() == codes.REFUSED
                assert "used up" in "".join(thief.said)
            second = await token(scene, tmp_path / "second")
            async with rig.machine(tmp_path / "other", url, second, "edge-2"):
                await online(scene, "edge-2")
                await scene.must("POST", "/api/jobs/smoke_trigger_handler/deploy", worker_group="edge")
                assert {await one for one in batch} == {"succeeded"}, "nothing that was accepted is lost"


# -- who is no worker --------------------------------------------------------------------------------------


def address(scene: stage.Stage) -> str:
    return scene.url.replace("http", "ws", 1) + PATH


NOWHERE = [
    (PATH, {"origin": "https://evil.example"}, 403),
    (PATH, {"host": "evil.example"}, 421),
    ("/api/workers", {}, 400),
    ("/mcp", {}, 400),
    ("/", {}, 400),
]


async def test_a_socket_is_given_to_workers_and_nowhere_else(scene: stage.Stage) -> None:
    with anyio.fail_after(SECONDS):
        for path, headers, status in NOWHERE:
            answer = await upgraded(scene, path, headers)
            assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
        await refuse_noise(scene)


async def upgraded(scene: stage.Stage, path: str, headers: dict[str, str]) -> bytes:
    """What a request for a socket is answered."""
    head = {"host": scene.url.removeprefix("http://"), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: sluice.worker.2\r\n"
    host, _, port = scene.url.removeprefix("http://").partition(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send(f"GET {path} HTTP/1.1\r\n{lines}{upgrade}{key}\r\n".encode())
        return await stream.receive()


async def refuse_noise(scene: stage.Stage) -> None:
    """Whoever speaks otherwise, says nothing or sends too much is let go."""
    protocol = [Subprotocol(SUBPROTOCOL)]
    with pytest.raises(InvalidStatus) as refused:
        await connect(address(scene))
    assert refused.value.response.status_code == 400
    for said in (b"", b"x" * 40, "a text", b"x" * (MOST_BYTES + 1)):
        async with connect(address(scene), subprotocols=protocol, compression=None, proxy=None) as line:
            await line.send(said)
            with pytest.raises(ConnectionClosed):
                await line.recv()
    silent = [await connect(address(scene), subprotocols=protocol, proxy=None) for _ in range(6)]
    for line in silent:
        with pytest.raises(ConnectionClosed):
            await line.recv()
    assert (await scene.http("GET", "/api/workers")).code == "", "the server goes on"
