"""A byte stream over a wire that carries records: whole and in order, or ended; never with a hole, never unbounded."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest

from core import clock
from core.external.line import LineBroken
from core.external.sealed import Records, WorkerKey
from core.external.tunnel import GREETING, WINDOW_BYTES, Tunnel
from tests import waiting

pytestmark = pytest.mark.anyio

KEY = WorkerKey(b"k" * 32)


class Wire:
    """Two subjects in memory; a test may drop, repeat or forge what passes."""

    def __init__(self) -> None:
        self.to_engine: asyncio.Queue[bytes] = asyncio.Queue()
        self.to_worker: asyncio.Queue[bytes] = asyncio.Queue()
        self.passes: Callable[[bytes], list[bytes]] = lambda record: [record]
        self.broken = False
        self.bytes = 0

    def into(self, queue: asyncio.Queue[bytes]) -> Callable[[bytes], asyncio.Future[None]]:
        async def send(record: bytes) -> None:
            if self.broken:
                raise LineBroken("cut")
            self.bytes += len(record)
            for one in self.passes(record):
                queue.put_nowait(one)

        return send  # type: ignore[return-value]


@dataclass
class Pair:
    wire: Wire
    worker: socket.socket
    engine: socket.socket
    tunnels: tuple[Tunnel, Tunnel]
    runs: tuple[asyncio.Task[str], asyncio.Task[str]]


@asynccontextmanager
async def pair(beat_seconds: float = 5.0, greeting: bytes = b"") -> AsyncIterator[Pair]:
    of_worker, of_engine = KEY.session(b"w" * 32, b"e" * 32)
    wire = Wire()
    worker, far_worker = socket.socketpair()
    engine, far_engine = socket.socketpair()
    worker.setblocking(False)
    engine.setblocking(False)
    of = Records(of_worker, of_engine), Records(of_engine, of_worker)
    beat = beat_seconds
    say = wire.into(wire.to_engine)
    left = Tunnel(far_worker, of[0], say, wire.to_worker.get, beat_seconds=beat, greeting=greeting)
    right = Tunnel(far_engine, of[1], wire.into(wire.to_worker), wire.to_engine.get, beat_seconds=beat)
    runs = asyncio.create_task(left.run()), asyncio.create_task(right.run())
    try:
        with anyio.fail_after(30):
            yield Pair(wire, worker, engine, (left, right), runs)
    finally:
        left.end("the test is over")
        right.end("the test is over")
        await asyncio.gather(*runs)
        worker.close()
        engine.close()


async def read(sock: socket.socket, count: int) -> bytes:
    loop, got = asyncio.get_running_loop(), bytearray()
    while len(got) < count:
        piece = await loop.sock_recv(sock, 1 << 20)
        if not piece:
            break
        got += piece
    return bytes(got)


async def test_megabytes_arrive_whole_in_both_directions_at_once() -> None:
    loop = asyncio.get_running_loop()
    up, down = (random.Random(seed).randbytes(3 * WINDOW_BYTES) for seed in (1, 2))
    async with pair() as joined:
        got_up, got_down, *_ = await asyncio.gather(
            read(joined.engine, len(up)),
            read(joined.worker, len(down)),
            loop.sock_sendall(joined.worker, up),
            loop.sock_sendall(joined.engine, down),
        )
    assert got_up == up
    assert got_down == down


async def test_a_reader_that_stands_still_holds_the_sender_back_at_the_window() -> None:
    loop = asyncio.get_running_loop()
    async with pair() as joined:
        sending = asyncio.create_task(loop.sock_sendall(joined.worker, bytes(8 * WINDOW_BYTES)))
        before = -1
        while joined.wire.bytes != before:  # until nothing moves any more
            before = joined.wire.bytes
            await waiting.pause(0.2)  # long enough that what still moves is seen
        assert not sending.done()
        assert joined.wire.bytes < 1.5 * WINDOW_BYTES
        assert len(await read(joined.engine, 8 * WINDOW_BYTES)) == 8 * WINDOW_BYTES
        await sending


async def test_the_end_of_one_side_comes_after_its_last_byte() -> None:
    loop = asyncio.get_running_loop()
    async with pair() as joined:
        await loop.sock_sendall(joined.worker, b"goodbye")
        joined.worker.shutdown(socket.SHUT_WR)
        assert await read(joined.engine, 100) == b"goodbye"
        assert await joined.runs[0] == "this side has ended"
        assert await joined.runs[1] == "the other side has ended"


async def test_a_lost_record_ends_both_sides_and_nothing_after_it_is_delivered() -> None:
    loop = asyncio.get_running_loop()
    async with pair() as joined:
        await loop.sock_sendall(joined.worker, b"first")
        assert await read(joined.engine, 5) == b"first"
        dropped = asyncio.Event()

        def drop(record: bytes) -> list[bytes]:
            dropped.set()
            return []

        joined.wire.passes = drop
        await loop.sock_sendall(joined.worker, b"second")
        await dropped.wait()
        joined.wire.passes = lambda record: [record]
        await loop.sock_sendall(joined.worker, b"third")
        assert await read(joined.engine, 100) == b"", "a stream with a hole is none"
        assert "missing" in await joined.runs[1]
        assert await joined.runs[0] == "the other side has ended"


async def test_repeated_and_forged_records_change_nothing() -> None:
    loop = asyncio.get_running_loop()
    async with pair() as joined:
        joined.wire.passes = lambda record: [b"", record[:9], bytes(len(record)), record[:-1] + b"?", record, record]
        data = random.Random(3).randbytes(400_000)
        await loop.sock_sendall(joined.worker, data)
        assert await read(joined.engine, len(data)) == data


async def test_silence_is_taken_for_the_loss_of_the_other_side() -> None:
    async with pair(beat_seconds=0.05) as joined:
        assert await joined.tunnels[1].opened(5.0)
        joined.wire.passes = lambda record: []
        assert "nothing was heard" in await joined.runs[0]
        assert "nothing was heard" in await joined.runs[1]


async def test_a_wire_that_takes_nothing_ends_the_tunnel() -> None:
    async with pair(beat_seconds=0.05) as joined:
        joined.wire.broken = True
        assert await joined.runs[0] == "cut"


async def test_an_end_that_never_proves_itself_is_not_open() -> None:
    async with pair() as joined:
        joined.wire.passes = lambda record: [bytes(len(record))]
        assert not await joined.tunnels[1].opened(0.05)


async def test_a_greeting_comes_before_everything_and_is_heard_once() -> None:
    async with pair(greeting=b"hello") as joined:
        assert await joined.tunnels[1].opened(5.0)
        assert joined.tunnels[1].greeted == b"hello" and joined.tunnels[0].greeted == b""
        await joined.tunnels[0]._say(GREETING, b"again")
        await joined.tunnels[0]._say(99, b"of a later version")
        await asyncio.get_running_loop().sock_sendall(joined.worker, b"data")
        assert await read(joined.engine, 4) == b"data"
        assert joined.tunnels[1].greeted == b"hello"


async def test_a_side_that_is_listened_to_and_says_nothing_is_idle_once_it_has_spoken() -> None:
    loop = asyncio.get_running_loop()
    async with pair() as joined:
        worker = joined.tunnels[0]
        assert await joined.tunnels[1].opened(5.0)
        assert worker.idle_since is None, "it may still be starting"
        for _ in range(3):
            before = clock.monotonic()
            await loop.sock_sendall(joined.worker, b"data")
            assert await read(joined.engine, 4) == b"data"
            await waiting.until(lambda since=before: (worker.idle_since or 0.0) >= since)
        joined.wire.passes = lambda record: []  # nobody takes it: it is not the worker that is silent
        joined.worker.setblocking(True)
        await loop.run_in_executor(None, joined.worker.sendall, bytes(WINDOW_BYTES + 4))
        await waiting.until(lambda: worker.idle_since is None)
