"""Long answers through a real `serve`: who hears what, for how long, and how many of them one user may have."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest

from core import clock
from core.identity import jwts
from mcp_server.cli import stage
from mcp_server.http import sessions, streams
from tests import waiting
from tests.identity.peer import ERAS, Peer

pytestmark = pytest.mark.anyio
END_SECONDS = 2.0
LIMITS = {
    "SLUICE_SESSIONS_PER_USER": "12",
    "SLUICE_STREAMS_PER_USER": "24",
    "SLUICE_WAITS_PER_USER": "40",
    "SLUICE_HTTP_CONNECTIONS_PER_ADDRESS": "450",  # everybody here calls from one address
    "SLUICE_DRAIN_SECONDS": "1",
}
SILENT = """
name: silent
input: {echo: {trigger: {message: {filter-kind: user, filter-type: [user-generated], filter-tag: quiet}}, event: "{}"}}
output: discard
"""
FEEDS = [feed.path for feed in streams.FEEDS]
LONG = [
    *FEEDS,
    "/api/trigger-invocations/subscribe?invocation_id=OPEN",
    sessions.NOTICES,
    "listen",
    "listen to tasks",
    "session",
    "wait over HTTP",
    "wait over MCP",
    "watch of KV",
]


@dataclass
class Server:
    """A real `serve` with a trigger x and a trigger y in tenant-a whose runs stay open."""

    stage: stage.Stage
    admin: str
    open_run: str = ""
    made: int = 0

    @asynccontextmanager
    async def client(self, token: str, tenant: str = "tenant-a") -> AsyncIterator[httpx.AsyncClient]:
        headers = {"authorization": f"Bearer {token}", "x-sluice-tenant": tenant}
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=self.stage.url, headers=headers, timeout=90, trust_env=False, limits=limits
        ) as made:
            yield made

    async def key(self, username: str = "", **more: Any) -> tuple[str, str]:
        """A new key of a new user: (id, token)."""
        self.made += 1
        wanted = {"username": username or f"user-{self.made}", "role": "user", "tenants": ["tenant-a"], **more}
        made = await self.stage.must("POST", "/api/tokens", "tenant-a", **wanted)
        return made["id"], made["token"]

    async def revoke(self, id: str) -> None:
        await self.stage.must("POST", f"/api/tokens/{id}/revoke", "tenant-a")

    async def run(self, slug: str) -> str:
        body = {"params": {}, "wait_timeout_seconds": 0}
        return str((await self.stage.must("POST", f"/api/triggers/{slug}/invoke", "tenant-a", **body))["invocation_id"])


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    place = tmp_path_factory.mktemp("streams")
    real = stage.Stage(place / "home", **LIMITS)
    try:
        await real.start(1)
        made = Server(real, (place / "home" / "admin.token").read_text().strip())
        await real.must("POST", "/api/jobs", "tenant-a", document=SILENT)
        await real.must("POST", "/api/jobs/silent/deploy", "tenant-a")
        for slug in ("x", "y"):
            await real.must("POST", "/api/triggers/publish", "tenant-a", **trigger(slug))
        made.open_run = await made.run("x")
        yield made
    finally:
        await real.stop()


def trigger(slug: str, **more: Any) -> dict[str, Any]:
    return {
        "slug": slug,
        "target_job_name": "silent",
        "target_message_tag": "quiet",
        "publication": {"mcp": True},
        "invoke_policy": {"allow_user": True},
        "response_slot": "reply",
        "response_timeout_seconds": 600,
        **more,
    }


class Long:
    """A long answer that was opened, and what came of it until it ended."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.text = ""
        self.ended_at = 0.0

    def heard(self, line: str) -> None:
        self.text += line + "\n"
        self.begun.set()


async def follow(server: Server, token: str, what: str, long: Long) -> None:
    """Open one of LONG and read it to its end."""
    async with server.client(token) as client:
        if what.startswith("/"):
            request: dict[str, Any] = {"method": "GET", "url": what.replace("OPEN", server.open_run)}
        elif what == "wait over HTTP":
            request = {"method": "GET", "url": f"/api/trigger-invocations/{server.open_run}?wait_seconds=120"}
        elif what == "watch of KV":
            begun = (await client.get("/api/kv/watch?namespace=n")).json()["watch"]
            request = {"method": "GET", "url": f"/api/kv/watch?namespace=n&watch={begun}&wait_seconds=60"}
        elif what == "session":
            peer = Peer(client, ERAS[0])
            await peer.greet()
            headers = {"accept": "text/event-stream", "mcp-protocol-version": ERAS[0], **peer.headers}
            request = {"method": "GET", "url": "/mcp", "headers": headers}
        else:
            request = {"method": "POST", "url": "/mcp", **asked(server, client, what)}
        if what.startswith(("wait", "watch", "session")):
            long.begun.set()  # what is answered at the end says nothing before it
        async with client.stream(**request) as answer:
            async for line in answer.aiter_lines():
                long.heard(line)
    long.ended_at = clock.monotonic()


def asked(server: Server, client: httpx.AsyncClient, what: str) -> dict[str, Any]:
    peer = Peer(client, ERAS[1])
    if what == "wait over MCP":
        call = {"invocation_id": server.open_run, "wait_seconds": 120}
        return peer.request("tools/call", {"name": "trigger_invocation_get", "arguments": call})
    wanted: dict[str, Any] = {"toolsListChanged": True}
    if what == "listen to tasks":
        wanted = {"taskIds": [server.open_run], "resourceSubscriptions": [f"invocation://{server.open_run}"]}
    return peer.request("subscriptions/listen", {"notifications": wanted})


async def open_now(server: Server) -> int:
    """How many long answers the server counts."""
    async with server.client(server.admin) as client:
        lines = (await client.get("/metrics")).text.splitlines()
    return sum(int(line.split()[-1]) for line in lines if line.startswith("sluice_long_answers{"))


async def count_is(server: Server, fits: Callable[[int], bool], seconds: float = 20) -> None:
    """Wait until so many long answers are open."""

    async def look() -> bool:
        return fits(await open_now(server))

    await waiting.until(look, seconds=seconds)


@asynccontextmanager
async def opened(server: Server, tokens: dict[str, str]) -> AsyncIterator[dict[str, Long]]:
    """The long answers of these names, each with its token, open and counted."""
    before = await open_now(server)
    longs = {what: Long() for what in tokens}
    tasks = [asyncio.create_task(follow(server, token, what, longs[what])) for what, token in tokens.items()]
    try:
        async with asyncio.timeout(20):
            await asyncio.gather(*(long.begun.wait() for long in longs.values()))
        await count_is(server, lambda number: number >= before + len(tokens))
        yield longs
        async with asyncio.timeout(20):
            await asyncio.gather(*tasks)
        await count_is(server, lambda number: number <= before)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def told(what: str, long: Long, reason: str) -> bool:
    """Whether the end says why."""
    if what.startswith(("wait", "watch")):
        return "unauthenticated" in long.text and {"revoked": "was revoked", "expired": "expired"}[reason] in long.text
    if what == "session":
        return True  # its stream is closed with it, as when a client ends it
    return "event: end" in long.text and reason in long.text


async def test_every_long_answer_ends_within_two_seconds_of_the_revocation_of_its_key(server: Server) -> None:
    keys = {what: await server.key() for what in LONG}
    async with opened(server, {what: token for what, (_, token) in keys.items()}) as longs:
        assert not any(long.ended_at for long in longs.values())
        revoked = {}
        for what, (id, _) in keys.items():
            revoked[what] = clock.monotonic()
            await server.revoke(id)
    took = {what: longs[what].ended_at - revoked[what] for what in LONG}
    assert {what: seconds for what, seconds in took.items() if seconds > END_SECONDS} == {}
    assert [what for what in LONG if not told(what, longs[what], "revoked")] == []


@pytest.mark.parametrize("kind", ["key", "jwt"])
async def test_every_long_answer_ends_within_two_seconds_of_the_end_of_its_credential(
    server: Server, kind: str
) -> None:
    ends_at = clock.now_ns() + 8 * clock.NANOSECONDS
    tokens = {}
    for what in LONG:
        name = f"{kind}-{len(tokens)}"
        id, tokens[what] = await server.key(name, expires_in_seconds=3600)
        if kind == "jwt":
            signer = jwts.open_signer(server.stage.home, None)
            left = (ends_at - clock.now_ns()) // clock.NANOSECONDS + 1
            tokens[what] = signer.mint(name, id, clock.now_ns(), left)
        else:  # no key that can be asked for is so short
            with sqlite3.connect(server.stage.home / "sluice.db", timeout=10) as db:
                db.execute("UPDATE tokens SET expires_at_ns = ? WHERE id = ?", (ends_at, id))
            db.close()
    async with opened(server, tokens) as longs:
        assert clock.now_ns() < ends_at
    late = (clock.now_ns() - ends_at) / clock.NANOSECONDS - clock.monotonic()
    took = {what: longs[what].ended_at + late for what in LONG}
    assert {what: seconds for what, seconds in took.items() if not -1 <= seconds <= END_SECONDS + 1} == {}
    assert [what for what in LONG if not told(what, longs[what], "expired")] == []


async def test_a_key_of_one_trigger_hears_nothing_of_another(server: Server) -> None:
    """Runs of y and then of x: whoever has the key of x hears of the second alone, on every stream that it can open."""
    id, token = await server.key(scopes=["trigger:x"])
    theirs = await server.run("y")
    _, admin = await server.key(role="admin")
    async with AsyncExitStack() as stack, asyncio.timeout(30):
        client = await stack.enter_async_context(server.client(token))
        notices = await stack.enter_async_context(client.stream("GET", sessions.NOTICES))
        uris = [f"invocation://{theirs}", f"invocation://{server.open_run}"]
        wanted = {"taskIds": [theirs, server.open_run], "resourceSubscriptions": uris, "toolsListChanged": True}
        listening = Peer(client, ERAS[1]).request("subscriptions/listen", {"notifications": wanted})
        listen = await stack.enter_async_context(client.stream("POST", "/mcp", **listening))
        old = Peer(client, ERAS[0])
        await old.greet()
        for uri in uris:
            assert (await old.ask("resources/subscribe", {"uri": uri}))[0] == 200
        headers = {"accept": "text/event-stream", "mcp-protocol-version": ERAS[0], **old.headers}
        legacy = await stack.enter_async_context(client.stream("GET", "/mcp", headers=headers))
        lines = {"notices": notices.aiter_lines(), "listen": listen.aiter_lines(), "legacy": legacy.aiter_lines()}
        acknowledged = await anext(line async for line in lines["listen"] if line.startswith("data:"))
        assert theirs not in acknowledged.split("resourceSubscriptions")[0], "it is no task of this key"
        operator = await stack.enter_async_context(server.client(admin))
        new = {}
        for slug in ("y", "x"):
            made = await operator.post(f"/api/triggers/{slug}/invoke", json={"params": {}, "wait_timeout_seconds": 0})
            new[slug] = made.json()["invocation_id"]
        heard = ""
        async for line in lines["notices"]:
            heard += line
            if new["x"] in line:
                break
        assert new["y"] not in heard and '"y"' not in heard
        for path in (*FEEDS, f"{streams.FEEDS[1].path}?invocation_id={theirs}"):
            assert (await client.get(path)).status_code in (403, 404), path
        await server.revoke(id)
        rest = {name: "".join([line async for line in of]) for name, of in lines.items()}
    assert all(theirs not in text and new["y"] not in text for text in rest.values())


@pytest.mark.parametrize("path", [*FEEDS, f"{streams.FEEDS[1].path}?invocation_id=OPEN"])
async def test_a_scoped_key_opens_no_stream_that_it_may_not_read(server: Server, path: str) -> None:
    _, token = await server.key(scopes=["operation:catalog_search"])
    async with server.client(token) as client, asyncio.timeout(10):
        answer = await client.get(path.replace("OPEN", server.open_run))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    audit = await server.stage.must("GET", "/api/audit?limit=5", "tenant-a")
    assert "forbidden" in {row["decision"] for row in audit["items"]}


@pytest.mark.parametrize("era", ERAS)
async def test_a_scoped_key_follows_no_resource_that_it_may_not_read(server: Server, era: str) -> None:
    _, token = await server.key(scopes=["operation:catalog_search"])
    async with server.client(token) as client, asyncio.timeout(10):
        peer = Peer(client, era)
        await peer.greet()
        for uri in ("deployment://d", "workflow://w", f"invocation://{server.open_run}"):
            method = "resources/subscribe" if era == ERAS[0] else "subscriptions/listen"
            params = {"uri": uri} if era == ERAS[0] else {"notifications": {"resourceSubscriptions": [uri]}}
            _, message = await peer.ask(method, params)
            assert message["error"]["data"]["code"] == "forbidden", uri


async def test_a_session_is_of_the_key_that_opened_it_and_of_no_other_of_its_user(server: Server) -> None:
    (_, one), (_, two) = [await server.key("twin") for _ in range(2)]
    async with server.client(one) as client, server.client(two) as other:
        peer = Peer(client, ERAS[0])
        await peer.greet()
        assert (await peer.ask("ping", {}))[0] == 200
        stranger = Peer(other, ERAS[0], peer.headers)
        assert (await other.post("/mcp", **stranger.request("ping", {}))).status_code == 404


@pytest.mark.parametrize("count", [100, pytest.param(300, marks=pytest.mark.soak)])
async def test_many_waits_of_one_key_neither_delay_nor_refuse_another_tenant(server: Server, count: int) -> None:
    id, greedy = await server.key()
    _, other = await server.key(tenants=["tenant-b"])
    most = int(LIMITS["SLUICE_WAITS_PER_USER"])
    call = {"name": "trigger_invocation_get", "arguments": {"invocation_id": server.open_run, "wait_seconds": 120}}
    refused: list[dict[str, Any]] = []
    async with server.client(greedy) as client, server.client(other, "tenant-b") as neighbour, asyncio.timeout(60):

        async def wait(number: int) -> None:
            if number % 2:
                answer = await client.get(f"/api/trigger-invocations/{server.open_run}?wait_seconds=120")
                error = answer.json()
            else:
                answer = await client.post("/mcp", **Peer(client, ERAS[1]).request("tools/call", call))
                error = last(answer.text)["result"]["structuredContent"]["error"]
            if error["code"] != "unauthenticated":
                refused.append(error)

        waits: list[asyncio.Task[None]] = []

        def ended() -> int:
            return sum(task.result() is None for task in waits if task.done())

        for first in range(0, count, 100):  # more at once would be refused for how they arrive (http_connections)
            waits.extend(asyncio.create_task(wait(number)) for number in range(first, first + 100))
            await waiting.until(lambda: ended() == len(waits) - most, seconds=40)
        started = clock.monotonic()
        for _ in range(5):
            request = Peer(neighbour, ERAS[1]).request("tools/call", {"name": "catalog_search", "arguments": {}})
            answer = last((await neighbour.post("/mcp", **request)).text)
            assert not answer["result"].get("isError"), answer
        assert clock.monotonic() - started < 3
        await server.revoke(id)
        await asyncio.gather(*waits)
    assert {error["code"] for error in refused} == {"rate_limited"}
    assert "waits_per_user" in refused[0]["hint"] and "Try again in" in refused[0]["hint"]
    async with server.client(server.admin) as client:
        shown = (await client.get("/metrics")).text
    assert f'sluice_long_answers_refused_total{{kind="wait",of="user"}} {count - most}' in shown


def last(text: str) -> dict[str, Any]:
    """The JSON-RPC answer in a response of either form."""
    if text.startswith("{"):
        return dict(orjson.loads(text))
    return dict(orjson.loads([line[5:] for line in text.splitlines() if line.startswith("data:")][-1]))


@pytest.mark.parametrize(("kind", "setting"), [("stream", "streams_per_user"), ("session", "sessions_per_user")])
async def test_one_user_opens_only_so_many_streams_and_sessions_with_all_his_keys(
    server: Server, kind: str, setting: str
) -> None:
    name = f"many-{kind}"
    keys = [await server.key(name) for _ in range(2)]
    before = await open_now(server)
    most = int(LIMITS[f"SLUICE_{setting.upper()}"])
    async with AsyncExitStack() as stack, asyncio.timeout(30):
        clients = [await stack.enter_async_context(server.client(token)) for _, token in keys]
        refused = None
        for number in range(most + 1):
            client = clients[number % 2]
            if kind == "stream":
                answer = await stack.enter_async_context(client.stream("GET", FEEDS[0]))
            else:
                hello = {"protocolVersion": ERAS[0], "capabilities": {}, "clientInfo": {"name": "p", "version": "1"}}
                answer = await client.post("/mcp", **Peer(client, ERAS[0]).request("initialize", hello))
            if answer.status_code != 200:
                await answer.aread()
                refused = number, answer.status_code, answer.json()
                break
        assert refused is not None, "nobody counts"
        number, status, problem = refused
        assert (number, status, problem["code"]) == (most, 429, "rate_limited")
        assert setting in problem["hint"] and answer.headers["retry-after"]
        for id, _ in keys:
            await server.revoke(id)  # and with them goes what they had open
    await count_is(server, lambda number: number <= before, 5)
