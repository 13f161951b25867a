"""Run the HTTP application on sockets that we bind ourselves, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, cast

import anyio
import uvicorn

from core import accepting, errors
from core.settings import Settings
from mcp_server.http import sockets
from mcp_server.http.connection import Connection, Unread
from mcp_server.http.forwarded import Proxies

if TYPE_CHECKING:
    from mcp_server.http import tls  # brings x509, which only HTTPS needs

START_SECONDS = 30
SOCKET_BYTES = 256 * 1024  # that the kernel keeps for a connection, each way
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"


def check_port(port: int) -> None:
    """Raise InvalidFlags for a number that is no port: getaddrinfo takes any, modulo 65536."""
    if not 0 <= port <= 65535:
        raise errors.InvalidFlags(f"{port} is not a port.", hint="Choose a --port from 0 to 65535.")


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one.

    Raises InvalidParams when the address is taken or is not ours (now), InvalidFlags when the port is none or nothing
    has that name.
    """
    check_port(port)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # What the kernel keeps of answers that nobody reads and requests that wait: by itself, megabytes.
            for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                listener.setsockopt(socket.SOL_SOCKET, buffer, SOCKET_BYTES)
            listener.bind(address)
            listener.listen(2048)
        except OSError:
            listener.close()
            raise
    except socket.gaierror as error:
        # A name server that does not answer may do so later; a name that there is none of does not come.
        fault = errors.InvalidFlags if error.errno == socket.EAI_NONAME else errors.InvalidParams
        raise fault(
            f"Cannot listen on {errors.shorten(host, 100)}:{port}: {error.strerror}.", hint=_remedy(error)
        ) from None
    except OSError as error:
        raise errors.InvalidParams(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.", hint=_remedy(error)
        ) from None
    listener.setblocking(False)
    return listener


def _remedy(error: OSError) -> str:
    """What to do about an address that cannot be listened on."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "Name an address of this machine with --host, such as 127.0.0.1, or 0.0.0.0 for all of them."
    if error.errno in (errno.EACCES, errno.EPERM):
        return "Choose a --port from 1024 on: those below take a right that this account lacks (CAP_NET_BIND_SERVICE)."
    return "Choose another --port, or stop what listens there."


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
    proxies = Proxies(settings.trusted_proxies)
    return accepting.Room("http", most, max(1, min(of_one, most)), stands_for_many=proxies.stands_for_many)


def _is_no_end(record: logging.LogRecord) -> bool:
    """Whether a line of the log tells something else than that a request was cut off at the end (how many were is told
    in one line before), or that a socket was gone before it was answered."""
    if "without completing handshake" in str(record.msg):
        return False
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


class _Server(uvicorn.Server):
    """uvicorn on connections that are accepted for a room; it says when it listens, and leaves signals to whoever runs
    the process."""

    def __init__(self, config: uvicorn.Config, visitors: accepting.Room) -> None:
        super().__init__(config)
        self.ready = anyio.Event()
        self._visitors = visitors
        self._unread = Unread()

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

    def _protocol(self, guest: accepting.Guest) -> Connection:
        return Connection(guest, self._unread, self.config, self.server_state, self.lifespan.state)

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
        ws=sockets.Socket,
        ws_max_size=sockets.MOST_BYTES,
        ws_per_message_deflate=False,  # what is sealed does not get smaller
        ws_ping_interval=None,  # the two ends have a pulse of their own
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,  # the console tells ages by the clock of the server; that of a browser may be wrong
        proxy_headers=False,
        ssl_certfile=None if certificate is None else certificate.cert,
        ssl_keyfile=None if certificate is None else certificate.key,
        timeout_graceful_shutdown=max(1, round(drain_seconds)),
    )
    # It warns of every malformed request, which lets anybody who can connect fill the log.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").addFilter(_is_no_end)
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
