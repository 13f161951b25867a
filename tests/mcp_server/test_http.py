"""Streamable HTTP, served by uvicorn on a loopback port."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import httpx2
import mcp
import mcp_types as types
import pytest
import uvicorn
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ToolsListChanged
from starlette.types import Receive, Scope, Send

from core import errors
from core.model.principal import Caller, Principal, Role
from mcp_server import asgi, loopback, server
from mcp_server.live import Live
from mcp_server.session import EngineSession
from tests.mcp_server import fake
from tests.mcp_server.wire import wire

pytestmark = pytest.mark.anyio
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
MODERN = {**JSON, "mcp-protocol-version": "2026-07-28"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}
TOKENS = {
    "ada": Caller(Principal("ada", Role.ADMIN)),
    "bob": Caller(Principal("bob", Role.USER), allow_write=False),
    "eve": Caller(Principal("eve", Role.ADMIN, ("other",)), tenant="other"),
}


async def by_token(headers: Mapping[str, str]) -> Caller:
    name = headers.get("authorization", "").removeprefix("Bearer ")
    if name not in TOKENS:
        raise errors.Unauthenticated(hint="Send a token.")
    return TOKENS[name]


class Running(uvicorn.Server):
    """uvicorn, telling when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@asynccontextmanager
async def serving(
    engine: fake.FakeSession,
    authenticate: Callable[[Mapping[str, str]], Awaitable[Caller]] | None = None,
    *,
    seconds: float = 20,
) -> AsyncIterator[str]:
    """The URL of a running server."""

    async def open_session() -> EngineSession:
        return engine

    app = server.http_app(
        open_session, fake.options(allow_write=True, heartbeat_seconds=0.05), authenticate=authenticate
    )
    config = uvicorn.Config(app, port=0, log_level="error", ws="none", timeout_graceful_shutdown=1)
    running = Running(config)
    with anyio.fail_after(seconds):
        async with anyio.create_task_group() as group:
            group.start_soon(running.serve)
            await running.ready.wait()
            port = running.servers[0].sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}/mcp"
            running.should_exit = True


@asynccontextmanager
async def client(url: str, era: str, token: str = "", **more: Any) -> AsyncIterator[mcp.Client]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(headers=headers) as http:
        async with mcp.Client(streamable_http_client(url, http_client=http), mode=era, **more) as connected:
            yield connected


@pytest.mark.parametrize("era", ["legacy", "auto", "2026-07-28"])
async def test_the_python_client_lists_and_calls_with_progress(era: str) -> None:
    beats: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        beats.append(progress)

    engine = fake.FakeSession()
    engine.publish("smoke")
    async with serving(engine) as url, client(url, era) as connected:
        listed = [tool.name for tool in (await connected.list_tools()).tools]
        ran = await connected.call_tool("trigger_invoke_smoke", {"value": "a"})
        with pytest.raises(mcp.MCPError):
            await connected.call_tool("nope", {})
        await connected.call_tool(
            "deployment_apply", {"plan_id": "p", "wait_seconds": 0.3}, progress_callback=on_progress
        )
    assert "trigger_invoke_smoke" in listed
    assert ran.structured_content["state"] == "succeeded"
    assert len(beats) >= 2
    assert engine.closed


async def test_a_session_of_an_earlier_protocol_is_told_that_the_list_changed() -> None:
    engine = fake.FakeSession()
    heard = anyio.Event()

    async def on_message(message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            heard.set()

    async with serving(engine) as url, client(url, "legacy", message_handler=on_message) as connected:
        assert connected.server_capabilities.tools.list_changed is True
        await connected.list_tools()
        while not heard.is_set():  # the client opens its stream in the background; a notice before that is lost
            engine.publish("smoke")
            with anyio.move_on_after(0.1):
                await heard.wait()


async def test_a_listen_stream_is_told_that_the_list_changed() -> None:
    engine = fake.FakeSession()
    async with serving(engine) as url, client(url, "2026-07-28") as connected:
        async with connected.listen(tools_list_changed=True) as stream:
            engine.publish("smoke")
            assert await anext(aiter(stream)) == ToolsListChanged()


async def test_every_request_acts_as_the_one_whose_token_it_carries() -> None:
    engine = fake.FakeSession()
    engine.publish("mine")
    engine.publish("theirs", tenant="other")
    listed: dict[str, list[str]] = {}
    async with serving(engine, by_token) as url:
        for token in TOKENS:
            for era in ("legacy", "2026-07-28"):
                async with client(url, era, token) as connected:
                    tools = [tool.name for tool in (await connected.list_tools()).tools]
                    assert listed.setdefault(token, tools) == tools
    assert "trigger_invoke_mine" in listed["ada"] and "trigger_invoke_theirs" not in listed["ada"]
    assert "trigger_invoke_theirs" in listed["eve"] and "trigger_invoke_mine" not in listed["eve"]
    assert "deployment_apply" not in listed["bob"]


async def test_a_request_without_a_valid_token_is_refused() -> None:
    async with serving(fake.FakeSession(), by_token) as url, httpx.AsyncClient() as http:
        for headers in ({}, {"authorization": "Bearer nobody"}):
            answer = await http.post(url, headers={**JSON, **headers}, json={})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["code"] == "unauthenticated"


async def test_a_session_belongs_to_the_token_that_opened_it() -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    async with serving(fake.FakeSession(), by_token) as url, httpx.AsyncClient() as http:
        opened = await http.post(url, headers={**JSON, "authorization": "Bearer ada"}, json=hello)
        session = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-06-18"}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        answers = {
            token: await http.post(url, headers={**JSON, **session, "authorization": f"Bearer {token}"}, json=ping)
            for token in ("ada", "eve")
        }
        assert answers["ada"].status_code == 200
        assert answers["eve"].status_code == 404
        resumed = {**JSON, **session, "authorization": "Bearer ada", "last-event-id": "7"}
        async with http.stream("GET", url, headers=resumed) as stream:  # nothing is kept to be told again
            assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost:3000"}, 200),
        ({"content-type": "text/plain"}, 400),
    ],
)
async def test_foreign_hosts_and_origins_are_refused(headers: dict[str, str], status: int) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
    async with serving(fake.FakeSession()) as url, httpx.AsyncClient() as http:
        answer = await http.post(url, headers={**MODERN, "mcp-method": "tools/list", **headers}, json=body)
    assert answer.status_code == status


async def test_blanks_around_header_values_are_not_part_of_them() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(scope["headers"])

    async def nothing(*message: Any) -> Any:
        raise AssertionError("nothing is read or sent")

    endpoint = asgi.Endpoint(handle, None, Live(), fake.CALLER)
    await endpoint({"type": "http", "method": "POST", "headers": [(b"mcp-name", b" explain \t ")]}, nothing, nothing)
    assert seen == [(b"mcp-name", b"explain")]


async def test_a_body_above_four_mebibytes_is_refused() -> None:
    async with serving(fake.FakeSession()) as url, httpx.AsyncClient() as http:
        answer = await http.post(url, headers=MODERN, content=b" " * (4 * 1024 * 1024 + 1))
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"nonsense", 400, types.PARSE_ERROR),
        (b"[]", 400, types.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', 400, types.INVALID_PARAMS),
    ],
)
async def test_a_body_that_is_no_request_is_a_protocol_error(content: bytes, status: int, code: int) -> None:
    async with serving(fake.FakeSession()) as url, httpx.AsyncClient() as http:
        answer = await http.post(url, headers={**MODERN, "mcp-method": "tools/list"}, content=content)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


def test_without_authentication_only_loopback_is_served() -> None:
    assert loopback.is_loopback("127.0.0.1") and loopback.is_loopback("::1") and loopback.is_loopback("localhost")
    with pytest.raises(errors.Forbidden):
        asgi.security("0.0.0.0", (), authenticated=False)
    assert asgi.security("0.0.0.0", ("sluice.example",), authenticated=True).enable_dns_rebinding_protection


async def test_an_argument_that_is_a_header_has_to_agree_with_it() -> None:
    engine = fake.FakeSession()
    engine.publish("here", region={"type": "string", "x-mcp-header": "Region"})
    async with wire(engine) as client:
        call = {"method": "tools/call", "name": "trigger_invoke_here", "arguments": {"region": "eu"}}
        await client.result("tools/list")
        for headers in ({}, {"mcp-param-region": "us"}):
            status, answer = await client.ask(**call, headers=headers)
            assert (status, answer["error"]["code"]) == (400, -32020)
        ran = await client.result(**call, headers={"mcp-param-region": "eu"})
        assert ran["structuredContent"]["result"] == {"region": "eu"}
        engine.publish("plain")
        assert await client.result("tools/call", name="trigger_invoke_plain", arguments={"value": "a"})


async def test_a_header_tells_nothing_of_a_tool_that_others_have() -> None:
    """A trigger of another tenant whose arguments are headers is an unknown tool, whatever the headers say."""
    engine = fake.FakeSession()
    for slug, tenant in (("theirs", "other"), ("here", "default")):
        engine.publish(slug, tenant, region={"type": "string", "x-mcp-header": "Region"})
    async with wire(engine) as client:
        assert "trigger_invoke_theirs" in str(await client.result("tools/list", user="far"))
        for listed in (False, True):
            if listed:
                await client.result("tools/list")
            for headers in ({}, {"mcp-param-region": "us"}, {"mcp-param-region": "eu"}):
                answers = []
                for name in ("theirs", "nobodys"):
                    call = {"name": f"trigger_invoke_{name}", "arguments": {"region": "eu"}}
                    status, answer = await client.ask("tools/call", **call, headers=headers)
                    error = answer["error"]
                    answers.append((status, error["code"], error["message"].replace(name, "NAME"), error.get("data")))
                assert answers[0] == answers[1]
                assert answers[0][1] == types.INVALID_PARAMS
        own = {"name": "trigger_invoke_here", "arguments": {"region": "eu"}, "headers": {"mcp-param-region": "us"}}
        assert (await client.ask("tools/call", **own))[1]["error"]["code"] == -32020


class Planned(fake.FakeSession):
    """An engine with one open plan, which it applies."""

    async def call(self, operation: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
        if operation == "call_preview":
            assert arguments == {"operation": "deployment_apply", "arguments": {"plan_id": "p"}}
            question = "Apply this plan to deployment demo, in tenant default?"
            loss = {"question": question, "text": "1 to create", "where": "", "yes": "Apply", "mark": "m", "pinned": {}}
            return {"effect": "destructive", "refused": None, "loss": loss}
        return await super().call(operation, arguments, caller)


@pytest.mark.parametrize("era", ["legacy", "auto", "2026-07-28"])
@pytest.mark.parametrize("yes", [True, False])
async def test_a_client_over_http_asks_its_user_before_an_apply(era: str, yes: bool) -> None:
    asked: list[str] = []

    async def on_elicit(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        asked.append(params.message)
        return types.ElicitResult(action="accept", content={"confirm": yes})

    engine = Planned()
    async with serving(engine) as url, client(url, era, elicitation_callback=on_elicit) as connected:
        answer = await connected.call_tool("deployment_apply", {"plan_id": "p"})
    assert asked == ["Apply this plan to deployment demo, in tenant default?\n\n1 to create"]
    assert answer.is_error is not yes
    assert ("deployment_apply" in [name for name, _ in engine.calls]) is yes
