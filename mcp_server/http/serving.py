"""Run the HTTP application on sockets that we bind ourselves, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, cast

import anyio
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from core import accepting, errors
from core.settings import Settings

if TYPE_CHECKING:
    from mcp_server.http import tls  # brings x509, which only HTTPS needs

START_SECONDS = 30
MAX_HEAD_BYTES = 64 * 1024
REQUEST_SECONDS = 120.0  # from the head of a request to its last byte
FRAMING = 8  # bytes of framing that a byte of a body may cost, beyond MAX_HEAD_BYTES
_TOO_MUCH = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
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
            listener.listen(2048)
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


def room(settings: Settings) -> accepting.Room:
    """How many may be connected over HTTP: what the settings say, and at most half of the files of this process, so
    that the other half is left for the database, the workers, the socket of the engine and outgoing calls."""
    most = max(1, min(settings.http_connections, accepting.raise_limit_of_files() // 2))
    of_one = settings.http_connections_per_address or most // 4
    return accepting.Room("http", most, max(1, min(of_one, most)))


class _Protocol(HttpToolsProtocol):
    """The HTTP parser, with bounds on what is no body: the head of a request, which it keeps in memory until it is
    complete, and the framing of chunks, which it reads and forgets however long it is. A connection whose head does
    not come in time, or whose body does not, is ended, so that nobody holds many of them by saying little."""

    _head = 0  # bytes received since the parser last came to the end of a head or of a message
    _body = 0  # bytes of the body among them
    _in_head = True
    _deadline: asyncio.TimerHandle | None = None  # while a body is incomplete

    def __init__(self, guest: accepting.Guest, config: uvicorn.Config, state: ServerState, app: dict[str, Any]) -> None:
        super().__init__(config, state, app)
        self._guest = guest

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._guest.leave = self._sent_away

    def connection_lost(self, exc: Exception | None) -> None:
        self._guest.gone()
        self._whole()
        super().connection_lost(exc)

    def _sent_away(self, reason: accepting.Reason) -> None:
        if reason is accepting.Reason.SLOW:
            self._too_late()
        else:
            self.transport.abort()

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
        if self._in_head:
            self._whole()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._too_late)
        bound = MAX_HEAD_BYTES if self._in_head else MAX_HEAD_BYTES + FRAMING * self._body
        if self._head > bound and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE if self._in_head else _TOO_MUCH)
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._in_head, self._head, self._body = False, 0, 0
        self._guest.works()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._head = True, 0
        super().on_message_complete()
        self._answered()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._answered()

    def _answered(self) -> None:
        """Everything that was asked for is answered, if it is: the next head may come."""
        if self._in_head and self.cycle.response_complete:
            self._guest.waits()


class _Server(uvicorn.Server):
    """uvicorn on connections that are accepted for a room; it says when it listens, and leaves signals to whoever runs
    the process."""

    def __init__(self, config: uvicorn.Config, visitors: accepting.Room) -> None:
        super().__init__(config)
        self.ready = anyio.Event()
        self._visitors = visitors

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # What the original does, with our way of accepting in place of loop.create_server.
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise errors.Internal("The HTTP application did not start.", hint="The log says why.")
        tls: ssl.SSLContext | None = self.config.ssl
        doors = [
            accepting.Acceptor(one, self._visitors, self._protocol, tls=tls, refusal=_FULL) for one in sockets or ()
        ]
        self.servers = cast("list[asyncio.Server]", doors)  # of which the original closes them, and waits
        self.started = True
        self.ready.set()

    def _protocol(self, guest: accepting.Guest) -> _Protocol:
        return _Protocol(guest, self.config, self.server_state, self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def running(
    app: Any,
    listeners: list[socket.socket],
    visitors: accepting.Room,
    *,
    drain_seconds: float,
    certificate: tls.Certificate | None = None,
) -> AsyncIterator[None]:
    """Serve for as long as the block runs; then stop accepting, finish open requests, and close by the deadline.

    With a certificate it serves HTTPS and nothing else.
    """
    config = uvicorn.Config(
        app,
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
    server = _Server(config, visitors)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, listeners)
        with anyio.fail_after(START_SECONDS):
            await server.ready.wait()
        try:
            yield
        finally:
            server.should_exit = True
            visitors.close()
