"""Outgoing HTTP and TCP that cannot be led to where it must not go.

The address is checked where it counts: every name is resolved here, addresses of the deny table are dropped, the
connection is made to one of the others by number, and the peer of the connected socket is looked at again. So neither
a spelling of an address, nor a DNS answer that changes, nor a redirect or a proxy variable can lead elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import re
import socket
import ssl
import threading
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import httpcore
import httpx

from core.errors import Forbidden, JobFailed, shorten

DNS_SECONDS = 5.0
CONNECT_SECONDS = 10.0
MOST_ADDRESSES = 16
MOST_CONNECTIONS = 16  # of one client at once, unless it says otherwise
MOST_RESPONSE_BYTES = 32 * 1024 * 1024
MOST_URL_CHARACTERS = 8192

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Written out, because the flags of the ipaddress module (is_private, is_global) miss several of these.
DENIED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, also cloud metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # platform services of a cloud
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/96",  # unspecified, loopback, IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # local NAT64
        "100::/64",  # discard
        "2001::/23",  # Teredo, ORCHID, benchmarks and other protocol assignments
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fc00::/7",  # unique local
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local
        "ff00::/8",  # multicast
    )
)

_HOST = re.compile(r"[A-Za-z0-9._~%:\-]+")


def allowed_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks of the setting `egress_allow`: addresses or CIDR blocks.

    Raises ValueError for a text that is neither.
    """
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def denied(address: Address, allow: Sequence[Network] = ()) -> bool:
    """Whether a job may not connect to this address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return denied(address.ipv4_mapped, allow)
        if address.scope_id is not None:
            address = ipaddress.IPv6Address(int(address))
    if any(address.version == network.version and address in network for network in allow):
        return False
    return any(address.version == network.version and address in network for network in DENIED)


def check_url(url: str) -> httpx.URL:
    """The parsed address of a request.

    Raises Forbidden for everything that two parsers might read in two ways, and for schemes other than http and https.
    """
    shown = shorten(url)
    hint = "write it as http://host:port/path or https://host/path"
    if len(url) > MOST_URL_CHARACTERS or not url.isprintable() or "\\" in url or " " in url:
        raise Forbidden(f"the address {shown} is too long or has a backslash, space or control character", hint=hint)
    try:
        parsed = httpx.URL(url)
        host, port = parsed.host, parsed.port
    except (httpx.InvalidURL, ValueError) as error:
        raise Forbidden(f"the address {shown} is not valid: {error}", hint=hint) from error
    if parsed.scheme not in ("http", "https") or not re.match(r"https?://[^/]", url, re.IGNORECASE):
        raise Forbidden(f"the address {shown} is neither http:// nor https://", hint=hint)
    authority = url.split("://", 1)[1].split("/", 1)[0].split("?", 1)[0].split("#", 1)[0]
    if "@" in authority or parsed.userinfo:
        raise Forbidden(f"the address {shown} has a user name in it", hint="give credentials with the auth key")
    if not host or not _HOST.fullmatch(parsed.raw_host.decode("ascii").strip("[]")):
        raise Forbidden(f"the address {shown} has no usable host", hint=hint)
    if port is not None and not 0 < port < 65536:
        raise Forbidden(f"the address {shown} has no usable port", hint=hint)
    return parsed


def check_target(url: str, allow: Iterable[str]) -> httpx.URL:
    """Like `check_url`, and raises Forbidden also when the host is plainly one that may not be reached.

    A name is only judged when it is dialled, by what it leads to then.
    """
    parsed = check_url(url)
    host = parsed.host.strip("[]").rstrip(".").lower()
    address: Address | None = None
    try:
        address = ipaddress.ip_address(host.replace("%25", "%"))
    except ValueError:
        with contextlib.suppress(OSError, UnicodeError):
            address = ipaddress.IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f.1, 2130706433: resolvers read these
    if host == "localhost" or host.endswith(".localhost"):
        address = ipaddress.IPv4Address("127.0.0.1")
    if address is not None and denied(address, allowed_networks(allow)):
        raise Forbidden(
            f"{shorten(host)} is an address that may not be reached",
            hint="private, local and reserved addresses are closed; the setting egress_allow opens some of them",
        )
    return parsed


class Unreachable(JobFailed):
    """There was no complete answer; it may come at the next try."""


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


async def open_connection(
    host: str, port: int, allow: Iterable[str], *, tls: ssl.SSLContext | None, limit: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TCP connection, made under the same guard as HTTP; `limit` bounds what the reader holds.

    Raises Forbidden when the address is not allowed, Unreachable when nobody answers there.
    """
    networks = allowed_networks(allow)
    where = f"{shorten(host, 100)}:{port}"
    fault: Exception | None = None
    try:
        for address in (await _open_addresses(host, port, networks))[:3]:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    reader, writer = await asyncio.open_connection(
                        str(address), port, ssl=tls, server_hostname=host if tls else None, limit=limit
                    )
            except (OSError, TimeoutError) as error:
                fault = error
                continue
            try:
                _check_peer(writer.get_extra_info("peername"), writer.get_extra_info("sockname"), networks, host)
            except Forbidden:
                writer.close()
                raise
            return reader, writer
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:  # the name
        fault = error
    raise Unreachable(f"cannot reach {where}: {shorten(str(fault) or type(fault).__name__, 120)}") from fault


class Reply(NamedTuple):
    """An answer, complete and in memory."""

    status: int
    headers: list[tuple[str, str]]  # names in lower case, in the order of the answer
    body: bytes
    truncated: bool  # the body was longer than `max_bytes` and `cut` was set

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


class Egress:
    """An HTTP client for jobs, callbacks and portals: guarded addresses, no redirects, no proxies, deadlines, bounded
    bodies. `tls` is for those who trust other certificates than the system does."""

    def __init__(
        self,
        allow: Iterable[str] = (),
        *,
        insecure: bool = False,
        tls: ssl.SSLContext | None = None,
        connections: int = MOST_CONNECTIONS,
    ) -> None:
        self._client = httpx.AsyncClient(
            transport=GuardedTransport(allowed_networks(allow), tls or client_context(insecure), connections),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        deadline_seconds: float = 30.0,
        max_bytes: int = MOST_RESPONSE_BYTES,
        cut: bool = False,
        inflate: bool = False,
        without_body: bool = False,
    ) -> Reply:
        """Send one request and read its answer, all within `deadline_seconds`.

        A longer body than `max_bytes` is cut off when `cut` is set. A body that is compressed although that was not
        asked for is refused, or unpacked with `inflate` (gzip only, up to `max_bytes`). Raises Forbidden when the
        address or a header is not allowed, Unreachable when there is no complete answer, JobFailed when it cannot be
        used. The status is not judged here; redirects are answers. With `without_body` the answer is complete when its
        headers are there, whatever comes behind them.
        """
        target = check_url(url)
        if params:
            target = target.copy_merge_params(dict(params))
        check_headers(headers or {})
        given = {name: value.strip(" \t") for name, value in (headers or {}).items()}
        sent = {"accept-encoding": "identity", "user-agent": "sluice", **given}
        where = f"{target.scheme}://{shorten(target.netloc.decode('ascii'), 100)}"
        try:
            async with (
                asyncio.timeout(deadline_seconds),
                self._client.stream(method, target, headers=sent, content=content) as answer,
            ):
                pairs = [(key.decode("latin-1").lower(), value.decode("latin-1")) for key, value in answer.headers.raw]
                if without_body:
                    return Reply(answer.status_code, pairs, b"", False)
                encoding = answer.headers.get("content-encoding", "identity").strip().lower()
                zipped = inflate and encoding in ("gzip", "x-gzip")
                if encoding != "identity" and not zipped:
                    raise JobFailed(f"{where} sent a compressed answer although none was asked for")
                body = bytearray()
                async for part in answer.aiter_raw():
                    body += part
                    if len(body) > max_bytes:
                        if not cut:
                            raise JobFailed(f"the answer of {where} is longer than {max_bytes} bytes")
                        break
                data = _unzip(bytes(body), max_bytes, where) if zipped else bytes(body[:max_bytes])
                return Reply(answer.status_code, pairs, data, len(body) > max_bytes)
        except TimeoutError as error:
            raise Unreachable(f"no complete answer of {where} within {deadline_seconds:g} s") from error
        except httpx.LocalProtocolError as error:  # its text may hold the value of a header
            raise JobFailed(f"the request to {where} is not valid HTTP") from error
        except httpx.InvalidURL as error:  # httpx reads the Location of a redirect although it does not follow it
            raise JobFailed(f"{where} answered with a redirect to what is no address") from error
        except httpx.TransportError as error:
            raise Unreachable(f"cannot reach {where}: {shorten(str(error) or type(error).__name__, 120)}") from error

    async def aclose(self) -> None:
        await self._client.aclose()


def _unzip(data: bytes, max_bytes: int, where: str) -> bytes:
    """One gzip member. Raises Unreachable when it is cut off, JobFailed when it is broken or too large unpacked."""
    if not data:  # the answer to HEAD, or one without a body
        return data
    member = zlib.decompressobj(wbits=31)
    try:
        out = member.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise JobFailed(f"the answer of {where} is not valid gzip: {error}") from error
    if len(out) > max_bytes:
        raise JobFailed(f"the answer of {where} is longer than {max_bytes} bytes when it is unpacked")
    if not member.eof:
        raise Unreachable(f"the gzip answer of {where} is cut off")
    return out


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises Forbidden for a header that could end early or change the message: line breaks, NUL, framing headers."""
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", name):
            raise Forbidden(f"{shorten(name, 60)} is not a header name")
        if name.lower() in ("host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"):
            raise Forbidden(f"the header {name} is set by the client itself")
        if re.search(r"[\0-\x08\x0a-\x1f\x7f]", value) or len(value) > 8192:
            raise Forbidden(f"the value of the header {name} has a line break or control character, or is too long")
