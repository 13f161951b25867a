"""What stands in front of the SDK's HTTP transport: who is calling, clean header values, and which hosts are served."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.inbound import MCP_METHOD_HEADER
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from core import errors
from core.model.principal import Caller
from mcp_server import legacy, loopback
from mcp_server.live import GRACE_SECONDS, Live, over
from mcp_server.session import Authenticate
from mcp_server.stepping_up import Needed

LISTEN = "subscriptions/listen"
Handle = legacy.Handle
_LAST_EVENT = b"last-event-id"
_CALLER = "sluice.caller"
_calling: ContextVar[Caller | None] = ContextVar("calling", default=None)


class Endpoint:
    """An ASGI application: authenticate, then hand over to the SDK's transport, with what stays open in `live`."""

    def __init__(
        self,
        handle: Handle,
        authenticate: Authenticate | None,
        live: Live,
        local: Caller,
        needed: Needed | None = None,
    ) -> None:
        """`needed` says of what comes with the token of an MCP host which scope it lacks."""
        self._needed = needed
        self._sessions = legacy.Sessions(handle, live)
        self._authenticate = authenticate
        self._live = live
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # uvicorn with httptools leaves optional white space around values (RFC 9110, 5.5), and the SDK compares them.
        # No events are kept to be told again, so a stream begins anew; asked to resume one, the SDK gives no answer.
        given = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        scope = {**scope, "headers": [(name, value) for name, value in given if name != _LAST_EVENT]}
        caller = self._local
        try:
            if self._authenticate is not None:
                caller = await self._authenticate(Headers(scope=scope))
                scope[_CALLER] = caller
                # The SDK binds a session to the client that opened it, and refuses it to others.
                scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=legacy.owner(caller), scopes=[]))
            _calling.set(caller)
            if self._needed is not None and caller.principal.mcp_only and scope["method"] == "POST":
                first = await receive()
                receive = _again(first, receive)
                if wanted := self._needed(caller, first.get("body", b"")):
                    await _insufficient(wanted)(scope, receive, send)
                    return
            serve = self._stream if _is_stream(scope) else self._sessions
            await serve(scope, receive, send, caller)
        except errors.SluiceError as error:  # raised before anything was answered
            await _refusal(error)(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send, caller: Caller) -> None:
        """Serve a request that is answered by a stream, until the client leaves or the stream has to end."""
        begun = done = False

        async def noted(message: Message) -> None:
            nonlocal begun, done
            begun = True
            done = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        with (
            anyio.CancelScope() as stop,
            self._live.stream(LISTEN, caller, lambda _: stop.cancel(), ages=False) as answer,
        ):
            await self._sessions(scope, receive, noted, caller)
        if answer.reason is None or done:
            return
        if not begun:
            raise over(answer.reason)
        with anyio.move_on_after(GRACE_SECONDS):  # a client that does not read is not waited for
            last = b'event: end\r\ndata: {"reason": "%s"}\r\n\r\n' % answer.reason.encode()
            await send({"type": "http.response.body", "body": last, "more_body": False})


def _again(first: Message, receive: Receive) -> Receive:
    """Receive what was received already, once more."""
    pending = [first]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again


def _insufficient(challenge: str) -> JSONResponse:
    error = errors.Forbidden(
        "The scopes of this token do not include this call.", hint="Ask the user for the scopes that are named here."
    )
    return JSONResponse(error.to_dict(), 403, {"WWW-Authenticate": challenge})


def _is_stream(scope: Scope) -> bool:
    """Whether a request is answered by a stream that stays open: of an earlier session, or `subscriptions/listen`.

    The SDK refuses a request whose header names another method than its body.
    """
    if scope["method"] == "GET":
        return True
    return Headers(scope=scope).get(MCP_METHOD_HEADER) == LISTEN


def calling() -> Caller | None:
    """The caller of the HTTP request that is being served in this context; None over stdio."""
    return _calling.get()


def caller_of(request: Any) -> Caller | None:
    """The caller that authenticated this HTTP request; None over stdio and without authentication."""
    caller = None if request is None else request.scope.get(_CALLER)
    return caller if isinstance(caller, Caller) else None


def _refusal(error: errors.SluiceError) -> JSONResponse:
    if isinstance(error, errors.Unauthenticated):
        return JSONResponse(error.to_dict(), 401, {"WWW-Authenticate": 'Bearer realm="sluice"'})
    status = {"invalid_params": 422, "forbidden": 403, "not_found": 404, "rate_limited": 429}.get(error.code, 503)
    later = {"Retry-After": str(error.details.get("retry_after_seconds", 1))} if status in (429, 503) else None
    return JSONResponse(error.to_dict(), status, later)


def security(host: str, allowed_hosts: Sequence[str], *, authenticated: bool) -> TransportSecuritySettings:
    """Which Host and Origin headers are accepted (against DNS rebinding).

    Raises Forbidden when anyone on the network could act as the user of this process.
    """
    if not authenticated and not loopback.is_loopback(host):
        raise errors.Forbidden(
            f"MCP over HTTP without authentication is served on loopback only, not on {errors.shorten(host)}.",
            hint="Use 127.0.0.1, or `sluice serve`, which asks for a token.",
        )
    names = [*loopback.HOSTS, *allowed_hosts]
    if authenticated and not loopback.is_loopback(host) and not allowed_hosts:
        # A browser that was led here by another name has no token to send, so the check would add nothing.
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    hosts = [form for name in names for form in (name, f"{name}:*")]
    return TransportSecuritySettings(
        allowed_hosts=hosts, allowed_origins=[f"{scheme}://{h}" for h in hosts for scheme in ("http", "https")]
    )
