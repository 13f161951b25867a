"""The gate in front of every HTTP request: Host, Origin, size and credentials, before anything is routed or kept.

It is default-deny: a route that nobody listed as open needs credentials, whoever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Hashable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from core import errors
from core.external.line import PATH
from mcp_server import loopback
from mcp_server.http import auth, cookies, problems
from mcp_server.http.arriving import Arriving, Body
from mcp_server.http.forwarded import Proxies, Shares

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 1024 * 1024
MAX_MCP_BODY_BYTES = 4 * 1024 * 1024
MAX_GITOPS_BODY_BYTES = 8 * 1024 * 1024  # what Operation.max_bytes of its operations says
SIGN_IN, SIGN_OUT = "/api/console/sign-in", "/api/console/sign-out"
LOGIN = "/api/login"  # to the provider, and what comes of it
LOGIN_CALLBACK, LOGIN_END, LOGIN_METHODS = LOGIN + "/callback", LOGIN + "/logout", LOGIN + "/methods"
LOGIN_DEVICE, LOGIN_DEVICE_POLL = LOGIN + "/device", LOGIN + "/device/token"
AUTHORIZE, TOKEN, REVOKE = "/oauth/authorize", "/oauth/token", "/oauth/revoke"  # of MCP hosts
SERVER_METADATA = "/.well-known/oauth-authorization-server"
RESOURCES = "/.well-known/oauth-protected-resource"
CONSOLE = "/console/"  # the files of the console; they are alike for everybody, and hold nothing of this installation
VIEWER = "/api/docs"  # a page of the same kind
SITE = "/docs/"  # the documentation, which is alike for everybody too
OPEN_PATHS = frozenset(
    {
        LOGIN,
        LOGIN_CALLBACK,
        LOGIN_END,
        LOGIN_METHODS,
        LOGIN_DEVICE,
        AUTHORIZE,
        TOKEN,
        REVOKE,
        SERVER_METADATA,
        RESOURCES,
        RESOURCES + "/mcp",
        LOGIN_DEVICE_POLL,
        "/health",
        "/ready",
        "/api/openapi.json",
        VIEWER,
        "/",
        CONSOLE.rstrip("/"),
        SITE.rstrip("/"),
        SIGN_IN,
    }
)
MCP_PATH = "/mcp"
GITOPS_PATH = "/api/gitops/"
GITOPS_OPERATIONS = "/api/operations/gitops_"
PRINCIPAL = "sluice.principal"  # where the identity is left in the ASGI scope

_CREDENTIAL = re.compile(rb"(?i)(?:^|&)(?:access_token|token|api_?key|jwt|authorization|bearer)=").search
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")


def is_open(path: str) -> bool:
    """Whether everybody may ask for what is there."""
    return path in OPEN_PATHS or path.startswith((CONSOLE, SITE))


class Admission:
    """ASGI middleware that lets a request pass only when its Host, Origin, size and credentials are in order.

    The body of one is read when it is known whose it is, within what one user may have on its way (`arriving`).
    `hosts` are the names (without port) that this server answers to; `origins` are the web origins, other than the
    server's own, that may call it. What trusted `proxies` hand on is their clients', of which each has its share of
    what is under way. `challenge` is what a 401 of /mcp says in WWW-Authenticate.
    """

    def __init__(
        self,
        app: App,
        authenticator: auth.Authenticator,
        *,
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        arriving: Arriving | None = None,
        proxies: Proxies | None = None,
        shares: Shares | None = None,
        workers: App | None = None,
        challenge: str = "",
    ) -> None:
        self._app = app
        self._workers = workers
        self._challenge = challenge
        self._proxies = Proxies() if proxies is None else proxies
        self._shares = Shares() if shares is None else shares
        self._arriving = Arriving() if arriving is None else arriving
        self._authenticator = authenticator
        self._hosts = {*loopback.HOSTS, *(host.lower() for host in hosts)}
        self._origins = frozenset(origin.lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._admit_worker(scope, receive, send)
            return
        # A parser may leave blanks around a header value; they are not part of it (RFC 9110, 5.5).
        scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        behind = self._proxies.placed(scope) if self._proxies else None
        if behind is None:
            await self._admit(scope, receive, send)
            return
        try:
            with self._shares.of(behind):
                await self._admit(scope, receive, send)
        except errors.RateLimited as error:
            await problems.response(error)(scope, receive, send)

    async def _admit_worker(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a worker of another machine through to where it proves itself; a web page is none."""
        if self._proxies:
            self._proxies.placed(scope)
        refusal = self._refuse_host(scope["headers"])
        if refusal is None and any(name == b"origin" for name, _ in scope["headers"]):
            refusal = 403, errors.Forbidden("Web pages are no workers.")
        if refusal is None and (self._workers is None or scope["path"] != PATH):
            refusal = 404, errors.NotFound("There is no WebSocket here.")
        if refusal is not None:
            await receive()  # websocket.connect
            await problems.refuse_socket(send, *refusal)
            return
        assert self._workers is not None
        await self._workers(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        limit = _limit(scope["path"])
        body: Body | None = None
        try:
            refusal = self._refuse(headers)
            if refusal is None:
                coming = _comes_with_a_body(headers, limit)
                client = str((scope.get("client") or ("",))[0])
                who: Hashable = client
                if not is_open(scope["path"]):
                    _no_credentials_in(scope.get("query_string", b""))
                    shown = _value(headers, b"authorization") or cookies.bearer(scope, headers)
                    identity = await self._authenticator.principal(shown, client)
                    if identity.mcp_only and scope["path"] != MCP_PATH:
                        raise errors.Unauthenticated("This token is for /mcp, and for nothing else here.")
                    scope[PRINCIPAL] = identity
                    who = identity.tenants, identity.username
                if coming:
                    body = Body(self._arriving, who)
                receive = _replay(b"" if body is None else await _whole(receive, body, limit), receive)
        except _Gone:
            return  # there is nobody who could be answered, and nothing was asked for
        except _TooLarge:
            refusal = (
                413,
                errors.InvalidParams(f"The request body is larger than {limit} bytes.", hint="Send less at a time."),
            )
        except errors.SluiceError as error:
            refusal = problems.STATUS[error.code], error
        finally:
            # What is refused, or whose client has left, is not kept while it is told so.
            if body is not None and (refusal is not None or not body.whole):
                body.close()
        if refusal is not None:
            status, fault = refusal
            told = {"www-authenticate": self._challenge} if status == 401 and scope["path"] == MCP_PATH else {}
            told = {name: value for name, value in told.items() if value}
            await problems.response(fault, status, told)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            if body is not None:
                body.close()

    def _refuse_host(self, headers: list[tuple[bytes, bytes]]) -> tuple[int, errors.SluiceError] | None:
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1:
            return 400, errors.InvalidParams("A request carries exactly one Host header.")
        host = hosts[0].decode("latin-1").lower()
        match = _HOST.fullmatch(host)
        if match is None or match[1] not in self._hosts:
            return 421, errors.Forbidden(
                f"This server does not answer to the host {errors.shorten(host, 80)}.",
                hint="Call it by an address it listens on, or start it with --allow-host NAME.",
            )
        return None

    def _refuse(self, headers: list[tuple[bytes, bytes]]) -> tuple[int, errors.SluiceError] | None:
        refusal = self._refuse_host(headers)
        if refusal is not None:
            return refusal
        host = next(value for name, value in headers if name == b"host").decode("latin-1").lower()
        origins = [value.decode("latin-1").lower() for name, value in headers if name == b"origin"]
        if any(not self._origin_allowed(origin, host) for origin in origins):
            return 403, errors.Forbidden(
                f"The web origin {errors.shorten(origins[0], 80)} may not call this server.",
                hint="Start the server with --allow-origin ORIGIN if that page is yours.",
            )
        if any(name == b"upgrade" and b"websocket" in value.lower() for name, value in headers):
            return 400, errors.InvalidParams("This is no WebSocket.", hint="Streams are server-sent events.")
        return None

    def _origin_allowed(self, origin: str, host: str) -> bool:
        if origin in self._origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return origin == f"{parts.scheme}://{host}" and parts.scheme in ("http", "https")


def _no_credentials_in(query: bytes) -> None:
    """Raises Unauthenticated for a credential in the address, where every log and history on its way keeps it."""
    if query and _CREDENTIAL(query):
        raise errors.Unauthenticated(
            "A credential in the query string is not accepted, and should be revoked: addresses are logged.",
            hint="Send 'Authorization: Bearer TOKEN'.",
        )


def _limit(path: str) -> int:
    """How many bytes a body may have there."""
    if path.startswith((GITOPS_PATH, GITOPS_OPERATIONS)):
        return MAX_GITOPS_BODY_BYTES
    return MAX_MCP_BODY_BYTES if path == MCP_PATH else MAX_BODY_BYTES


class _TooLarge(Exception):
    """The body is over the limit."""


class _Gone(Exception):
    """The client left before it had sent its request."""


def _value(headers: list[tuple[bytes, bytes]], wanted: bytes) -> str | None:
    for name, value in headers:
        if name == wanted:
            return value.decode("latin-1")
    return None


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> MutableMapping[str, Any]:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _comes_with_a_body(headers: list[tuple[bytes, bytes]], limit: int) -> bool:
    """Whether there is a body to read. Raises _TooLarge when it says that it is over the limit."""
    declared = _value(headers, b"content-length")
    if declared is None:
        return _value(headers, b"transfer-encoding") is not None
    if not declared.isdigit() or int(declared[:20]) > limit:
        raise _TooLarge
    return declared.strip("0") != ""


async def _whole(receive: Receive, body: Body, limit: int) -> bytes:
    """The body, read to its end before anyone acts on it.

    Raises _TooLarge when it grows over the limit, _Gone when the client leaves before the end, and what `Body` raises.
    """
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size > limit:
            raise _TooLarge
        body.take(part, last=not more)
        if not more:
            return body.arrived()
