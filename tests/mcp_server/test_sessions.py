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
from mcp.client.subscriptions import ResourceUpdated, ToolsListChanged

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
    (home / "sluice.toml").write_text("workers = 0\n")
    (home / "sluice.toml").chmod(0o600)
    return home


@asynccontextmanager
async def session(home: Path, silent: TextIO, era: str, *flags: str, **more: Any) -> AsyncIterator[mcp.Client]:
    """A client of a sluice-mcp process of its own."""
    program = "from mcp_server.cli.main import main_mcp; main_mcp()"
    parameters = StdioServerParameters(
        command=sys.executable, args=["-c", program, "--home", str(home), *flags], env={}
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


async def test_who_follows_a_workflow_hears_of_an_edit_in_another_process(home: Path, silent: TextIO) -> None:
    text = "kind: workflow\nslug: mine\ntitle: Mine\nsteps: []\n"
    flags = ("--allow-write", "--toolsets", "all")
    with anyio.fail_after(30):
        async with (
            session(home, silent, "2026-07-28", *flags) as reader,
            session(home, silent, "2026-07-28", *flags) as author,
        ):
            await reader.list_tools()
            async with reader.listen(resource_subscriptions=["workflow://mine"]) as stream:
                saved = await author.call_tool("workflow_save_draft", {"document": text})
                assert not saved.is_error
                assert await anext(aiter(stream)) == ResourceUpdated(uri="workflow://mine")
            read = await reader.read_resource("workflow://mine")
            assert '"title": "Mine"' in read.contents[0].text


async def test_what_a_session_calls_is_seen_by_an_admin_in_another_process(home: Path, silent: TextIO) -> None:
    flags = ("--activity-forward", "--activity-session-label", "ci")
    with anyio.fail_after(30):
        async with session(home, silent, "2026-07-28", "--toolsets", "all") as admin:
            await admin.list_tools()
            async with session(home, silent, "legacy", *flags) as watched:
                await watched.call_tool("catalog_search", {"query": "quickstart"})
                metrics = await watched.call_tool("mcp_server_metrics", {})
                assert metrics.structured_content["activity"]["forward"] is True
                assert metrics.structured_content["session_label"] == "ci"
            listed = await admin.call_tool("mcp_activity_list", {"label": "ci"})
            seen = [(row["tool"], row["outcome"], row["transport"]) for row in listed.structured_content["items"]]
            assert ("catalog_search", "ok", "stdio") in seen
            assert "quickstart" not in str(listed.structured_content)
