"""Where a job may listen: loopback, and what the administrator opened. Sockets, TLS and the peer's address."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable
from typing import Any, NamedTuple

from core.errors import Forbidden, JobFailed, shorten
from core.guard.addresses import Address, allowed_networks
from core.guard.file_access import FileAccess

BACKLOG = 512
HANDSHAKE_SECONDS = 10.0
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-]*):(\d{1,5})")


class Endpoint(NamedTuple):
    """A host and a port, as a document names them."""

    host: str  # a name, or an address without brackets
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoint(text: str) -> Endpoint:
    """Parse `host:port` or `[v6]:port`.

    Raises ValueError.
    """
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match[2]) > 65535:
        raise ValueError(f"{shorten(text, 60)} is not an address; write host:port, as in 127.0.0.1:8443 or [::1]:8443")
    return Endpoint(match[1].strip("[]"), int(match[2]))


def server_context(cert: str, key: str, files: FileAccess) -> ssl.SSLContext:
    """TLS 1.2 or newer of a server with the given certificate.

    Raises JobFailed or Forbidden.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, cert, key, files)
    return context


def load_certificate(context: ssl.SSLContext, cert: str, key: str, files: FileAccess) -> None:
    """Read a certificate and its key, two PEM files that pass the same rules as any other file of a job.

    Raises JobFailed or Forbidden.
    """
    cert_fd = files.open_read(cert)
    try:
        key_fd = files.open_read(key)
        try:  # the files that were checked are read, not what their paths may name by now
            context.load_cert_chain(f"/proc/self/fd/{cert_fd}", f"/proc/self/fd/{key_fd}", password=_no_password)
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or error.strerror or "cannot be read"
            raise JobFailed(
                f"the certificate {shorten(cert, 200)} and its key cannot be used: {reason}",
                hint="give two PEM files that belong together; the key must not be encrypted",
            ) from error
        finally:
            os.close(key_fd)
    finally:
        os.close(cert_fd)


def _no_password() -> str:
    raise OSError(errno.EINVAL, "the key is encrypted")  # else OpenSSL would ask at the terminal


def bind(
    address: str, allow: Iterable[str], closed_ports: Container[int], *, kind: socket.SocketKind = socket.SOCK_STREAM
) -> socket.socket:
    """A socket that is bound (and, for a stream, listens) and does not block.

    `allow` are the addresses or CIDR blocks of the setting `listen_allow`, `closed_ports` where no job listens.
    Raises Forbidden when the administrator did not open that address, JobFailed when it is in use or not ours.
    """
    wanted, ip = check(address, allow, closed_ports)
    sock = socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET, kind)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not two listeners: only past TIME_WAIT
        sock.bind((str(ip), wanted.port))
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        why = "the address is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise JobFailed(
            f"cannot listen at {wanted}: {why}",
            hint="another program or job listens there; the job tries again by itself",
        ) from error
    return sock


def check(address: str, allow: Iterable[str], closed_ports: Container[int]) -> tuple[Endpoint, Address]:
    """Where a job would listen, if it may: see `bind`. Raises Forbidden, ValueError for a text that is no address."""
    wanted = endpoint(address)
    host = {"": "0.0.0.0", "localhost": "127.0.0.1"}.get(wanted.host, wanted.host)
    ip = ipaddress.ip_address(host)
    open_to_us = allowed_networks(allow)
    everywhere = any(network.network_address.is_unspecified and network.num_addresses == 1 for network in open_to_us)
    inside = any(ip.version == network.version and ip in network for network in open_to_us)
    if not (ip.is_loopback or everywhere or inside):
        raise Forbidden(
            f"a job of this worker may not listen at {host}",
            hint="only loopback is open; the administrator opens others with the setting listen_allow",
        )
    if wanted.port in closed_ports:
        raise Forbidden(
            f"no job may listen at port {wanted.port}: clients of Sluice or NATS bring their credentials there",
            hint="use another port; the administrator names these with the setting closed_ports",
        )
    return wanted, ip


@contextlib.asynccontextmanager
async def serving(sock: socket.socket, talk: Talk, *, tls: ssl.SSLContext | None, limit: int) -> AsyncIterator[None]:
    """Accept connections at a bound socket while the block runs; `limit` bounds what a reader holds, in bytes.

    Connections that were accepted go on after the block.
    """
    server = await asyncio.start_server(
        talk,
        sock=sock,
        limit=limit,
        ssl=tls,
        ssl_handshake_timeout=HANDSHAKE_SECONDS if tls is not None else None,
        start_serving=False,  # else a cancellation in here could leave the socket open
    )
    try:
        await server.start_serving()
        yield
    finally:
        server.close()


def name_of(sock: socket.socket) -> str:
    """The address of a bound socket, with the port that port 0 became."""
    host, port = sock.getsockname()[:2]
    return str(Endpoint(host, port))


def peer_ip(peername: Any) -> str:
    """The address in what a socket says of its peer; an IPv4 address that came over IPv6 is shown as IPv4."""
    text = str(peername[0]) if peername else ""
    return text.removeprefix("::ffff:") if "." in text else text.partition("%")[0]
