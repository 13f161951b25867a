"""Credentials for the HTTP doors: API keys (made once, shown once, kept as a hash), and the JWTs minted from them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from core import clock, errors
from core.admission import in_tenant
from core.engine import Engine
from core.identity import outside, tokens
from core.model import results
from core.model import scopes as limits
from core.model.operation import Effect, Loss, Params
from core.model.principal import EVERY_TENANT, Caller, Role
from core.operations.losses import counted
from core.operations.registry import LISTED, Page, offset_page, operation

DEFAULT_TTL_SECONDS = 3600
MAX_TTL_SECONDS = 30 * 86_400


class TokenCreate(Params):
    name: str = Field(default="", max_length=100)
    """What the token is for."""
    username: str = Field(min_length=1, max_length=100)
    """The user that it stands for: lower-case letters, digits and . _ @ + -, so that no name looks like another one."""
    role: Role = Role.USER
    """What it may do: viewer, user, operator or admin."""
    tenants: list[str] = Field(default_factory=lambda: ["default"], min_length=1, max_length=50)
    """The tenants that it may act in."""
    expires_in_seconds: int | None = Field(default=None, ge=60, le=10 * 365 * 86_400)
    """How long it is valid; when left out, forever, or as long as the key that makes it."""
    platform: bool = False
    """Whether it may also act in the platform's own scope, and on what all tenants share."""
    scopes: list[Annotated[str, Field(pattern=limits.PATTERN)]] = Field(default_factory=list, max_length=50)
    """Limit it to: read, toolset:NAME, operation:NAME, trigger:SLUG; nothing for all that its role may."""


@operation(
    summary="Make an API token; it is shown only now.",
    http="POST /api/tokens",
    toolset="administration",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    tool=False,
    told_once=("token",),
)
async def token_create(engine: Engine, caller: Caller, params: TokenCreate) -> results.identity.TokenCreated:
    """Make an API token for the HTTP API and for MCP over HTTP. Only its hash is kept.

    It goes beyond the credential that makes it in nothing: role, tenants, platform, scopes, end; and ends with it when
    that one is withdrawn. A user name that has tokens already is for those who may do all that these may.
    """
    for tenant in params.tenants:
        if tenant != EVERY_TENANT:
            in_tenant(caller, tenant)
    secret, row = await engine.tokens.create(caller, tokens.Wanted(**dict(params)))
    return {"token": secret, **_token(row)}


def _token(row: dict[str, Any]) -> results.identity.Token:
    return {
        "id": row["id"],
        "name": row["name"],
        **tokens.rights(row),  # type: ignore[typeddict-item]  # which is never `cut`
        "created_at": clock.iso(row["created_at_ns"]),
        "expires_at": clock.iso(row["expires_at_ns"]) if row["expires_at_ns"] else None,
        "last_used_at": clock.iso(row["last_used_at_ns"]) if row.get("last_used_at_ns") else None,
        "revoked": row["revoked_at_ns"] is not None,
        "made_by": row["made_by"] or None,
    }


@operation(
    summary="List the API tokens.",
    http="GET /api/tokens",
    toolset="administration",
    role=Role.ADMIN,
    tool=False,
    outline=LISTED,
)
async def token_list(engine: Engine, caller: Caller, params: Page) -> results.Listing[results.identity.Token]:
    """List the tokens, without their secrets, which nobody has."""
    return offset_page(await engine.tokens.administered(caller), params, _token)


class TokenRevoke(Params):
    id: str = Field(max_length=64)
    """The id of the token (tok_...)."""


async def _tokens_go(engine: Engine, caller: Caller, params: TokenRevoke) -> Loss | None:
    found = await engine.tokens.revocable(caller, params.id)
    if found is None:
        return None  # it is refused
    row, made = found
    text = f"The token {params.id} of {errors.shorten(row['username'], 100)} goes"
    return Loss(f"{text}, with {counted('token', made)} that it made." if made else f"{text}.", where="token_list")


@operation(
    summary="Withdraw an API token.",
    http="POST /api/tokens/{id}/revoke",
    toolset="administration",
    effect=Effect.DESTRUCTIVE,
    destroys=_tokens_go,
    offline=True,
    role=Role.ADMIN,
    tool=False,
)
async def token_revoke(engine: Engine, caller: Caller, params: TokenRevoke) -> results.identity.TokenRevoked:
    """Withdraw a token at once, with all that were made with it, and all their JWTs: {id, revoked, with}."""
    return {"id": params.id, "revoked": True, "with": await engine.tokens.revoke(caller, params.id)}


class TokenMint(Params):
    ttl_seconds: int = Field(default=DEFAULT_TTL_SECONDS, ge=60, le=MAX_TTL_SECONDS)
    """How long the JWT is valid; never longer than the API key."""


@operation(
    summary="Mint a short-lived JWT from the API key of this request.",
    http="POST /api/auth/token",
    toolset="administration",
    effect=Effect.WRITE,
    offline=True,
    role=Role.VIEWER,
    tool=False,
    gated=False,
    told_once=("access_token",),
)
async def token_mint(engine: Engine, caller: Caller, params: TokenMint) -> results.identity.TokenMinted:
    """Exchange an API key for a JWT: {access_token, token_type, expires_in, expires_at, username}.

    The JWT stands for the same user with the same rights, as they are whenever it is shown, and ends with its key.
    Raises Forbidden when the request carries no API key: a JWT cannot prolong itself.
    """
    minted = await engine.tokens.mint(caller, params.ttl_seconds)
    return {
        "access_token": minted.token,
        "token_type": "Bearer",
        "expires_in": minted.ttl_seconds,
        "expires_at": clock.iso(minted.ends_at_ns),
        "username": caller.username,
    }


class WhoAmI(Params):
    pass


@operation(
    summary="Tell who this session is: user, role, tenants, scopes.",
    http="GET /api/auth/whoami",
    toolset="administration",
    role=Role.VIEWER,
    tool=False,
)
async def whoami(engine: Engine, caller: Caller, params: WhoAmI) -> results.identity.WhoAmI:
    """The identity behind the credential of this call, and the tenant that the call acts in."""
    principal = caller.principal
    return {
        "username": principal.username,
        "role": caller.role,
        "tenant": caller.tenant,
        "tenants": list(principal.tenants),
        "platform": principal.platform,
        "scopes": list(principal.scopes),
    }


class TokenVerify(Params):
    token: str = Field(max_length=4096)


@operation(summary="Who a token stands for.", http="", toolset="administration", tool=False, role=Role.VIEWER)
async def token_verify(engine: Engine, caller: Caller, params: TokenVerify) -> results.identity.TokenVerified:
    """The principal behind an API key or a JWT, and when it ends; for the HTTP door only.

    Raises Unauthenticated for an unknown, expired or revoked one, with one and the same message.
    """
    if engine.outside.takes(params.token):
        return _outsider(await engine.outside.verify(params.token))
    found = await engine.tokens.verify(params.token)
    return {
        **tokens.rights(found.row),
        "credential": found.row["id"],
        "minted": found.minted,
        "mcp_only": found.mcp_only,
        "ends_in_seconds": found.seconds,
    }


def _outsider(found: outside.Outsider) -> results.identity.TokenVerified:
    """Whom an access token of the provider stands for; it is no token of ours, so none is named."""
    return {
        "username": found.username,
        "role": found.rights.role,
        "tenants": list(found.rights.tenants),
        "platform": found.rights.platform,
        "scopes": list(found.scopes),
        "roles": dict(found.rights.roles),
        "credential": "",
        "minted": True,
        "mcp_only": True,
        "ends_in_seconds": found.seconds,
    }
