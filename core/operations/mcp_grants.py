"""Letting MCP hosts in: for the HTTP door, which asks the user and answers the host (mcp_server/http/oauth.py)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from core.engine import Engine
from core.identity import mcp_clients, mcp_grants
from core.model import results
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.operations.registry import operation

Form = dict[Annotated[str, Field(max_length=60)], Annotated[str, Field(max_length=4096)]]


class GrantAsk(Params):
    query: Form = Field(max_length=30)
    """The authorization request."""


@operation(summary="What an MCP host asks for.", http="", toolset="administration", tool=False, role=Role.VIEWER)
async def mcp_grant_get(engine: Engine, caller: Caller, params: GrantAsk) -> results.identity.McpGrantAsked:
    """What is to be shown to whom it is about: {client_id, name, place, scopes}.

    Raises InvalidParams; with details.error where the host is to be told, without where nobody can be.
    """
    asked = await engine.mcp_grants.check(params.query)
    return {
        "client_id": asked.client.id,
        "name": asked.client.name,
        "place": mcp_clients.place_of(asked.redirect_uri),
        "scopes": {one: mcp_grants.MEANINGS[one] for one in asked.scopes},
    }


class GrantApprove(GrantAsk):
    tenant: str = Field(default="", max_length=64)
    """The one tenant in which the host acts; all of the caller's when left out."""


@operation(
    summary="Let an MCP host in.",
    http="",
    toolset="administration",
    effect=Effect.WRITE,
    tool=False,
    gated=False,
    role=Role.VIEWER,
)
async def mcp_grant_approve(engine: Engine, caller: Caller, params: GrantApprove) -> results.identity.McpGrantApproved:
    """Let the host act as the caller at /mcp, within what it asked for: {code}, which it exchanges within a minute."""
    asked = await engine.mcp_grants.check(params.query)
    return {"code": await engine.mcp_grants.approve(caller, asked, params.tenant)}


class TokenForm(Params):
    form: Form = Field(max_length=30)
    """The request to the token endpoint."""


@operation(
    summary="The tokens of an MCP host.",
    http="",
    toolset="administration",
    effect=Effect.WRITE,
    tool=False,
    gated=False,
    role=Role.VIEWER,
    told_once=("access_token",),
)
async def mcp_token_issue(engine: Engine, caller: Caller, params: TokenForm) -> results.identity.McpTokens:
    """For a code, or for a refresh token, which is spent by that: the answer of RFC 6749, 5.1."""
    issued = await engine.mcp_grants.exchange(params.form)
    return {
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": mcp_grants.ACCESS_SECONDS,
        "refresh_token": issued.refresh_token,
        "scope": issued.scopes,
    }


class McpTokenRef(Params):
    token: str = Field(max_length=4096)


@operation(
    summary="End what an MCP host was let in to do.",
    http="",
    toolset="administration",
    effect=Effect.WRITE,
    tool=False,
    gated=False,
    role=Role.VIEWER,
)
async def mcp_token_end(engine: Engine, caller: Caller, params: McpTokenRef) -> results.identity.McpTokenEnded:
    """End the grant of an access or refresh token (RFC 7009): {ended}."""
    return {"ended": await engine.mcp_grants.revoke(params.token)}
