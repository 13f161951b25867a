"""Sessions of earlier protocols over HTTP: each is counted while it is there, and ends when nobody uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from core.model.principal import EVERY_TENANT, Caller, Principal, Role
from mcp_server import legacy, limits, live, server
from mcp_server.live import Live
from mcp_server.session import Authenticate
from tests.identity.peer import ACCEPT, ERAS, Peer
from tests.mcp_server import fake

pytestmark = pytest.mark.anyio
HELLO = {"protocolVersion": ERAS[0], "capabilities": {}, "clientInfo": {"name": "p", "version": "1"}}


@asynccontextmanager
async def served(
    answers: Live, authenticate: Authenticate | None = None, session: fake.FakeSession | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server, which counts in `answers`; without authentication everybody is its own caller."""

    async def opened() -> fake.FakeSession:
        return session or fake.FakeSession()

    app = server.http_app(opened, fake.options(), authenticate=authenticate, live=answers)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:1") as client,
    ):
        yield client


async def test_what_opens_no_session_takes_no_room_and_what_its_client_ends_gives_it_back() -> None:
    answers = Live()
    async with served(answers) as client:
        peer = Peer(client, ERAS[0])
        assert (await client.post("/mcp", **peer.request("tools/list", {}))).status_code == 400
        assert (await client.post("/mcp", content=b"{", headers={"accept": ACCEPT})).status_code == 400
        assert answers.limiter.count("session") == 0
        await peer.greet()
        assert (answers.limiter.count("session"), answers.limiter.count("session", fake.CALLER)) == (1, 1)
        ended = await client.delete("/mcp", headers={"accept": ACCEPT, **peer.headers})
        assert (ended.status_code, answers.limiter.count("session")) == (200, 0)
        assert (await client.post("/mcp", **peer.request("ping", {}))).status_code == 404


async def test_a_session_is_of_the_tenant_that_it_was_opened_in() -> None:
    """Its credential may act in several: what it asks in another one neither ends the session nor moves it there."""
    answers = Live()

    async def by_tenant(headers: Mapping[str, str]) -> Caller:
        return Caller(Principal("ada", Role.ADMIN, (EVERY_TENANT,), credential="key"), headers.get("tenant", "one"))

    async with served(answers, by_tenant) as client:
        peer = Peer(client, ERAS[0])
        await peer.greet()
        there = await by_tenant({})
        for _ in range(2):
            request = peer.request("ping", {})
            request["headers"] = {**request["headers"], "tenant": "two"}
            assert (await client.post("/mcp", **request)).status_code == 404
            assert (answers.limiter.count("session"), answers.limiter.count("session", there)) == (1, 1)
        assert (await peer.ask("ping", {}))[0] == 200
        ended = await client.delete("/mcp", headers={"accept": ACCEPT, **peer.headers})
        assert (ended.status_code, answers.limiter.count("session")) == (200, 0)


async def test_of_two_requests_at_once_with_one_id_the_second_is_refused() -> None:
    """Told apart by their text, as the SDK does: it would answer one of them, and never the other."""
    session = fake.FakeSession()
    gate, reached = asyncio.Event(), asyncio.Event()

    async def call(*_: Any, **__: Any) -> dict[str, Any]:
        reached.set()
        await gate.wait()
        return {}

    async with served(Live(), session=session) as client, asyncio.timeout(10):
        peer = Peer(client, ERAS[0])
        await peer.greet()
        session.call = call  # type: ignore[method-assign]
        request = peer.request("tools/call", {"name": "explain", "arguments": {}})

        async def post(id: Any) -> httpx.Response:
            return await client.post("/mcp", headers=request["headers"], json={**request["json"], "id": id})

        first = asyncio.create_task(post(7))
        await reached.wait()
        for same in (7, "7"):
            refused = await post(same)
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32600)
        gate.set()
        assert b'"result"' in (await first).content
        assert b'"result"' in (await post(7)).content, "its id is free again"


async def test_a_session_that_nobody_uses_ends_and_one_that_is_used_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(legacy, "IDLE_SECONDS", 0.4)
    answers = Live()
    async with served(answers) as client, asyncio.timeout(10):
        idle, used = Peer(client, ERAS[0]), Peer(client, ERAS[0])
        await idle.greet()
        await used.greet()
        while answers.limiter.count("session") == 2:
            assert (await used.ask("ping", {}))[0] == 200
        assert answers.ended == {("session", live.Reason.IDLE): 1}
        assert (await client.post("/mcp", **idle.request("ping", {}))).status_code == 404
        assert (await used.ask("ping", {}))[0] == 200


async def test_a_session_too_many_is_told_when_to_come_back() -> None:
    answers = Live(dict.fromkeys(limits.KINDS, limits.Most(1, 1)))
    async with served(answers) as client:
        await Peer(client, ERAS[0]).greet()
        answer = await client.post("/mcp", **Peer(client, ERAS[0]).request("initialize", HELLO))
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert int(answer.headers["retry-after"]) > 1
        # The newest protocol has no sessions, and its requests are not counted as such.
        assert (await Peer(client, ERAS[1]).ask("tools/list", {}))[0] == 200
