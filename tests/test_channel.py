"""The framed channel: calls, answers, notices, order, and the death of a peer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from core import channel, errors

pytestmark = pytest.mark.anyio


class Ends:
    def __init__(self) -> None:
        self.notices: list[tuple[str, Any]] = []
        self.noticed = asyncio.Event()
        self.ours: channel.Channel
        self.theirs: channel.Channel


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    made = Ends()

    async def answer(link: channel.Channel, name: str, args: Any) -> Any:
        if name == "fail":
            raise errors.InvalidParams("no", hint="yes", errors=[errors.Problem("/a", "wrong")])
        if name == "hang":
            await asyncio.Event().wait()
        return {"name": name, "args": args}

    def notice(link: channel.Channel, name: str, data: Any) -> None:
        made.notices.append((name, data))
        if name == "last":
            made.noticed.set()

    left, right = socket.socketpair()
    made.ours = await channel.over_socket(left)
    made.theirs = await channel.over_socket(right, on_call=answer, on_notice=notice)
    yield made
    await made.ours.close()
    await made.theirs.close()


async def test_a_call_gets_its_answer_whatever_the_size(ends: Ends) -> None:
    with anyio.fail_after(5):
        for size in (0, 10, 100_000, 3_000_000):
            assert await ends.ours.call("echo", "x" * size) == {"name": "echo", "args": "x" * size}


async def test_many_calls_at_once_each_get_their_own_answer(ends: Ends) -> None:
    with anyio.fail_after(5):
        answers = await asyncio.gather(*(ends.ours.call("n", i) for i in range(500)))
    assert [answer["args"] for answer in answers] == list(range(500))


async def test_an_error_keeps_code_hint_and_places(ends: Ends) -> None:
    with anyio.fail_after(5), pytest.raises(errors.InvalidParams) as caught:
        await ends.ours.call("fail", {})
    assert caught.value.to_dict()["errors"] == [{"pointer": "/a", "message": "wrong"}]
    assert caught.value.hint == "yes"


async def test_notices_keep_their_order(ends: Ends) -> None:
    for number in range(1000):
        ends.ours.notice("n", number)
    ends.ours.notice("last", None)
    with anyio.fail_after(5):
        await ends.noticed.wait()
    assert [data for name, data in ends.notices if name == "n"] == list(range(1000))


async def test_a_call_under_way_ends_when_the_peer_dies(ends: Ends) -> None:
    with anyio.fail_after(5):
        call = asyncio.ensure_future(ends.ours.call("hang", {}))
        await ends.ours.call("echo", {})  # the hanging call has arrived before this one was answered
        ends.theirs.abort()
        with pytest.raises(channel.ChannelClosed):
            await call
        with pytest.raises(channel.ChannelClosed):
            await ends.ours.call("echo", {})


async def test_calls_that_are_given_up_end_and_the_channel_goes_on(ends: Ends) -> None:
    with anyio.fail_after(5):
        assert not ends.ours.waiting
        hanging = asyncio.ensure_future(ends.ours.call("hang", None))
        await ends.ours.call("echo", None)
        assert ends.ours.waiting
        ends.ours.give_up()
        with pytest.raises(channel.ChannelSilent):
            await hanging
        assert not ends.ours.waiting
        assert (await ends.ours.call("echo", 1))["args"] == 1


async def test_bytes_that_are_no_frame_end_the_channel() -> None:
    left, right = socket.socketpair()
    link = await channel.over_socket(right)
    with anyio.fail_after(5):
        left.sendall(b"GET / HTTP/1.1\r\n\r\n")
        await link.closed.wait()
        assert left.recv(1) == b"", "nothing was answered"
    left.close()


async def test_a_frame_without_end_is_not_buffered_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "MAX_FRAME_BYTES", 1000)
    left, right = socket.socketpair()
    link = await channel.over_socket(right)
    with anyio.fail_after(5):
        left.sendall(b"x" * 5000)
        await link.closed.wait()
        with pytest.raises(channel.ChannelClosed):
            await link.call("echo", {})
    left.close()
