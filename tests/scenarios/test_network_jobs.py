"""Jobs that listen and call, on a real engine: what a sender is told is true also when a worker is killed."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from core.engine import Engine
from tests import processes, waiting
from tests.dsl import web
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


async def accepted(port: int, body: str) -> bool:
    """Whether the job takes a request; a job that does not listen (yet) does not."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    head = f"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(f"{head}{body}".encode())
    try:
        return (await reader.read()).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
    finally:
        writer.close()


async def accepted_soon(port: int, body: str) -> None:
    await waiting.until(lambda: accepted(port, body))  # the worker comes up in its own time


async def workload(engine: Engine, job: str) -> dict[str, Any]:
    (found,) = (await engine.call("job_get", {"name": job}, ADMIN))["workloads"]
    return found


def collector(port: int, path: Path) -> str:
    source = f"{{http-server: {{address: '127.0.0.1:{port}', only-body: true}}}}"
    return f"name: hook\ninput: {source}\noutput: {{file: {{path: {path}, input-field: _raw}}}}\n"


async def test_a_port_in_use_is_the_reason_of_the_job_until_it_is_free(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            await engine.call("job_put", {"document": collector(port, tmp_path / "out")}, ADMIN)
            await engine.call("job_deploy", {"name": "hook"}, ADMIN)
            found = await workload(engine, "hook")
            assert (found["state"], found["reason"]) == (
                "failed",
                f"cannot listen at 127.0.0.1:{port}: the address is in use"
                " (another program or job listens there; the job tries again by itself)",
            )
        await accepted_soon(port, "one")
        assert (tmp_path / "out").read_text() == "one\n"
        await engine.call("job_undeploy", {"name": "hook"}, ADMIN)
        assert not await accepted(port, "late")


@pytest.mark.fresh
async def test_what_was_answered_200_is_there_after_a_worker_was_killed(tmp_path: Path) -> None:
    port, out = free_port(), tmp_path / "out"
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, collector(port, out))
        told: list[str] = []

        async def send(sender: int) -> None:
            for number in range(100):
                told.extend([f"{sender}-{number}"] if await accepted(port, f"{sender}-{number}") else [])

        async with anyio.create_task_group() as group:
            for sender in range(5):
                group.start_soon(send, sender)
            await waiting.until(lambda: len(told) > 20)
            (child,) = processes.children("core.worker")
            child.kill()
        await accepted_soon(port, "after")
        assert set(told) <= set(waiting.lines(out))


async def test_events_go_from_a_request_to_another_site_with_a_secret_in_the_header(tmp_path: Path) -> None:
    port = free_port()
    async with web.serve(web.answer(200)) as site, engine_on(tmp_path / "h", egress_allow=("127.0.0.1",)) as engine:
        await engine.call("secret_set", {"name": "site/token", "value": "hush-hush"}, ADMIN)
        sink = f"{{http-post: {{url: '{site.url('/in')}', auth: {{bearer: '${{secret|site/token}}'}}}}}}"
        source = f"{{http-server: {{address: '127.0.0.1:{port}', only-body: true, json: true}}}}"
        await deploy(engine, f"name: relay\ninput: {source}\noutput: {sink}\n")
        await accepted_soon(port, '{"n": 1}')
        assert site.requests[-1].headers["authorization"] == "Bearer hush-hush"
        assert site.requests[-1].body == b'{"n":1}'
        assert "hush-hush" not in str(await engine.call("job_get", {"name": "relay"}, ADMIN))
    assert not await accepted(port, "x")


async def test_a_sender_is_told_to_come_again_while_the_site_behind_the_job_is_down(tmp_path: Path) -> None:
    port = free_port()
    async with web.serve(web.answer(200)) as site:
        pass
    async with engine_on(tmp_path / "h", egress_allow=("127.0.0.1",)) as engine:
        source = f"{{http-server: {{address: '127.0.0.1:{port}', only-body: true}}}}"
        await deploy(engine, f"name: relay\ninput: {source}\noutput: {{http-post: {{url: '{site.url()}'}}}}\n")
        async with httpx.AsyncClient(trust_env=False) as client:
            reply = await client.post(f"http://127.0.0.1:{port}/", content="x")
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
        found = await waiting.until(
            lambda: engine.call("job_get", {"name": "relay"}, ADMIN), lambda found: found.get("last_failure")
        )
        assert f"cannot reach http://127.0.0.1:{site.port}" in found["last_failure"]["reason"]
