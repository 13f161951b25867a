"""A run that hangs is ended on a real worker, which goes on with everything else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest

from tests import waiting
from tests.engines import ADMIN, deploy, engine_on
from tests.triggers.rig import DEFINITION, path

pytestmark = pytest.mark.anyio

POSTS = """
name: smoke_trigger_handler
input:
  echo:
    trigger: {message: {filter-kind: user, filter-type: [user-generated], filter-tag: smoke.invoke}}
    json: true
    event: '{"env": "${msg|job_event.params.env}"}'
output: {http-post: {url: "http://127.0.0.1:PORT/${env}", timeout: 5m}}
emit: {respond: {result: {posted: true}}}
"""


async def test_a_run_whose_request_hangs_is_ended_and_the_others_of_its_worker_are_not(tmp_path: Path) -> None:
    asked: list[str] = []
    answer = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n")).decode().split()[1])
        if asked[-1] == "/kept":
            await answer.wait()
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        else:
            await reader.read()  # until the client gives up
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, engine_on(tmp_path / "home", egress_allow=("127.0.0.0/8",)) as engine:
        await engine.call("trigger_publish", {**DEFINITION, "response_timeout_seconds": 600}, ADMIN)
        await deploy(engine, POSTS.replace("PORT", str(port)))

        async def invoke(env: str) -> str:
            arguments = {"slug": "smoke_trigger", "params": {"env": env}, "wait_timeout_seconds": 0}
            return str((await engine.call("trigger_invoke", arguments, ADMIN))["invocation_id"])

        hangs = await invoke("hangs")
        await waiting.until(lambda: asked)
        kept = await invoke("kept")
        before = (await engine.call("worker_list", {}, ADMIN))["items"]
        with anyio.fail_after(30):
            given = {"invocation_id": hangs, "reason": "it hangs"}
            ended = await engine.call("trigger_invocation_cancel", given, ADMIN)
            assert (ended["state"], ended["result"]["confirmed"]) == ("canceled", True)
            answer.set()
            waited = {"invocation_id": kept, "wait_seconds": 30}
            assert (await engine.call("trigger_invocation_get", waited, ADMIN))["state"] == "succeeded"
        after = (await engine.call("trigger_invocation_get", {"invocation_id": hangs}, ADMIN))["events"]
        assert path({"events": after}) == ["accepted", "dispatched", "cancel_requested", "canceled"], (
            "it answers nothing"
        )
        assert [one["pid"] for one in (await engine.call("worker_list", {}, ADMIN))["items"]] == [
            one["pid"] for one in before
        ]
