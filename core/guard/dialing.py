"""Connections that cannot be led to where they must not go.

The address is checked where it counts: every name is resolved here, addresses of the deny table are dropped, the
connection is made to one of the others by number, and the peer of the connected socket is looked at again. So neither
a spelling of an address, nor a DNS answer that changes, nor a redirect or a proxy variable can lead elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, TypeVar

import httpcore
import httpx

from core.errors import Forbidden, JobFailed, shorten
from core.guard.addresses import Address, Network, allowed_networks, denied

P = TypeVar("P", bound=asyncio.BaseProtocol)
DNS_SECONDS = 5.0
CONNECT_SECONDS = 10.0
MOST_ADDRESSES = 16
MOST_CONNECTIONS = 16  # of one client at once, unless it says otherwise


class Unreachable(JobFailed):
    """There was no complete answer; it may come at the next try."""

    def __init__(self, message: str, *, hint: str = "", undone: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.undone = undone  # there was no connection, so the other side has done nothing


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that is closed also when the deadline comes within its TLS handshake: httpcore forgets it then, and
    a peer that never goes on would hold it open for ever."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's signature
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._inner.start_tls(ssl_context, server_hostname, timeout)
        except asyncio.CancelledError:
            await self._inner.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects for httpcore, to allowed addresses only."""

    def __init__(self, allow: Sequence[Network]) -> None:
        self._allow = allow
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        open_to_us = await _open_addresses(host, port, self._allow)
        fault: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in open_to_us[:3]:
            try:
                stream = await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                fault = error
                continue
            try:
                _check_peer(
                    stream.get_extra_info("server_addr"), stream.get_extra_info("client_addr"), self._allow, host
                )
            except Forbidden:
                await stream.aclose()
                raise
            return _Stream(stream)
        raise fault if fault is not None else httpcore.ConnectError("no address")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise Forbidden("a job may not connect to a unix socket")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _check_peer(peername: Any, sockname: Any, allow: Sequence[Network], host: str) -> None:
    peer, here = ipaddress.ip_address(peername[0]), ipaddress.ip_address(sockname[0])
    opened = any(peer.version == network.version and peer in network for network in allow)
    if denied(peer, allow) or (peer == here and not opened):  # our own public address is us as well
        raise Forbidden(f"{shorten(host)} led to an address that jobs may not reach")


async def _open_addresses(host: str, port: int, allow: Sequence[Network]) -> list[Address]:
    """The addresses of a name that may be dialled.

    Raises Forbidden when there is none among them.
    """
    open_to_us = [address for address in await _resolve(host, port) if not denied(address, allow)]
    if not open_to_us:
        raise Forbidden(
            f"{shorten(host)} is an address that jobs may not reach",
            hint="private, local and reserved addresses are closed; the setting egress_allow opens some of them",
        )
    return open_to_us


async def lookup(host: str, port: int) -> list[Any]:
    """What `socket.getaddrinfo` finds. Raises what it raises.

    Each look-up has a thread of its own that nobody waits for at the end: a resolver that hangs holds up neither those
    who ask for other names, nor the exit of the process.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[Any]] = loop.create_future()

    def settle(value: list[Any] | None, fault: Exception | None) -> None:
        if not found.done():
            found.set_exception(fault) if fault is not None else found.set_result(value or [])

    def look() -> None:
        value, fault = None, None
        try:
            value = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except Exception as error:  # a boundary between threads: it is raised where it is awaited
            fault = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left who could be told
            loop.call_soon_threadsafe(settle, value, fault)

    try:
        threading.Thread(target=look, name="sluice-resolver", daemon=True).start()
    except RuntimeError as error:
        raise OSError("there are too many threads to look up a name") from error
    return await found


async def _resolve(host: str, port: int) -> list[Address]:
    try:
        async with asyncio.timeout(DNS_SECONDS):
            found = await lookup(host, port)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(f"no answer for the name {shorten(host)} in {DNS_SECONDS} s") from error
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"the name {shorten(host)} cannot be resolved") from error
    addresses = (ipaddress.ip_address(entry[4][0]) for entry in found)
    return list(dict.fromkeys(addresses))[:MOST_ADDRESSES]


_FAULTS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
)


class _Body(httpx.AsyncByteStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._inner:
                yield part
        except tuple(ours for ours, _ in _FAULTS) as error:
            raise _translate(error) from error

    async def aclose(self) -> None:
        await self._inner.aclose()


def _translate(error: Exception) -> httpx.TransportError:
    kind = next(theirs for ours, theirs in _FAULTS if isinstance(error, ours))
    return kind(str(error) or type(error).__name__)


class GuardedTransport(httpx.AsyncBaseTransport):
    """The transport of an httpx client: a connection pool whose connections pass the guard."""

    def __init__(self, allow: Sequence[Network], context: ssl.SSLContext, connections: int = MOST_CONNECTIONS) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=connections,
            max_keepalive_connections=4,
            keepalive_expiry=15.0,
            network_backend=_Backend(allow),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        forward = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            answer = await self._pool.handle_async_request(forward)
        except tuple(ours for ours, _ in _FAULTS) as error:
            raise _translate(error) from error
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


@functools.cache
def client_context(insecure: bool) -> ssl.SSLContext:
    """TLS of a client; `insecure` accepts any certificate."""
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def create_connection(
    factory: Callable[[], P], host: str, port: int, allow: Iterable[str], *, tls: ssl.SSLContext | None
) -> tuple[asyncio.Transport, P]:
    """A TCP connection, made under the same guard as HTTP, with what `factory` makes as its protocol.

    Raises Forbidden when the address is not allowed, Unreachable when nobody answers there.
    """
    networks = allowed_networks(allow)
    where = f"{shorten(host, 100)}:{port}"
    fault: Exception | None = None
    try:
        for address in (await _open_addresses(host, port, networks))[:3]:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    transport, protocol = await asyncio.get_running_loop().create_connection(
                        factory, str(address), port, ssl=tls, server_hostname=host if tls else None
                    )
            except (OSError, TimeoutError) as error:
                fault = error
                continue
            try:
                _check_peer(transport.get_extra_info("peername"), transport.get_extra_info("sockname"), networks, host)
            except Forbidden:
                transport.close()
                raise
            return transport, protocol
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:  # the name
        fault = error
    raise Unreachable(f"cannot reach {where}: {shorten(str(fault) or type(fault).__name__, 120)}") from fault


async def open_connection(
    host: str, port: int, allow: Iterable[str], *, tls: ssl.SSLContext | None, limit: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The same with streams; `limit` bounds what the reader holds. Raises like `create_connection`."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await create_connection(lambda: protocol, host, port, allow, tls=tls)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
