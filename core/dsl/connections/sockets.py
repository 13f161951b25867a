"""What the inputs that listen or connect share: the keys of addresses and certificates, and who sent an event."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from pydantic import AfterValidator

from core.dsl.component import Config, Env, Event, Run
from core.dsl.events import select
from core.dsl.language import needs, places
from core.errors import shorten
from core.guard import listen


def _listen_text(text: str) -> str:
    if "{{" not in text:  # else it is looked at when the job is staged
        host = listen.endpoint(text).host
        if host not in ("", "localhost"):
            try:
                ipaddress.ip_address(host)
            except ValueError as error:
                raise ValueError(f"{shorten(host, 60)} is a name; give the address to listen at") from error
    return text


def _connect_text(text: str) -> str:
    if "{{" not in text:
        found = listen.endpoint(text)
        if not found.host or not found.port:
            raise ValueError(f"{shorten(text, 60)} names no host and port to connect to")
    return text


ListenAddress = Annotated[str, AfterValidator(_listen_text), needs.LISTENS]
"""A document key that holds an address of this machine: `host:port`; `:port` is every address, port 0 a free one."""

ConnectAddress = Annotated[str, AfterValidator(_connect_text), needs.CONNECTS]
"""A document key that holds an address to connect to: `host:port`."""


class ServerTls(Config):
    """The certificate of a server."""

    cert: Annotated[str, places.READ]
    """A PEM file with the certificate and those between it and its root."""
    key: Annotated[str, places.READ]
    """A PEM file with the private key."""


def bind(address: str, env: Env, *, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A socket at an address that the worker opens to jobs. Raises like `listen.bind`."""
    return listen.bind(address, env.limits.listen_allow, env.limits.closed_ports, kind=kind)


@contextlib.asynccontextmanager
async def serving(
    address: str, env: Env, what: str, talk: listen.Talk, *, tls: ssl.SSLContext | None, limit: int
) -> AsyncIterator[None]:
    """Accept connections at an address while the block runs, and tell the log of the job where; see `listen.serving`.

    Raises like `bind`.
    """
    sock = bind(address, env)
    async with listen.serving(sock, talk, tls=tls, limit=limit):
        env.log("info", f"{what}: listening at {listen.name_of(sock)}")
        yield


def put_source_ip(field: str | None, env: Env, where: str) -> Callable[[list[Event], str, Run], None]:
    """A function that writes the address of the sender into events; does nothing without a field."""
    if field is None:
        return lambda events, ip, run: None
    put = select.setter(select.parse(field))

    def write(events: list[Event], ip: str, run: Run) -> None:
        for event in events:
            try:
                put(event, ip)
            except ValueError as error:
                run.refuse(env, f"{where}: {error}")

    return write
