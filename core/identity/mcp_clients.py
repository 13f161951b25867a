"""Who asks to be let in as an MCP client: one that the settings name, or one that describes itself at an address.

A client id that is an https:// address leads to a document about the client (OAuth Client ID Metadata Documents). It is
fetched as everything is (core.guard): public addresses, no redirects, 5 KiB, 3 s. All clients are public ones: they
have no secret, and PKCE binds a code to who asked for it.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from core import clock, errors
from core.settings import Settings

if TYPE_CHECKING:
    from core.guard import egress

MOST_BYTES = 5 * 1024
SECONDS = 3.0
CACHE_SECONDS = 300.0
CACHE_SIZE = 200
MOST_REDIRECTS = 20
MOST_CHARACTERS = 1000  # of an address
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?").fullmatch
_NEVER = frozenset({"http", "javascript", "data", "file", "vbscript", "blob", "about", "ftp", "ws", "wss", "mailto"})


class Client(NamedTuple):
    """A client, what it calls itself, and where it may have its answers sent."""

    id: str
    name: str
    redirects: tuple[str, ...]


class UnknownClient(errors.InvalidParams):
    """Nobody can be asked about such a client: its answers go nowhere."""


class Clients:
    """Those of one engine; `now` is the monotonic clock. `allow` and `tls` are what clients may be beside public."""

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], float] = clock.monotonic,
        *,
        allow: tuple[str, ...] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._known = dict(_of_setting(text) for text in settings.mcp_clients)
        self._now = now
        self._allow = allow
        self._tls = tls
        self._http: egress.Egress | None = None
        self._fetched: dict[str, tuple[float, Client]] = {}

    async def find(self, client_id: str, redirect_uri: str) -> Client:
        """The client, for which the redirect address is one of its own. Raises UnknownClient."""
        client = self._known.get(client_id) or await self._described(client_id)
        if not any(fits(one, redirect_uri) for one in client.redirects):
            raise UnknownClient(
                f"{errors.shorten(redirect_uri, 200)} is no redirect address of {errors.shorten(client.name, 100)}.",
                hint="The setting mcp_clients names those of a client without an address of its own.",
            )
        return client

    async def _described(self, client_id: str) -> Client:
        kept = self._fetched.get(client_id)
        if kept is not None and kept[0] > self._now():
            return kept[1]
        parts = urlsplit(client_id) if client_id.isprintable() and len(client_id) <= MOST_CHARACTERS else urlsplit("")
        odd = parts.username is not None or parts.fragment or {".", ".."} & set(parts.path.split("/"))
        if parts.scheme != "https" or not parts.hostname or parts.path in ("", "/") or odd:
            raise UnknownClient(
                f"There is no MCP client {errors.shorten(ascii(client_id), 100)}.",
                hint="A client id is one of the setting mcp_clients, or the https:// address of a document about it.",
            )
        client = _read(client_id, await self._fetch(client_id))
        while len(self._fetched) >= CACHE_SIZE:
            self._fetched.pop(next(iter(self._fetched)))
        self._fetched[client_id] = (self._now() + CACHE_SECONDS, client)
        return client

    async def _fetch(self, url: str) -> Any:
        if self._http is None:
            from core.guard import egress

            self._http = egress.Egress(self._allow, tls=self._tls)
        try:
            reply = await self._http.request(
                "GET", url, headers={"accept": "application/json"}, deadline_seconds=SECONDS, max_bytes=MOST_BYTES
            )
        except (errors.JobFailed, errors.Forbidden) as error:
            raise UnknownClient(f"The document about this client cannot be read: {error.message}.") from error
        try:
            said = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            said = None
        if reply.status != 200 or not isinstance(said, dict):
            raise UnknownClient(f"The document about this client cannot be read (status {reply.status}).")
        return said

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()


def _read(client_id: str, said: dict[str, Any]) -> Client:
    """The client of a document. Raises UnknownClient for one that is not about this id, or not of a public client."""
    if said.get("client_id") != client_id:
        raise UnknownClient("The document about this client is about another one (client_id).")
    method = said.get("token_endpoint_auth_method", "none")
    if method != "none" or "client_secret" in said:
        raise UnknownClient(f"This client wants to prove itself by {errors.shorten(ascii(method), 40)}; none is taken.")
    redirects, name = said.get("redirect_uris"), said.get("client_name", "")
    if not isinstance(redirects, list) or not 0 < len(redirects) <= MOST_REDIRECTS:
        raise UnknownClient("The document about this client names no redirect addresses, or too many.")
    for one in redirects:
        if not isinstance(one, str) or not is_redirect(one):
            raise UnknownClient("A redirect address of this client is none that answers may be sent to.")
    shown = name if isinstance(name, str) and name.isprintable() else ""
    return Client(client_id, shown[:100] or str(urlsplit(client_id).hostname), tuple(redirects))


def _of_setting(text: str) -> tuple[str, Client]:
    id, _, redirects = text.partition("=")
    for one in redirects.split():
        if not is_redirect(one):
            raise errors.InvalidSettings(
                f"The setting mcp_clients sends answers of {id} to {errors.shorten(one, 100)}, where none may go.",
                hint="https://HOST/..., http://127.0.0.1/... or an address of an app, without a fragment.",
            )
    return id, Client(id, id, tuple(redirects.split()))


def _is_authority(text: str) -> bool:
    """Whether this is a host, with a port or not; it stands in a header of the page that asks."""
    found = _AUTHORITY(text)
    return found is not None and int(found[1] or 1) in range(1, 65536)


def is_redirect(uri: str) -> bool:
    """Whether answers may be sent to an address: https://, http:// of the user's own machine, or a scheme of an app."""
    if not uri.isascii() or not uri.isprintable() or " " in uri or "\\" in uri or len(uri) > MOST_CHARACTERS:
        return False
    parts = urlsplit(uri)
    if parts.netloc and not _is_authority(parts.netloc):
        return False
    if parts.fragment or parts.username is not None:
        return False
    if parts.scheme == "http":
        return parts.hostname in LOOPBACK
    return bool(parts.scheme) and parts.scheme not in _NEVER and (parts.scheme != "https" or bool(parts.hostname))


def fits(registered: str, asked: str) -> bool:
    """Whether an address is the registered one; of the user's own machine with any port (RFC 8252, 7.3)."""
    if not is_redirect(asked):
        return False
    one, other = urlsplit(registered), urlsplit(asked)
    if one.scheme == "http" and one.hostname in LOOPBACK:
        return (one.scheme, one.hostname, one.path, one.query) == (
            other.scheme,
            other.hostname,
            other.path,
            other.query,
        )
    return registered == asked


def place_of(uri: str) -> str:
    """The part of a redirect address that says where answers go, as users are shown it."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:"
