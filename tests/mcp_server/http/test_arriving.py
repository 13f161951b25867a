"""What one user may have on its way to a server: requests and bytes, counted from the head to the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.model.principal import Principal, Role
from mcp_server.http import admission, arriving, auth
from mcp_server.http.arriving import Arriving, Body

HEAD = [(b"host", b"localhost"), (b"content-length", b"1000000")]


class Users:
    """Whose the credential is, it says."""

    async def principal(self, authorization: str | None, client: str = "") -> Principal:
        return Principal(authorization or "", Role.USER, ("acme",))


class Client:
    """A request whose parts come when they are sent."""

    def __init__(self, user: str, path: str = "/api/things") -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "path": path,
            "headers": [*HEAD, (b"authorization", user.encode())],
            "client": ("127.0.0.1", 1),
        }
        self._parts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.status = 0

    def send(self, part: bytes, *, last: bool = False) -> None:
        self._parts.put_nowait({"type": "http.request", "body": part, "more_body": not last})

    def leave(self) -> None:
        self._parts.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> dict[str, Any]:
        return await self._parts.get()

    async def answered(self, message: Any) -> None:
        self.status = message.get("status", self.status)


async def app(scope: Any, receive: Any, send: Any) -> None:
    assert (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def settle() -> None:
    for _ in range(20):
        await checkpoint()


def test_one_user_has_only_so_many_requests_on_their_way_and_the_others_have_theirs() -> None:
    async def run() -> None:
        counted = Arriving(24)
        gate = admission.Admission(app, Users(), arriving=counted)
        held, tasks = [Client("ulf") for _ in range(5)], []
        for one in held:
            one.send(b"{")
            tasks.append(asyncio.create_task(gate(one.scope, one.receive, one.answered)))
        await settle()
        assert [one.status for one in held] == [0, 0, 0, 429, 429]
        other = Client("uwe")
        other.send(b"{}", last=True)
        await gate(other.scope, other.receive, other.answered)
        assert other.status == 200
        held[0].leave()
        held[1].send(b"}", last=True)
        await settle()
        assert held[1].status == 200
        more = Client("ulf")
        more.send(b"{}", last=True)
        await gate(more.scope, more.receive, more.answered)
        assert more.status == 200
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (counted.bytes, counted._requests, counted._bytes) == (0, {}, {}), "nobody is left"

    asyncio.run(run())


def test_bytes_are_held_for_a_user_until_the_answer_and_no_more_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "USER_BYTES", 300_000)
    monkeypatch.setattr(arriving, "ALL_BYTES", 500_000)

    async def run() -> None:
        counted = Arriving()
        go = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await go.wait()
            await app(scope, receive, send)

        gate = admission.Admission(slow, Users(), arriving=counted)
        clients = [Client(user) for user in ("ulf", "ulf", "uwe", "uwe")]
        tasks = []
        for one, last in zip(clients, (True, False, True, False), strict=True):
            one.send(b"x" * 200_000, last=last)
            tasks.append(asyncio.create_task(gate(one.scope, one.receive, one.answered)))
            await settle()
        assert counted.bytes == 400_000, "also of those that wait for their answers"
        assert [one.status for one in clients] == [0, 429, 0, 429]
        third = Client("tim")
        third.send(b"x" * 200_000)
        await gate(third.scope, third.receive, third.answered)
        assert third.status == 503
        go.set()
        await asyncio.gather(*tasks)
        assert (clients[0].status, clients[2].status, counted.bytes) == (200, 200, 0)

    asyncio.run(run())


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 100_000), st.booleans()), max_size=30))
def test_what_is_given_back_can_be_had_again(steps: list[tuple[str, int, bool]]) -> None:
    counted = Arriving(80)
    held: list[Body] = []
    for who, size, close in steps:
        if close and held:
            held.pop().close()
            continue
        try:
            body = Body(counted, who)
        except errors.RateLimited:
            assert len(held) >= counted.most
            continue
        held.append(body)
        body.take(b"x" * size, last=False)
    for body in held:
        body.close()
        body.close()  # safe to call twice
    assert (counted.bytes, counted._requests, counted._bytes) == (0, {}, {})


def test_a_user_is_the_same_with_each_of_his_keys_and_another_in_another_tenant() -> None:
    assert isinstance(auth.NoAuth(Principal("a")), auth.NoAuth)
    counted = Arriving(8)
    counted.begin((("acme",), "ulf"))
    counted.begin((("globex",), "ulf"))
    with pytest.raises(errors.RateLimited) as refused:
        counted.begin((("acme",), "ulf"))
    assert refused.value.details["most"] == 1
