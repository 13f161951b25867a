"""The MCP server in memory, in both protocol eras, through the SDK's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import anyio.lowlevel
import jsonschema
import mcp
import mcp_types as types
import pytest
import structlog
from mcp.client.session import IncomingMessage
from mcp.client.subscriptions import ToolsListChanged

from core import errors
from mcp_server import protocol, server
from mcp_server.door import Door
from mcp_server.session import EngineSession, Options
from tests import cases
from tests.mcp_server import fake

pytestmark = pytest.mark.anyio
ERAS = ("legacy", "2026-07-28")


@dataclass
class Bench:
    """A server over a fake engine."""

    options: Options = field(default_factory=lambda: fake.options(allow_write=True))
    engine: fake.FakeSession = field(default_factory=fake.FakeSession)

    def __post_init__(self) -> None:
        self.opened = 0
        self.door = Door(self.open, self.options, "memory")
        self.server = server.build(self.door)

    async def open(self) -> EngineSession:
        self.opened += 1
        return self.engine

    @asynccontextmanager
    async def client(self, era: str, **more: Any) -> AsyncIterator[mcp.Client]:
        with anyio.fail_after(10):
            async with mcp.Client(self.server, mode=era, **more) as client:
                yield client


async def all_tools(client: mcp.Client) -> list[types.Tool]:
    found, cursor = [], None
    while True:
        page = await client.list_tools(cursor=cursor, cache_mode="bypass")
        found += page.tools
        cursor = page.next_cursor
        if cursor is None:
            return found


async def names(client: mcp.Client) -> list[str]:
    return [tool.name for tool in await all_tools(client)]


def error_of(result: types.CallToolResult) -> dict[str, Any]:
    assert result.is_error
    error: dict[str, Any] = result.structured_content["error"]
    return error


@pytest.mark.parametrize("era", ERAS)
async def test_a_published_trigger_is_listed_and_runs(era: str) -> None:
    bench = Bench()
    bench.engine.publish("smoke")
    async with bench.client(era) as client:
        assert "trigger_invoke_smoke" in await names(client)
        result = await client.call_tool("trigger_invoke_smoke", {"value": "a", "_idempotency_key": "k"})
    assert result.structured_content == {"invocation_id": "inv_1", "state": "succeeded", "result": {"value": "a"}}
    assert not result.is_error


@pytest.mark.parametrize("era", ERAS)
async def test_without_allow_write_writes_are_hidden_and_refused_by_name(era: str) -> None:
    bench = Bench(fake.options(toolsets=("all",)))
    bench.engine.publish("smoke")
    async with bench.client(era) as client:
        listed = await names(client)
        assert listed == [
            "catalog_search",
            "deployment_plan",
            "explain",
            "mcp_server_metrics",
            "trigger_invocation_get",
        ]
        for hidden in ("job_put", "deployment_apply", "trigger_invoke", "trigger_invoke_smoke"):
            error = error_of(await client.call_tool(hidden, {}))
            assert error["code"] == "write_disabled"
            assert "--allow-write" in error["hint"]
    asked = [name for name, _ in bench.engine.calls if name not in ("trigger_tools", "trigger_get")]
    assert set(asked) == {"job_put", "deployment_apply", "trigger_invoke"}, "the engine keeps the refusals on record"


async def test_an_identity_that_may_not_write_is_not_raised_by_the_flag() -> None:
    bench = Bench(replace(fake.options(allow_write=True), caller=replace(fake.CALLER, allow_write=False)))
    async with bench.client("legacy") as client:
        assert "deployment_apply" not in await names(client)
        error = error_of(await client.call_tool("deployment_apply", {"plan_id": "p"}))
    assert error["code"] == "write_disabled"
    assert "identity" in error["message"]


async def test_planning_is_possible_without_allow_write() -> None:
    async with Bench(fake.options()).client("legacy") as client:
        result = await client.call_tool("deployment_plan", {})
    assert result.structured_content["plan_id"] is None
    assert result.content[0].text.startswith("1 to create\n")


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_tool_is_a_protocol_error(era: str) -> None:
    bench = Bench()
    async with bench.client(era) as client:
        for unknown in ("nope", "trigger_invoke_nope", "trigger_tools", "job_put"):
            with pytest.raises(mcp.MCPError) as fault:
                await client.call_tool(unknown, {})
            assert fault.value.code == types.INVALID_PARAMS
            assert unknown in fault.value.message


@cases.table("era", ERAS)
@cases.table(
    ("tool", "arguments", "pointer"),
    [
        ("catalog_search", {"limit": "many"}, "/limit"),
        ("catalog_search", {"limit": [1]}, "/limit"),
        ("catalog_search", {"quary": "x"}, ""),
        ("deployment_apply", {}, ""),
        ("trigger_invoke_smoke", {"bad": 1}, "/bad"),
        ("trigger_invoke_smoke", {"_idempotency_key": 5}, "/_idempotency_key"),
        ("trigger_invoke_smoke", {"_wait_timeout_seconds": "soon"}, "/_wait_timeout_seconds"),
    ],
)
async def test_arguments_that_do_not_fit_are_told_with_the_place(
    era: str, tool: str, arguments: dict[str, Any], pointer: str
) -> None:
    bench = Bench()
    bench.engine.publish("smoke")
    async with bench.client(era) as client:
        error = error_of(await client.call_tool(tool, arguments))
    assert error["code"] == "invalid_params"
    assert [problem["pointer"] for problem in error["errors"]] == [pointer]
    if tool == "trigger_invoke_smoke" and pointer.startswith("/_"):
        assert "trigger_invoke" not in error["message"], "the tool that was called has no arguments of that one"
        assert "_wait_timeout_seconds" in error["hint"] and "callback" not in error["hint"]


@cases.table(
    "value",
    ["x" * 10_000_000, 10**30, "\ud800", [[[]]] * 10],
    ids=["ten megabytes", "a huge integer", "a lone surrogate", "nested"],
)
async def test_strange_arguments_are_refused_clearly(value: Any) -> None:
    bench = Bench()
    async with bench.client("2026-07-28") as client:
        error = error_of(await client.call_tool("catalog_search", {"query": value}))
    assert error["code"] == "invalid_params"
    assert len(str(error)) < 1000


async def test_a_bug_in_an_operation_is_an_error_result_and_the_session_goes_on() -> None:
    bench = Bench(fake.options(allow_write=True, toolsets=("all",)))
    with structlog.testing.capture_logs() as logs:
        async with bench.client("legacy") as client:
            error = error_of(await client.call_tool("job_put", {}))
            assert (await client.call_tool("explain", {})).structured_content["state"] == "running"
    assert error["code"] == "internal"
    assert "a bug" not in str(error)
    [line] = logs
    assert (line["event"], line["tool"], line["exc_info"]) == ("tool_raised", "job_put", True)


async def test_an_error_of_a_tool_with_an_output_schema_fits_that_schema() -> None:
    async with Bench().client("legacy") as client:
        [plan] = [tool for tool in await all_tools(client) if tool.name == "deployment_plan"]
        error = error_of(await client.call_tool("deployment_plan", {"query": "missing"}))
    jsonschema.validate({"error": error}, plan.output_schema)
    assert error["code"] == "not_found"


@pytest.mark.parametrize("era", ERAS)
async def test_the_list_is_sorted_and_paged_by_bytes(era: str) -> None:
    bench = Bench(fake.options(allow_write=True, page_bytes=3000))
    for n in range(40):
        bench.engine.publish(f"t{n:02}")
    async with bench.client(era) as client:
        first = await client.list_tools()
        assert first.next_cursor is not None
        assert len(first.model_dump_json(by_alias=True)) < 6000
        listed = await names(client)
        with pytest.raises(mcp.MCPError) as fault:
            await client.list_tools(cursor="made-up")
    assert listed == sorted(listed)
    assert len([name for name in listed if name.startswith("trigger_invoke_t")]) == 40
    assert "trigger_invoke" in listed
    assert fault.value.code == types.INVALID_PARAMS


@pytest.mark.parametrize("era", ERAS)
async def test_a_list_is_built_once_and_again_only_when_the_registry_moved(era: str) -> None:
    bench = Bench()
    async with bench.client(era) as client:
        first = await client.list_tools(cache_mode="bypass")
        listing = await bench.door.listing(bench.door.effective(fake.CALLER))
        [page] = listing.pages.values()
        assert [tool["name"] for tool in page["tools"]] == [tool.name for tool in first.tools]
        await client.list_tools(cache_mode="bypass")
        assert await bench.door.listing(bench.door.effective(fake.CALLER)) is listing
        bench.engine.publish("late")
        assert "trigger_invoke_late" in await names(client)


async def test_made_up_cursors_do_not_fill_the_memory() -> None:
    bench = Bench(fake.options(allow_write=True, page_bytes=1000))
    for n in range(10):
        bench.engine.publish(f"t{n:02}")
    async with bench.client("legacy") as client:
        await names(client)
        listing = await bench.door.listing(bench.door.effective(fake.CALLER))
        kept = len(listing.pages)
        await client.list_tools(cursor="YWZ0ZXI6Yg")  # after:b
    assert len(listing.pages) == kept


async def test_the_list_carries_cache_hints_for_this_caller_alone() -> None:
    async with Bench().client("2026-07-28") as client:
        page = await client.list_tools(cache_mode="bypass")
        again = await client.list_tools(cache_mode="bypass")
    assert (page.ttl_ms, page.cache_scope) == (5000, "private")
    assert again == page


async def test_requests_before_the_handshake_are_refused_even_when_the_list_is_cached() -> None:
    bench = Bench()
    async with bench.client("legacy") as client:
        await client.list_tools()
    with anyio.fail_after(10):
        async with mcp.client._memory.InMemoryTransport(bench.server) as (read, write):
            request = types.JSONRPCRequest(jsonrpc="2.0", id=1, method="tools/list")
            await write.send(mcp.shared.message.SessionMessage(request))
            answer = (await read.receive()).message
    assert isinstance(answer, types.JSONRPCError)


@pytest.mark.parametrize("era", ERAS)
async def test_the_server_says_that_its_list_may_change(era: str) -> None:
    async with Bench().client("legacy" if era == "legacy" else "auto") as client:
        assert client.server_capabilities.tools is not None
        assert client.server_capabilities.tools.list_changed is True


async def test_a_session_of_an_earlier_protocol_hears_of_a_published_trigger() -> None:
    bench = Bench()
    heard = anyio.Event()

    async def on_message(message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            heard.set()

    async with bench.client("legacy", message_handler=on_message) as client:
        await client.list_tools()
        bench.engine.publish("smoke")
        await heard.wait()
        assert "trigger_invoke_smoke" in await names(client)


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_a_session_that_has_closed_is_forgotten() -> None:
    bench = Bench()
    async with bench.client("legacy") as client:
        await client.list_tools()
        audience = bench.server.changes.audience(bench.door.effective(fake.CALLER))
        await client.subscribe_resource("invocation://inv_1")
        assert len(audience.clients) == 1
        assert audience.watched
    assert audience.clients == {}
    assert not audience.watched


async def test_a_listen_stream_hears_of_a_published_trigger_of_its_tenant_only() -> None:
    bench = Bench()
    async with bench.client("2026-07-28") as client:
        await client.list_tools()
        async with client.listen(tools_list_changed=True) as stream:
            bench.engine.publish("other", tenant="other")
            bench.engine.publish("smoke")
            assert await anext(aiter(stream)) == ToolsListChanged()
            assert await names(client) and "trigger_invoke_other" not in await names(client)
            with anyio.move_on_after(0.05) as waited:
                await anext(aiter(stream))
            assert waited.cancelled_caught


async def test_many_changes_in_a_moment_are_one_notification() -> None:
    bench = Bench()
    async with bench.client("2026-07-28") as client:
        await client.list_tools()
        async with client.listen(tools_list_changed=True) as stream:
            for number in range(10):
                bench.engine.publish(f"t{number}")
                await anyio.lowlevel.checkpoint()
            bench.engine.notify("registry", {"tenant": "", "version": -1})  # what a take-over says
            assert await anext(aiter(stream)) == ToolsListChanged()
            with anyio.move_on_after(0.1) as waited:
                await anext(aiter(stream))
            assert waited.cancelled_caught


async def test_a_watched_invocation_tells_its_changes_and_can_be_read() -> None:
    bench = Bench()
    bench.engine.publish("smoke")
    async with bench.client("2026-07-28") as client:
        async with client.listen(resource_subscriptions=["invocation://inv_1"]) as stream:
            await client.call_tool("trigger_invoke_smoke", {"value": "a"})
            event = await anext(aiter(stream))
        assert event.uri == "invocation://inv_1"
        read = await client.read_resource(event.uri)
        templates = await client.list_resource_templates()
    assert '"state": "succeeded"' in read.contents[0].text
    assert "invocation://{invocation_id}" in [t.uri_template for t in templates.resource_templates]
    assert not bench.server.changes.audience(bench.door.effective(fake.CALLER)).watched


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_an_earlier_session_hears_of_the_invocations_that_it_follows_until_it_stops() -> None:
    bench = Bench()
    bench.engine.publish("smoke")
    send, receive = anyio.create_memory_object_stream[str](10)

    async def on_message(message: IncomingMessage) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            await send.send(str(message.params.uri))

    async with send, receive, bench.client("legacy", message_handler=on_message) as client:
        assert client.server_capabilities.resources.subscribe is True
        await client.subscribe_resource("invocation://inv_2")
        await client.call_tool("trigger_invoke_smoke", {})
        await client.call_tool("trigger_invoke_smoke", {})
        assert await receive.receive() == "invocation://inv_2"
        await client.unsubscribe_resource("invocation://inv_2")
        assert not bench.server.changes.audience(bench.door.effective(fake.CALLER)).watched
        assert receive.statistics().current_buffer_used == 0


@pytest.mark.parametrize(("era", "code"), [("legacy", -32002), ("2026-07-28", -32602)])
async def test_an_unknown_resource_is_told_with_its_uri(era: str, code: int) -> None:
    async with Bench().client(era) as client:
        for uri in ("invocation://nope", "file:///etc/passwd"):
            with pytest.raises(mcp.MCPError) as fault:
                await client.read_resource(uri)
            assert fault.value.code == code
            assert fault.value.data == {"uri": uri}


async def test_a_long_call_reports_progress() -> None:
    bench = Bench(fake.options(allow_write=True, heartbeat_seconds=0.02))
    beats: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        beats.append(progress)
        assert message is not None and "deployment_apply" in message

    async with bench.client("legacy") as client:
        result = await client.call_tool(
            "deployment_apply", {"plan_id": "p", "wait_seconds": 1.0}, progress_callback=on_progress
        )
    assert result.structured_content["state"] == "running"
    assert beats == sorted(set(beats))
    assert len(beats) >= 3


async def test_metrics_tell_how_the_session_is_set_up() -> None:
    bench = Bench(fake.options(allow_write=True, label="ci"))
    async with bench.client("legacy") as client:
        await client.call_tool("explain", {})
        await client.call_tool("deployment_plan", {"query": "missing"})
        metrics = (await client.call_tool("mcp_server_metrics", {})).structured_content
    assert metrics["transport"] == "memory"
    assert metrics["allow_write"] is True
    assert metrics["toolsets"] == ["catalog", "deployments", "triggers"]
    assert metrics["identity"] == {"username": "ada", "role": "admin", "tenant": "default"}
    assert metrics["protocol"] == "2025-11-25"
    assert metrics["calls"] == {
        "total": 3,
        "errors": 1,
        "by_tool": {"explain": 1, "deployment_plan": 1, "mcp_server_metrics": 1},
    }
    assert metrics["concurrency"]["active"] == 1
    assert metrics["session_label"] == "ci"


async def test_calls_beyond_the_limit_are_refused_as_busy() -> None:
    bench = Bench(fake.options(allow_write=True, concurrency=1))
    results: list[types.CallToolResult] = []
    async with bench.client("legacy") as client, anyio.create_task_group() as group:
        for _ in range(2):

            async def call() -> None:
                results.append(await client.call_tool("deployment_apply", {"plan_id": "p", "wait_seconds": 0.05}))

            group.start_soon(call)
    assert sorted(bool(result.is_error) for result in results) == [False, True]
    assert {error_of(r)["code"] for r in results if r.is_error} == {"busy"}


async def test_the_engine_is_opened_once_behind_the_first_request_and_again_only_after_a_failure() -> None:
    bench = Bench()
    answers = iter([errors.Busy("The engine is starting.", hint="Try again."), bench.engine])

    async def open_session() -> EngineSession:
        bench.opened += 1
        answer = next(answers)
        if isinstance(answer, errors.SluiceError):
            raise answer
        return answer

    bench.door._open_session = open_session
    async with bench.client("legacy") as client:
        assert bench.opened == 0
        with pytest.raises(mcp.MCPError, match=r"The engine is starting\. Try again\."):
            await client.list_tools()
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(all_tools, client)
    assert bench.opened == 2
    await bench.door.aclose()
    assert bench.engine.closed
    assert bench.engine.callbacks == []


def test_the_instructions_are_short() -> None:
    assert len(protocol.INSTRUCTIONS.encode()) <= 1500


async def test_after_a_change_of_owner_lists_are_built_anew_although_the_version_is_the_same() -> None:
    bench = Bench()
    async with bench.client("legacy") as client:
        assert "trigger_invoke_late" not in await names(client)
        bench.engine.triggers["late"] = ("default", fake.trigger("late"))
        bench.engine.notify("registry", {"tenant": "", "version": -1})
        assert "trigger_invoke_late" in await names(client)


async def test_a_trigger_that_is_withdrawn_is_an_unknown_tool_at_once() -> None:
    bench = Bench()
    bench.engine.publish("smoke")
    async with bench.client("legacy") as client:
        await client.call_tool("trigger_invoke_smoke", {})
        del bench.engine.triggers["smoke"]
        bench.engine.version += 1
        bench.engine.notify("registry", {"tenant": "default", "version": bench.engine.version})
        with pytest.raises(mcp.MCPError):
            await client.call_tool("trigger_invoke_smoke", {})
