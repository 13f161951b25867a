"""Signing in to the console: one-time links, and the sessions of browsers, which are tokens that end when unused."""

from __future__ import annotations

from pydantic import Field

from core.engine import Engine
from core.identity import links
from core.model import results
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.operations.registry import operation

DAYS = 7
IDLE_HOURS = 12


class LinkCreate(Params):
    pass


@operation(
    summary="Make a link that opens the console once.",
    http="POST /api/console/links",
    toolset="administration",
    effect=Effect.WRITE,
    role=Role.VIEWER,
    tool=False,
    gated=False,
    told_once=("code", "path"),
)
async def console_link_create(engine: Engine, caller: Caller, params: LinkCreate) -> results.identity.ConsoleLink:
    """Make a code that signs a browser in as the caller: {code, path, expires_in}. It works once, for ten minutes.

    The path is to be opened in a browser, behind the address of the server.
    """
    code = await engine.links.create(caller)
    return {"code": code, "path": f"/console/#code={code}", "expires_in": links.SECONDS}


class SessionCreate(Params):
    code: str = Field(default="", max_length=200)
    """Of a link; the session is then of whoever made that. Without one it is the caller's own."""


@operation(
    summary="Sign a browser in.",
    http="",
    toolset="administration",
    effect=Effect.WRITE,
    role=Role.VIEWER,
    tool=False,
    gated=False,
    told_once=("token",),
)
async def console_session_create(
    engine: Engine, caller: Caller, params: SessionCreate
) -> results.identity.BrowserSession:
    """A token that stands for the same user with the same rights, for the HTTP door to leave in a cookie: {token,
    seconds}. It ends after seven days, after twelve hours without use, and with the credential that made it.

    Raises Unauthenticated for a code that was used or is over.
    """
    owner = engine.links.redeem(params.code) if params.code else caller
    seconds = await engine.tokens.left_seconds(owner, most=DAYS * 86_400)
    secret, _ = await engine.tokens.derive(owner, "browser", seconds, "console_session_create", IDLE_HOURS * 3600)
    return {"token": secret, "seconds": seconds}


class SessionEnd(Params):
    pass


@operation(
    summary="Sign this browser out.",
    http="",
    toolset="administration",
    effect=Effect.WRITE,
    role=Role.VIEWER,
    tool=False,
    gated=False,
)
async def console_session_end(engine: Engine, caller: Caller, params: SessionEnd) -> results.identity.SignedOut:
    """Withdraw the token of the caller's browser: {ended}. Other credentials stay as they are."""
    return {"ended": await engine.tokens.sign_out(caller)}
