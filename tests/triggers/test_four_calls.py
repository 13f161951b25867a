"""The page "From a handler to a trigger in four calls", called as it stands, over MCP."""

from __future__ import annotations

from pathlib import Path

import anyio
import mcp
import orjson
import pytest

from core.settings import Settings
from mcp_server import attach, protocol
from mcp_server.door import Door
from mcp_server.session import EngineSession
from tests import fences
from tests.mcp_server import fake

pytestmark = pytest.mark.anyio
PAGE = fences.of_page(fences.DOCS / "first-trigger.md")


async def test_the_four_calls_answer(tmp_path: Path) -> None:
    calls = fences.calls_of(PAGE)
    assert [name for name, _ in calls] == ["job_put", "job_deploy", "trigger_publish", "trigger_invoke_count_words"]
    settings = Settings(home=tmp_path / "home", workers=1)
    async with attach.open_session(settings) as session:

        async def opened() -> EngineSession:
            return session

        options = fake.options(allow_write=True, toolsets=("jobs", "triggers"))
        with anyio.fail_after(60):
            async with mcp.Client(protocol.build(Door(opened, options, "memory"))) as client:
                for name, arguments in calls:
                    answer = await client.call_tool(name, arguments)
                    assert not answer.is_error, answer.content
                    if name == "trigger_publish":
                        assert answer.structured_content["warnings"] == []
    (said,) = [orjson.loads(fence.text) for fence in PAGE if fence.name == "answer"]
    record = answer.structured_content
    assert (record["state"], record["result"]["trigger_response"]["result"]) == ("succeeded", said)


def test_the_handler_that_is_shown_is_the_one_that_is_sent() -> None:
    (shown,) = [fence.text for fence in PAGE if fence.kind == "yaml"]
    assert fences.calls_of(PAGE)[0][1]["document"] == shown
