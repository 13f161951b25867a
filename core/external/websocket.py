"""The line of a worker over WebSocket (RFC 6455) to the port of the engine: what every proxy passes on."""

from __future__ import annotations

import http
import ssl
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from core import errors
from core.external.line import PATH, SUBPROTOCOL, LineBroken
from core.external.sealed import OVERHEAD_BYTES
from core.external.tunnel import CHUNK_BYTES

MOST_BYTES = CHUNK_BYTES + OVERHEAD_BYTES
OPEN_SECONDS = 10.0
CLOSE_SECONDS = 2.0
MOST_REASON = 120  # bytes of a close frame, less than RFC 6455, 5.5 allows
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


class WebSocketLine:
    """The client's end."""

    chunk_bytes = CHUNK_BYTES

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, record: bytes) -> None:
        try:
            await self._connection.send(record)
        except (ConnectionClosed, OSError) as fault:
            raise LineBroken(f"the connection has ended: {fault}") from fault

    async def take(self) -> bytes:
        try:
            record = await self._connection.recv(decode=False)
        except ConnectionClosed as fault:
            said = fault.rcvd.reason if fault.rcvd is not None else ""
            raise LineBroken(said or f"the connection has ended: {fault}") from fault
        except OSError as fault:
            raise LineBroken(f"the connection has ended: {fault}") from fault
        return bytes(record)

    async def close(self, reason: str = "") -> None:
        await self._connection.close(reason=reason[:MOST_REASON])


def is_ours(url: str) -> bool:
    """Whether an address is one that this module dials."""
    return urlsplit(url).scheme in _SCHEMES


def address(url: str) -> str:
    """Where a worker connects to, of the address of a server. Raises InvalidParams."""
    parts = urlsplit(url)
    try:
        fits = parts.scheme in _SCHEMES and parts.hostname and not parts.query and not parts.fragment and "@" not in url
        fits = fits and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise errors.InvalidParams(
            f"{errors.shorten(url, 200)} is no address of an engine.", hint="Use https://HOST:PORT."
        )
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, parts.path.rstrip("/") + PATH, "", ""))


def trust(url: str, ca_file: Path | None) -> ssl.SSLContext | None:
    """Whose certificates are believed there: with a file, who it names, and else any.

    Which engine it is, and that nobody listens, the handshake within makes sure of; a certificate adds nothing to it,
    and that of an engine is its own. Raises InvalidParams for a file that holds none.
    """
    if urlsplit(url).scheme in ("http", "ws"):
        return None
    context = ssl.create_default_context()
    if ca_file is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as fault:
        raise errors.InvalidParams(f"--tls-ca {ca_file} cannot be used: {fault}.") from None
    return context


async def dial(url: str, tls: ssl.SSLContext | None) -> WebSocketLine:
    """Connect to the server at an address. Raises TargetUnavailable."""
    where = address(url)
    protocols: Sequence[Subprotocol] = [Subprotocol(SUBPROTOCOL)]
    try:
        connection = await connect(
            where,
            ssl=tls,
            subprotocols=protocols,
            compression=None,  # what is sealed does not get smaller
            max_size=MOST_BYTES,
            max_queue=4,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
            ping_interval=None,  # the tunnel has a pulse of its own
            user_agent_header=None,
        )
    except InvalidStatus as fault:
        raise _answered(url, fault.response.status_code, bytes(fault.response.body or b"")) from None
    except (InvalidHandshake, InvalidURI, OSError, TimeoutError, EOFError) as fault:
        hint = "Is it the address of 'sluice serve', and does the way there pass WebSockets on?"
        if isinstance(fault, ssl.SSLCertVerificationError):
            hint = "It shows another certificate than --tls-ca names; without that, any will do."
        raise errors.TargetUnavailable(
            f"{url} cannot be reached: {fault or type(fault).__name__}.", hint=hint
        ) from None
    if connection.subprotocol != SUBPROTOCOL:
        await connection.close()
        raise errors.TargetUnavailable(f"What answers at {url} is no engine of Sluice.")
    return WebSocketLine(connection)


def _answered(url: str, status: int, body: bytes) -> errors.TargetUnavailable:
    """What it means that an HTTP answer comes in place of a WebSocket."""
    phrase = http.HTTPStatus(status).phrase if status in http.HTTPStatus._value2member_map_ else "an unknown status"
    hint = "Is it the address of 'sluice serve'?"
    if status in (200, 400, 426):
        hint = (
            "A proxy on the way may not pass WebSockets on: nginx needs proxy_http_version 1.1 and the headers Upgrade"
            " and Connection (docs/service.md)."
        )
    elif status == 503:
        hint = (
            "The engine ends, or has as many connections as it takes, in all or of this address (http_connections,"
            " http_connections_per_address)."
        )
    elif status == 421:
        hint = "The server does not answer to this name: start it with --allow-host NAME."
    said = errors.shorten(body.decode("utf-8", "replace").strip(), 200)
    return errors.TargetUnavailable(
        f"{url} answers {status} {phrase} in place of a WebSocket{f': {said}' if said else ''}.", hint=hint
    )
