"""Streams of states begin with what is so now."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core.model.principal import Caller
from core.settings import Settings
from mcp_server import attach
from mcp_server.http import sse, streams
from tests.engines import ADMIN

pytestmark = pytest.mark.anyio
WAITING = """
name: {}
input: {{echo: {{trigger: {{message: {{filter-tag: never}}}}, event: "x"}}}}
output: {{discard: {{}}}}
"""
TRIGGER = {
    "slug": "ask",
    "tenant_id": "tenant-a",
    "display_name": "Ask",
    "description": "Asks what nobody answers.",
    "parameter_schema": {"type": "object"},
    "target_job_name": "one",
    "target_message_tag": "never",
    "publication": {"mcp": True},
    "invoke_policy": {"allow_admin": True},
    "response_slot": "answer",
    "response_timeout_seconds": 60,
}
CALLER = Caller(ADMIN.principal, ADMIN.tenant, ADMIN.surface, allow_write=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def told(parts: sse.Parts, count: int) -> list[dict[str, Any]]:
    async with contextlib.aclosing(parts):
        with anyio.fail_after(20):
            assert await anext(parts) == sse.CONNECTED
            texts = [(await anext(parts)).decode() for _ in range(count)]
    return [orjson.loads(text.split("data: ", 1)[1]) for text in texts]


async def test_a_stream_begins_with_the_workloads_and_invocations_that_there_are(tmp_path: Path) -> None:
    async with attach.open_session(Settings(home=tmp_path / "home", workers=1)) as session:
        for name in ("one", "two"):
            await session.call("job_put", {"document": WAITING.format(name)}, CALLER)
            await session.call("job_deploy", {"name": name}, CALLER)
        await session.call("trigger_publish", TRIGGER, CALLER)
        asked = await session.call("trigger_invoke", {"slug": "ask", "wait_timeout_seconds": 0}, CALLER)
        assert asked["state"] == "dispatched", asked
        found = await told(streams.jobs(session, CALLER, {}, sse.Reader()), 2)
        assert [(one["workload"], one["state"]) for one in found] == [
            ("tenant-a/one#0", "running"),
            ("tenant-a/two#0", "running"),
        ]
        assert all(one["at_ns"] > 0 for one in found)
        assert (await told(streams.jobs(session, CALLER, {"job": "two"}, sse.Reader()), 1))[0]["job"] == "two"
        for wanted in ({}, {"state": "dispatched"}):
            assert await told(streams.invocations(session, CALLER, wanted, sse.Reader()), 1) == [
                {"invocation_id": asked["invocation_id"], "state": "dispatched"}
            ]
