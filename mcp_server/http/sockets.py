"""The one WebSocket of this server: on it a worker of another machine joins (core.external).

The socket takes over a connection whose guest stays at work until it ends. Nothing that it carries is read here, and no
credential of the API is asked for: a worker and the engine prove themselves to each other before anything is told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from core import accepting, errors
from core.external.line import SUBPROTOCOL, LineBroken
from core.external.sealed import OVERHEAD_BYTES
from core.external.tunnel import CHUNK_BYTES
from mcp_server.http import problems

MOST_BYTES = CHUNK_BYTES + OVERHEAD_BYTES  # of one record

MOST_REASON = 120  # bytes of a close frame, less than RFC 6455, 5.5 allows
NORMAL, TRY_AGAIN = 1000, 1013  # RFC 6455, 7.4.1, and the registry of close codes
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Socket(WebSocketsSansIOProtocol):
    """What a connection becomes when it is upgraded; its messages are bounded by MOST_BYTES (uvicorn.Config)."""

    guest: accepting.Guest | None = None

    def belongs_to(self, guest: accepting.Guest) -> None:
        """Be the connection of a guest from now on."""
        self.guest = guest
        guest.works()
        guest.leave = self._sent_away

    def _sent_away(self, reason: accepting.Reason) -> None:
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.guest is not None:
            self.guest.gone()
        super().connection_lost(exc)


class SocketLine:
    """The engine's end of a line (core.external.line) over an ASGI WebSocket that was accepted."""

    chunk_bytes = CHUNK_BYTES

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._over = False

    async def send(self, record: bytes) -> None:
        if self._over:
            raise LineBroken("the connection has ended")
        try:
            await self._send({"type": "websocket.send", "bytes": record})
        except (OSError, RuntimeError) as fault:  # what uvicorn raises when the client has left
            self._over = True
            raise LineBroken("the connection has ended") from fault

    async def take(self) -> bytes:
        if self._over:
            raise LineBroken("the connection has ended")
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self._over = True
            raise LineBroken("the connection has ended")
        record = message.get("bytes")
        if record is None:
            raise LineBroken("a text came, where records are bytes")
        return bytes(record)

    async def close(self, reason: str = "") -> None:
        if not self._over:
            self._over = True
            code = TRY_AGAIN if reason else NORMAL
            try:
                await self._send({"type": "websocket.close", "code": code, "reason": reason[:MOST_REASON]})
            except (OSError, RuntimeError):
                return  # it has ended meanwhile


Meet = Callable[[SocketLine, str], Awaitable[None]]
"""Works with whoever comes on a line from an address, and closes it. Raises Busy when this process cannot."""


class Workers:
    """The ASGI application at PATH."""

    def __init__(self, meet: Meet) -> None:
        self._meet = meet

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        if SUBPROTOCOL not in scope.get("subprotocols", ()):
            await problems.refuse_socket(
                send, 400, errors.InvalidParams("Workers of this version speak another protocol here.")
            )
            return
        line = SocketLine(receive, send)
        try:
            await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
            await self._meet(line, str((scope.get("client") or ("",))[0]))
        except errors.SluiceError as error:
            await line.close(error.message)
