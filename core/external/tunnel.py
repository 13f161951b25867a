"""One byte stream (a worker's channel to its engine) over a wire that carries single records and may lose them.

Both ends are alike. Data waits until the other end has taken what went before (WINDOW_BYTES at most are under way),
so neither the wire nor a slow reader fills memory. Each end says PING every beat; an end that hears nothing for
SILENT_BEATS takes the other one for lost. A lost record ends the tunnel as well: a stream with a hole is none. Both
sides then treat it as the end of a socket.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from core import clock
from core.external.line import LineBroken
from core.external.sealed import Lost, Records

WINDOW_BYTES = 8 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
SILENT_BEATS = 5
_COUNT = struct.Struct(">Q")

DATA, TAKEN, PING, END, GREETING = range(5)  # a kind that an end does not know it passes over


Send = Callable[[bytes], Awaitable[None]]
"""Puts one record on the line (core.external.line)."""
Take = Callable[[], Awaitable[bytes]]
"""Waits for the next record of the line."""


class Tunnel:
    """Carries what one end of a socketpair says, and what is said to it. Use from one event loop."""

    def __init__(
        self,
        sock: socket.socket,
        records: Records,
        send: Send,
        take: Take,
        *,
        beat_seconds: float,
        chunk_bytes: int = CHUNK_BYTES,
        greeting: bytes = b"",
    ) -> None:
        """`greeting` is said before anything else, and is not part of the stream."""
        sock.setblocking(False)
        self._sock = sock
        self._records = records
        self._send = send
        self._take = take
        self._beat = beat_seconds
        self._chunk = chunk_bytes
        self._loop = asyncio.get_running_loop()
        self._incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting_bytes = 0
        self._sent = 0
        self._taken = 0  # of what we sent, by the other end
        self._room = asyncio.Event()
        self._heard = clock.monotonic()
        self._greeting = greeting
        self.greeted = b""  # what the other end said before anything else
        self.idle_since: float | None = None  # since when this side is listened to and says nothing, once it has
        self._opened = asyncio.Event()
        self._in_order = asyncio.Lock()  # sealing a record and sending it are one step
        self._ended: asyncio.Future[str] = self._loop.create_future()

    @property
    def ended(self) -> bool:
        return self._ended.done()

    async def _listen(self) -> None:
        while True:
            try:
                record = await self._take()
            except LineBroken as broken:
                self.end(str(broken))
                return
            self._receive(record)

    def _receive(self, record: bytes) -> None:
        try:
            opened = self._records.open(record)
        except Lost as lost:
            self.end(str(lost))
            return
        if opened is None or self.ended:
            return
        self._heard = clock.monotonic()
        kind, body = opened
        if kind == GREETING and not self.heard:
            self.greeted = body
        self._opened.set()
        if kind == DATA:
            self._waiting_bytes += len(body)
            if self._waiting_bytes > WINDOW_BYTES + self._chunk:
                self.end("the other end sends more than was agreed")
                return
            self._incoming.put_nowait(body)
        elif kind == TAKEN:
            (self._taken,) = _COUNT.unpack(body)
            self._room.set()
        elif kind == END:
            self._incoming.put_nowait(b"")  # behind the data that came before it

    @property
    def heard(self) -> bool:
        """Whether the other end has proved itself."""
        return self._opened.is_set()

    async def opened(self, seconds: float) -> bool:
        """Wait until the other end has proved itself by one record that opens."""
        try:
            async with asyncio.timeout(seconds):
                await self._opened.wait()
        except TimeoutError:
            return False
        return True

    def end(self, reason: str) -> None:
        """End the tunnel from this side. Safe to call twice."""
        if not self._ended.done():
            self._ended.set_result(reason)

    async def run(self) -> str:
        """Carry until one side ends; the reason for the end. Closes the socket."""
        if self._greeting:
            await self._say(GREETING, self._greeting)
        tasks = [asyncio.create_task(part()) for part in (self._listen, self._outward, self._inward, self._pulse)]
        try:
            reason = await asyncio.shield(self._ended)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._sock.close()
        await self._say(END)
        return reason

    async def _say(self, kind: int, body: bytes = b"") -> None:
        async with self._in_order:
            try:
                await self._send(self._records.seal(kind, body))
            except LineBroken as broken:
                self.end(str(broken))

    async def _outward(self) -> None:
        while not self.ended:
            while self._sent - self._taken >= WINDOW_BYTES:
                self._room.clear()
                await self._room.wait()
            self.idle_since = clock.monotonic() if self._sent else None
            try:
                data = await self._loop.sock_recv(self._sock, self._chunk)
            except OSError:
                data = b""
            if not data:
                self.end("this side has ended")
                return
            self.idle_since = None
            self._sent += len(data)
            await self._say(DATA, data)

    async def _inward(self) -> None:
        taken = told = 0
        while True:
            data = await self._incoming.get()
            if not data:
                self.end("the other side has ended")
                return
            try:
                await self._loop.sock_sendall(self._sock, data)
            except OSError:
                self.end("this side has ended")
                return
            self._waiting_bytes -= len(data)
            taken += len(data)
            if taken - told >= WINDOW_BYTES // 4:
                told = taken
                await self._say(TAKEN, _COUNT.pack(taken))

    async def _pulse(self) -> None:
        while True:
            await self._say(PING)
            await asyncio.sleep(self._beat)
            if clock.monotonic() - self._heard > self._beat * SILENT_BEATS:
                self.end(f"nothing was heard for {self._beat * SILENT_BEATS:g} s")
