"""Several `sluice-mcp` processes on one home directory: what one does, the clients of the others hear and see."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TextIO

import anyio
import mcp
import mcp_types as types
import pytest
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.subscriptions import ToolsListChanged

from core import ownership

pytestmark = pytest.mark.anyio

DEFINITION = {
    "slug": "smoke",
    "target_job_name": "smoke_handler",
    "publication": {"mcp": True},
    "parameter_schema": {"type": "object", "properties": {"x": {"type": "string"}}},
}


@pytest.fixture
def silent() -> Iterator[TextIO]:
    with Path(os.devnull).open("w") as file:
        yield file


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return home


@asynccontextmanager
async def session(home: Path, silent: TextIO, era: str, *flags: str, **more: Any) -> AsyncIterator[mcp.Client]:
    """A client of a sluice-mcp process of its own."""
    program = "from mcp_server.cli.main import main_mcp; main_mcp()"
    parameters = StdioServerParameters(
        command=sys.executable, args=["-c", program, "--home", str(home), *flags], env={"SLUICE_WORKERS": "0"}
    )
    async with mcp.Client(stdio_client(parameters, errlog=silent), mode=era, **more) as client:
        yield client


async def names(client: mcp.Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools]


async def test_sessions_of_both_eras_hear_what_another_process_published(home: Path, silent: TextIO) -> None:
    heard = anyio.Event()

    async def on_message(message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            heard.set()

    with anyio.fail_after(30):
        async with (
            session(home, silent, "legacy", "--allow-write", message_handler=on_message) as earlier,
            session(home, silent, "2026-07-28", "--allow-write") as modern,
            session(home, silent, "2026-07-28", "--allow-write") as publisher,
        ):
            for client in (earlier, modern):
                assert "trigger_invoke_smoke" not in await names(client)
            async with modern.listen(tools_list_changed=True) as stream:
                published = await publisher.call_tool("trigger_publish", DEFINITION)
                assert published.structured_content["tool_name"] == "trigger_invoke_smoke"
                assert await anext(aiter(stream)) == ToolsListChanged()
            await heard.wait()
            for client in (earlier, modern, publisher):
                assert "trigger_invoke_smoke" in await names(client)
            # Nothing is deployed that could take the message: the run is recorded, and has failed.
            ran = await modern.call_tool("trigger_invoke_smoke", {"x": "a", "_idempotency_key": "k"})
            again = await earlier.call_tool("trigger_invoke_smoke", {"x": "a", "_idempotency_key": "k"})
            assert ran.structured_content["state"] == "failed"
            assert again.structured_content["invocation_id"] == ran.structured_content["invocation_id"]
            wrong = await earlier.call_tool("trigger_invoke_smoke", {"x": 1})
            assert wrong.structured_content["error"]["errors"][0]["pointer"] == "/x"


async def test_a_session_goes_on_when_the_owner_is_killed(home: Path, silent: TextIO) -> None:
    with anyio.fail_after(30):
        async with session(home, silent, "legacy", "--allow-write") as owner:
            await names(owner)
            first = ownership.owner_pid(home)
            async with session(home, silent, "legacy", "--allow-write") as attached:
                await attached.call_tool("trigger_publish", DEFINITION)
                assert first is not None
                os.kill(first, signal.SIGKILL)
                assert "trigger_invoke_smoke" in await names(attached)
                await attached.call_tool("trigger_deactivate", {"slug": "smoke"})
                assert "trigger_invoke_smoke" not in await names(attached)
                assert ownership.owner_pid(home) != first


async def test_a_reader_beside_a_writer_changes_nothing(home: Path, silent: TextIO) -> None:
    with anyio.fail_after(30):
        async with (
            session(home, silent, "legacy", "--allow-write") as writer,
            session(home, silent, "legacy") as reader,
        ):
            await writer.call_tool("trigger_publish", DEFINITION)
            listed = await names(reader)
            assert [name for name in listed if "invoke_" in name or "publish" in name] == []
            for tool, arguments in (("trigger_publish", DEFINITION), ("trigger_invoke_smoke", {})):
                refused = await reader.call_tool(tool, arguments)
                assert refused.structured_content["error"]["code"] == "write_disabled"
                assert "--allow-write" in refused.structured_content["error"]["hint"]
            runs = await reader.call_tool("trigger_invocation_list", {})
            assert runs.structured_content["total"] == 0
