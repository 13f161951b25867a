"""Run the HTTP application on sockets that we bind ourselves, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import anyio
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core import errors

if TYPE_CHECKING:
    from mcp_server.http import tls  # brings x509, which only HTTPS needs

START_SECONDS = 30
MAX_HEAD_BYTES = 64 * 1024
REQUEST_SECONDS = 120.0  # from the first byte of a request, or the connection, to its last byte
FRAMING = 8  # bytes of framing that a byte of a body may cost, beyond MAX_HEAD_BYTES
_TOO_MUCH = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def is_loopback(host: str) -> bool:
    """Whether nobody outside this machine can reach the host name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one.

    Raises InvalidParams when the address is taken or is not ours, or the port is none.
    """
    if not 0 <= port <= 65535:  # getaddrinfo takes any number, modulo 65536
        raise errors.InvalidParams(f"{port} is not a port.", hint="Choose a --port from 0 to 65535.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(512)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise errors.InvalidParams(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.",
            hint="Choose another --port, or stop what listens there.",
        ) from None
    listener.setblocking(False)
    return listener


def url(listener: socket.socket, *, secure: bool = False) -> str:
    """The address that a client on this machine calls."""
    host, port = listener.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"{'https' if secure else 'http'}://{name}:{port}"


class _Protocol(HttpToolsProtocol):
    """The HTTP parser, with bounds on what is no body: the head of a request, which it keeps in memory until it is
    complete, and the framing of chunks, which it reads and forgets however long it is. A request that is not sent
    whole in time ends its connection, so that nobody holds many of them by saying little."""

    _head = 0  # bytes received since the parser last came to the end of a head or of a message
    _body = 0  # bytes of the body among them
    _in_head = True
    _deadline: asyncio.TimerHandle | None = None  # while a request is incomplete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._whole()
        super().connection_lost(exc)

    def _whole(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_TOO_LATE)
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head == 0:
            self._whole()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._too_late)
        bound = MAX_HEAD_BYTES if self._in_head else MAX_HEAD_BYTES + FRAMING * self._body
        if self._head > bound and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE if self._in_head else _TOO_MUCH)
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._in_head, self._head, self._body = False, 0, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._head = True, 0
        super().on_message_complete()


class _Server(uvicorn.Server):
    """uvicorn that says when it listens, and leaves signals to whoever runs the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def running(
    app: Any, listeners: list[socket.socket], *, drain_seconds: float, certificate: tls.Certificate | None = None
) -> AsyncIterator[None]:
    """Serve for as long as the block runs; then stop accepting, finish open requests, and close by the deadline.

    With a certificate it serves HTTPS and nothing else.
    """
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        ssl_certfile=None if certificate is None else certificate.cert,
        ssl_keyfile=None if certificate is None else certificate.key,
        timeout_graceful_shutdown=max(1, round(drain_seconds)),
    )
    # It warns of every malformed request, which lets anybody who can connect fill the log.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    server = _Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, listeners)
        with anyio.fail_after(START_SECONDS):
            await server.ready.wait()
        try:
            yield
        finally:
            server.should_exit = True
