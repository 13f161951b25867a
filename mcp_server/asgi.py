"""What stands in front of the SDK's HTTP transport: who is calling, clean header values, and which hosts are served."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from core import errors
from core.model.principal import Caller
from mcp_server.session import Authenticate

_CALLER = "sluice.caller"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Endpoint:
    """An ASGI application: authenticate, then hand over to the SDK's transport."""

    def __init__(
        self, handle: Callable[[Scope, Receive, Send], Awaitable[None]], authenticate: Authenticate | None
    ) -> None:
        self._handle = handle
        self._authenticate = authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # uvicorn with httptools leaves optional white space around values (RFC 9110, 5.5), and the SDK compares them.
        scope = {**scope, "headers": [(name, value.strip(b" \t")) for name, value in scope["headers"]]}
        if self._authenticate is not None:
            try:
                caller = await self._authenticate(Headers(scope=scope))
            except errors.SluiceError as error:
                await _refusal(error)(scope, receive, send)
                return
            scope[_CALLER] = caller
            # The SDK binds a session to the user that opened it, and refuses it to anyone else.
            token = AccessToken(token="", client_id=f"{caller.tenant}/{caller.username}", scopes=[])
            scope["user"] = AuthenticatedUser(token)
        await self._handle(scope, receive, send)


def caller_of(request: Any) -> Caller | None:
    """The caller that authenticated this HTTP request; None over stdio and without authentication."""
    caller = None if request is None else request.scope.get(_CALLER)
    return caller if isinstance(caller, Caller) else None


def _refusal(error: errors.SluiceError) -> JSONResponse:
    if isinstance(error, errors.Unauthenticated):
        return JSONResponse(error.to_dict(), 401, {"WWW-Authenticate": 'Bearer realm="sluice"'})
    status = {"invalid_params": 422, "forbidden": 403, "not_found": 404, "rate_limited": 429}.get(error.code, 503)
    return JSONResponse(error.to_dict(), status, {"Retry-After": "1"} if status in (429, 503) else None)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def security(host: str, allowed_hosts: Sequence[str], *, authenticated: bool) -> TransportSecuritySettings:
    """Which Host and Origin headers are accepted (against DNS rebinding).

    Raises Forbidden when anyone on the network could act as the user of this process.
    """
    if not authenticated and not is_loopback(host):
        raise errors.Forbidden(
            f"MCP over HTTP without authentication is served on loopback only, not on {errors.shorten(host)}.",
            hint="Use 127.0.0.1, or `sluice serve`, which asks for a token.",
        )
    names = [*_LOOPBACK, *allowed_hosts]
    if authenticated and not is_loopback(host) and not allowed_hosts:
        # A browser that was led here by another name has no token to send, so the check would add nothing.
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    hosts = [form for name in names for form in (name, f"{name}:*")]
    return TransportSecuritySettings(
        allowed_hosts=hosts, allowed_origins=[f"{scheme}://{h}" for h in hosts for scheme in ("http", "https")]
    )
