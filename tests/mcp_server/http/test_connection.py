"""What one connection may do to the others: requests in a row, answers that nobody reads, however it is split."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
import uvicorn
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from core import accepting
from mcp_server.http import connection

GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"


class Wire:
    """A transport that keeps what is written, and says that it is full when it is told to."""

    def __init__(self) -> None:
        self.sent = b""
        self.size = 0
        self.reading = True
        self.closed = self.aborted = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return self.size

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default


class Server:
    """Connections to an application that notes what it is asked: (connection, path, body)."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.unread = connection.Unread(1000)
        self.room = accepting.Room("http", 100, 100)
        self.answer: Any = self._answer
        self._config = uvicorn.Config(
            lambda *all: self.answer(*all), interface="asgi3", proxy_headers=False, log_config=None
        )
        self._state = ServerState()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        self.asked.append((scope["state"]["name"], scope["path"], body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    def connect(self, name: str, address: str = "a") -> tuple[connection.Connection, Wire]:
        guest = self.room.admit(address)
        assert guest is not None
        made = connection.Connection(guest, self.unread, self._config, self._state, {"name": name})
        wire = Wire()
        made.connection_made(cast("asyncio.Transport", wire))
        return made, wire

    async def rest(self) -> None:
        """Let everything happen that can."""
        while True:
            before = len(self.asked)
            for _ in range(20):
                await checkpoint()
            if len(self.asked) == before:
                return


def ends(one: connection.Connection) -> None:
    one.connection_lost(None)


def test_of_requests_in_one_write_one_is_taken_at_a_time_and_connections_take_turns() -> None:
    async def run() -> None:
        server = Server()
        (one, _), (two, _) = server.connect("one"), server.connect("two")
        for each in (one, two):
            each.data_received(b"".join(GET % number for number in range(50)))
            assert not each.pipeline, "what waits is not even parsed"
        await server.rest()
        assert [name for name, _, _ in server.asked] == ["one", "two"] * 50
        assert [path for name, path, _ in server.asked if name == "one"] == [f"/{number}" for number in range(50)]
        server.room.close()
        ends(one), ends(two)

    asyncio.run(run())


def test_nothing_more_is_read_or_answered_for_whoever_does_not_read() -> None:
    async def run() -> None:
        server = Server()
        one, wire = server.connect("one")
        one.pause_writing()
        one.data_received(GET % 0 * 5000)
        assert not wire.reading
        await server.rest()
        assert server.asked == []
        one.resume_writing()
        await server.rest()
        assert len(server.asked) == 5000 and wire.reading
        server.room.close()
        ends(one)

    asyncio.run(run())


def test_when_more_answers_wait_than_may_the_greediest_address_ends_its_oldest() -> None:
    async def run() -> None:
        server = Server()
        made = [server.connect("x", address) for address in ("a", "b", "b", "b")]
        for (one, wire), size in zip(made, (300, 200, 250, 300), strict=True):
            wire.size = size
            one.pause_writing()
        assert [wire.aborted for _, wire in made] == [False, True, False, False]
        assert server.room.refused == {accepting.Reason.UNREAD: 1}
        server.room.close()

    asyncio.run(run())


@pytest.mark.parametrize("size", [0, 9000])
def test_a_request_that_was_answered_before_its_body_came_holds_no_place(size: int) -> None:
    """A refusal needs no body: whoever still sends one makes room for others."""

    async def run() -> None:
        server = Server()
        server.room.most = server.room.most_per_address = 1

        async def refuse(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

        server.answer = refuse
        one, wire = server.connect("one")
        one.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n" + b"x" * size)
        await server.rest()
        assert wire.sent.startswith(b"HTTP/1.1 401 ")
        server.connect("two")
        assert wire.aborted
        server.room.close()

    asyncio.run(run())


BODIES = st.binary(max_size=300)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[tuple[str, bytes]], list[bytes]]:
    """Requests in a row, and their bytes in pieces."""
    wanted, data = [], b""
    for number in range(draw(st.integers(1, 6))):
        body = draw(BODIES)
        how = draw(st.sampled_from(["get", "length", "chunks"]))
        if how == "get":
            body, data = b"", data + GET % number
        elif how == "length":
            data += b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (number, len(body), body)
        else:
            chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
            data += b"POST /%d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % (number, chunk)
        wanted.append((f"/{number}", body))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return wanted, [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@given(streams(), st.booleans())
def test_however_requests_are_split_each_is_answered_in_its_order_with_its_body(
    made: tuple[list[tuple[str, bytes]], list[bytes]], patient: bool
) -> None:
    wanted, pieces = made

    async def run() -> None:
        server = Server()
        one, wire = server.connect("one")
        for piece in pieces:
            if piece:
                one.data_received(piece)
            if patient:
                await server.rest()
        await server.rest()
        assert [(path, body) for _, path, body in server.asked] == wanted
        assert wire.sent.count(b"HTTP/1.1 200 OK") == len(wanted)
        assert wire.reading and not wire.closed
        server.room.close()
        ends(one)

    asyncio.run(run())
