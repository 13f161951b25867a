"""Event streams that are held open: what each costs the engine, and what a message for all of them does to its loop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import quantiles

import orjson
import psutil

from bench import engines, wire
from bench.measure import Scale
from bench.report import Row

AT_ONCE = 50  # that are opened side by side
MESSAGES = 10
END_SECONDS = 120.0
ROOM = {
    "SLUICE_HTTP_CONNECTIONS": "16384",
    "SLUICE_HTTP_CONNECTIONS_PER_ADDRESS": "16384",
    "SLUICE_STREAMS_PER_USER": "4096",
    "SLUICE_STREAMS_PER_TENANT": "4096",
}


async def measure(scale: Scale, home: Path) -> list[Row]:
    async with engines.engine(home) as running:
        await engines.prepare(running)
    with _variables(ROOM):
        async with engines.served(home) as served:
            return await _measure(scale, served)


async def _measure(scale: Scale, served: engines.Served) -> list[Row]:
    count, calls = scale.streams, scale.sequential
    process = psutil.Process(served.pid)
    quiet = await _calls(served, calls)
    before = process.memory_info().rss
    started = time.perf_counter()
    async with _streams(count, served) as streams:
        opened = time.perf_counter() - started
        held = process.memory_info().rss
        beside = await _calls(served, calls)
        late, meanwhile = await _messages(served, streams, calls)
        most = process.memory_info().rss
    note = f"{count} streams"
    return [
        Row("opening them", "ms each", opened * 1e3 / count, note=note),
        Row("engine, memory of one", "KiB", (held - before) / count / 1024, note=note),
        Row("and with messages on their way", "KiB", (most - before) / count / 1024),
        Row("a call beside none of them, p99", "ms", quiet * 1e3, note="which waits as long as the loop is held"),
        Row("a call beside them, p99", "ms", beside * 1e3, quiet * 1e3),
        Row("and while a message goes to all, p99", "ms", meanwhile * 1e3, quiet * 1e3),
        Row("from a message to the last stream", "ms", late * 1e3, note=note),
    ]


async def _calls(served: engines.Served, count: int, until: asyncio.Event | None = None) -> float:
    """The 99th percentile of so many small calls one after the other, in seconds, or of more until then."""
    http = await wire.connect(served.port)
    raw = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    took = []
    while len(took) < count or (until is not None and not until.is_set()):
        started = time.perf_counter()
        await http.request(raw)
        took.append(time.perf_counter() - started)
        await asyncio.sleep(0.002)
    http.transport.close()
    return quantiles(took, n=100)[-1]


async def _messages(served: engines.Served, streams: list[Stream], calls: int) -> tuple[float, float]:
    """Some messages, each to all streams: how long until the last one has it, and calls meanwhile (99th percentile)."""
    http, over = await wire.connect(served.port), asyncio.Event()
    meanwhile = asyncio.create_task(_calls(served, calls, over))
    headers = {"authorization": f"Bearer {served.token}", "x-sluice-tenant": engines.TENANT}
    body = orjson.dumps({"params": engines.PARAMS})
    took = []
    for number in range(MESSAGES):
        started = time.perf_counter()
        await http.request(wire.post(f"/api/triggers/{engines.SLUG}/invoke", body, headers))
        async with asyncio.timeout(END_SECONDS):
            await asyncio.gather(*(stream.events(number + 1) for stream in streams))
        took.append(time.perf_counter() - started)
    over.set()
    http.transport.close()
    return sorted(took)[len(took) // 2], await meanwhile


class Stream(asyncio.Protocol):
    """One open stream, whose events are counted."""

    def __init__(self) -> None:
        self._seen = 0
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            if b" 200 " not in data[:20]:
                self.opened.set_exception(RuntimeError(f"no stream: {data[:300]!r}"))
                return
            self.opened.set_result(None)
        self._seen += data.count(b"event: message\n")
        if self._waiter is not None and self._seen >= self._wanted and not self._waiter.done():
            self._waiter.set_result(None)

    async def events(self, count: int) -> None:
        """Until so many have come."""
        if self._seen < count:
            self._wanted, self._waiter = count, asyncio.get_running_loop().create_future()
            await self._waiter


@asynccontextmanager
async def _streams(count: int, served: engines.Served) -> AsyncIterator[list[Stream]]:
    request = (
        "GET /api/messages/subscribe?tag=smoke.invoke HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"authorization: Bearer {served.token}\r\nx-sluice-tenant: {engines.TENANT}\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    streams: list[Stream] = []

    async def one() -> Stream:
        transport, stream = await loop.create_connection(Stream, "127.0.0.1", served.port)
        transport.write(request)
        await stream.opened
        return stream

    try:
        for first in range(0, count, AT_ONCE):
            streams += await asyncio.gather(*(one() for _ in range(first, min(count, first + AT_ONCE))))
        yield streams
    finally:
        for stream in streams:
            stream.transport.close()


@contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    """For processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
