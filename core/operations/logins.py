"""Signing in with a provider: for the HTTP door, which keeps the cookies (mcp_server/http/signing_in.py)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from core.engine import Engine
from core.identity import signing_in
from core.model import results
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.operations.registry import operation

MOST_CHARACTERS = 16_384  # of a transaction, and of a token of a provider


class LoginBegin(Params):
    place: str = Field(default="/console/", max_length=2000)
    """Where the browser goes when it is signed in."""


@operation(
    summary="Where a browser signs in with the provider.",
    http="",
    toolset="administration",
    tool=False,
    role=Role.VIEWER,
)
async def login_begin(engine: Engine, caller: Caller, params: LoginBegin) -> results.identity.LoginBegan:
    """The address at the provider, and what the browser keeps until it comes back: {url, transaction, seconds}."""
    began = await engine.signing_in.begin(params.place)
    return {"url": began.url, "transaction": began.transaction, "seconds": signing_in.TRANSACTION_SECONDS}


class LoginComplete(Params):
    query: dict[Annotated[str, Field(max_length=60)], Annotated[str, Field(max_length=4096)]] = Field(max_length=20)
    """What the provider has the browser bring: code, state, iss, or error."""
    transaction: str = Field(max_length=MOST_CHARACTERS)


@operation(
    summary="Sign a browser in that comes back from the provider.",
    http="",
    toolset="administration",
    effect=Effect.WRITE,
    tool=False,
    gated=False,
    role=Role.VIEWER,
    told_once=("token",),
)
async def login_complete(engine: Engine, caller: Caller, params: LoginComplete) -> results.identity.LoginCompleted:
    """The session of a person, for the HTTP door to leave in a cookie: {token, seconds, place}.

    Raises Unauthenticated for what proves nobody, Forbidden for a person without a role binding, which is on record.
    """
    made = await engine.signing_in.complete(params.query, params.transaction)
    return {"token": made.token, "seconds": made.seconds, "place": made.place}


class LoginEnd(Params):
    logout_token: str = Field(max_length=MOST_CHARACTERS)


@operation(
    summary="End the sessions that the provider says have ended.",
    http="",
    toolset="administration",
    effect=Effect.WRITE,
    tool=False,
    gated=False,
    role=Role.VIEWER,
)
async def login_end(engine: Engine, caller: Caller, params: LoginEnd) -> results.identity.LoginsEnded:
    """Back-channel logout: {ended}, how many sign-ins that were. Raises Unauthenticated for what the provider has not
    signed."""
    return {"ended": await engine.signing_in.log_out(params.logout_token)}


class LoginMethods(Params):
    pass


@operation(summary="How people can sign in.", http="", toolset="administration", tool=False, role=Role.VIEWER)
async def login_methods(engine: Engine, caller: Caller, params: LoginMethods) -> results.identity.LoginMethods:
    """{provider}: its address where one is set, for the page that people sign in on."""
    return {"provider": engine.settings.oidc_issuer or None}
