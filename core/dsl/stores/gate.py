"""A proxy on loopback through which a client library that makes its own connections has to go.

The object store client resolves names and connects by itself, where core.guard.egress cannot look. So it is given this
proxy and no other way out: every connection is made here, to an address that the guard allows. TLS is between the
client and the store, end to end; the gate only carries bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from urllib.parse import urlsplit

from core.errors import Forbidden
from core.guard import dialing

HEAD_SECONDS = 10.0
_CHUNK = 256 * 1024


class Gate:
    """One proxy for one store."""

    def __init__(self, allow: Iterable[str]) -> None:
        self._allow = tuple(allow)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: Forbidden | dialing.Unreachable | None = None

    async def url(self) -> str:
        """The address of the proxy, which is started when it is not running."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    def take_fault(self) -> Forbidden | dialing.Unreachable | None:
        """Why a connection was not made, if that happened since this was last asked."""
        fault, self._fault = self._fault, None
        return fault

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._carry(reader, writer)
        except* (OSError, EOFError, ValueError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # one of the two sides went away or sent no request, or we close; the client sees a closed connection
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        method, target = head.split(b" ", 2)[:2]
        tunnel = method == b"CONNECT"
        parts = urlsplit("//" + target.decode("ascii") if tunnel else target.decode("ascii"))
        host, port = parts.hostname or "", parts.port or (443 if tunnel else 80)
        try:
            there, to_there = await dialing.open_connection(host, port, self._allow, tls=None, limit=_CHUNK)
        except Forbidden as error:
            self._fault = error
            writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
            return
        except dialing.Unreachable as error:
            self._fault = error
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
            return
        # A request that is not a tunnel is passed on as it is: servers accept an absolute address in the first line,
        # and the client keeps a connection for one host only.
        if tunnel:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            to_there.write(head)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, to_there))
                both.create_task(_copy(there, writer))
        finally:
            to_there.close()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):  # the other side is gone already, which is the end that this tells
        if writer.can_write_eof():
            writer.write_eof()
