"""Credentials for the HTTP doors: API keys (made once, shown once, kept as a hash), and the JWTs minted from them."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import orjson
import structlog
from pydantic import Field

from core import clock, errors, signing
from core.engine import Engine
from core.model import scopes as limits
from core.model.operation import Effect, Params
from core.model.principal import EVERY_TENANT, Caller, Role
from core.operations.registry import Page, items_schema, offset_page, operation
from core.store import audit
from core.store import tokens as table

PREFIX = "sluice_"
DEFAULT_TTL_SECONDS = 3600
MAX_TTL_SECONDS = 30 * 86_400
TOUCH_SECONDS = 60  # how exact last_used_at is: a write for each request would cost more than it tells
_INVALID = "This token is not valid."
log = structlog.get_logger("core.operations.tokens")


class TokenCreate(Params):
    name: str = Field(default="", max_length=100)
    """What the token is for."""
    username: str = Field(min_length=1, max_length=100)
    """The user that it stands for."""
    role: Role = Role.USER
    """What it may do: admin or user."""
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
    role=Role.ADMIN,
    tool=False,
)
async def token_create(engine: Engine, caller: Caller, params: TokenCreate) -> dict[str, Any]:
    """Make an API token for the HTTP API and for MCP over HTTP. Only its hash is kept."""
    for tenant in params.tenants:
        if tenant == EVERY_TENANT and EVERY_TENANT not in caller.principal.tenants:
            raise errors.Forbidden("Only the operator of the home directory can make a token for every tenant.")
        engine.in_tenant(caller, tenant) if tenant != EVERY_TENANT else None
    _check_scopes(engine, caller, params.scopes)
    if params.platform and not (caller.principal.platform or caller.operator):
        raise errors.Forbidden("Only a platform principal can make a platform token.")
    secret = PREFIX + clock.token(64)
    id = "tok_" + clock.token(12)
    now = clock.now_ns()
    expires = None if params.expires_in_seconds is None else now + params.expires_in_seconds * clock.NANOSECONDS
    expires = await _within_own(engine, caller, expires)
    row = {
        "id": id,
        "name": params.name,
        "hash": _hash(secret),
        "username": params.username,
        "role": params.role.value,
        "tenants": orjson.dumps(params.tenants).decode(),
        "platform": int(params.platform),
        "scopes": orjson.dumps(sorted(set(params.scopes))).decode(),
        "created_at_ns": now,
        "expires_at_ns": expires,
        "revoked_at_ns": None,
    }
    note = audit.row(engine.ids.next(), caller, "token_create", id)
    await engine.database.write(table.insert, row, note)
    return {"token": secret, **_shown(row)}


async def _within_own(engine: Engine, caller: Caller, expires: int | None) -> int | None:
    """When a new key ends: as was asked, or with the key that makes it. Raises Forbidden for later than that."""
    own = await engine.database.read(table.by_id, caller.principal.credential) if caller.principal.credential else None
    latest = own["expires_at_ns"] if own is not None else None
    if latest is None:
        return expires
    if expires is not None and expires > latest:
        raise errors.Forbidden(
            "A key that ends makes no keys that end later.",
            hint=f"It ends at {clock.iso(latest)}; leave expires_in_seconds out to let the new one end with it.",
        )
    return int(latest) if expires is None else expires


def _check_scopes(engine: Engine, caller: Caller, wanted: list[str]) -> None:
    """Raises InvalidParams for a scope about nothing, Forbidden for one that the caller's own key does not have."""
    toolsets = {operation.toolset for operation in engine.operations}
    for index, scope in enumerate(wanted):
        kind, _, name = scope.partition(":")
        known = {"toolset": toolsets, "operation": {operation.name for operation in engine.operations}}.get(kind)
        if known is not None and name not in known:
            raise errors.InvalidParams(
                f"There is no {kind} {errors.shorten(name, 64)}.",
                hint=f"Toolsets: {', '.join(sorted(toolsets))}." if kind == "toolset" else "",
                errors=[errors.Problem(f"/scopes/{index}", f"names no {kind}")],
            )
    own = caller.principal.scopes
    if own and not (wanted and set(wanted) <= set(own)):
        raise errors.Forbidden(
            "A key with scopes makes keys with the same scopes or fewer.", hint=f"Its scopes: {', '.join(own)}."
        )


def _hash(secret: str) -> str:
    # A 256-bit random secret needs no slow hash: there is nothing to guess.
    return hashlib.sha256(secret.encode()).hexdigest()


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "username": row["username"],
        "role": row["role"],
        "tenants": orjson.loads(row["tenants"]),
        "platform": bool(row["platform"]),
        "scopes": orjson.loads(row["scopes"]),
        "created_at": clock.iso(row["created_at_ns"]),
        "expires_at": clock.iso(row["expires_at_ns"]) if row["expires_at_ns"] else None,
        "last_used_at": clock.iso(row["last_used_at_ns"]) if row.get("last_used_at_ns") else None,
        "revoked": row["revoked_at_ns"] is not None,
    }


@operation(
    summary="List the API tokens.",
    http="GET /api/tokens",
    toolset="administration",
    role=Role.ADMIN,
    tool=False,
    result=items_schema(),
)
async def token_list(engine: Engine, caller: Caller, params: Page) -> dict[str, Any]:
    """List the tokens, without their secrets, which nobody has."""
    rows = [_shown(row) for row in await engine.database.read(table.all_rows)]
    return offset_page([row for row in rows if _administers(caller, row)], params)


def _administers(caller: Caller, token: dict[str, Any]) -> bool:
    """Whether a token is the caller's to see and to revoke: it opens no tenant besides the caller's own."""
    return caller.operator or all(map(caller.member_of, token["tenants"]))


class TokenRevoke(Params):
    id: str = Field(max_length=64)
    """The id of the token (tok_...)."""


@operation(
    summary="Withdraw an API token.",
    http="POST /api/tokens/{id}/revoke",
    toolset="administration",
    effect=Effect.WRITE,
    role=Role.ADMIN,
    tool=False,
)
async def token_revoke(engine: Engine, caller: Caller, params: TokenRevoke) -> dict[str, Any]:
    """Withdraw a token at once."""
    row = await engine.database.read(table.by_id, params.id)
    note = audit.row(engine.ids.next(), caller, "token_revoke", params.id)
    mine = row is not None and _administers(caller, _shown(row))
    if not mine or not await engine.database.write(table.revoke, params.id, clock.now_ns(), note):
        raise errors.NotFound(
            f"There is no token {errors.shorten(params.id, 64)} to revoke.", hint="token_list shows them."
        )
    engine.announce("tokens", {"id": params.id})
    return {"id": params.id, "revoked": True}


class TokenMint(Params):
    ttl_seconds: int = Field(default=DEFAULT_TTL_SECONDS, ge=60, le=MAX_TTL_SECONDS)
    """How long the JWT is valid; never longer than the API key."""


@operation(
    summary="Mint a short-lived JWT from the API key of this request.",
    http="POST /api/auth/token",
    toolset="administration",
    effect=Effect.WRITE,
    role=Role.USER,
    tool=False,
    gated=False,
)
async def token_mint(engine: Engine, caller: Caller, params: TokenMint) -> dict[str, Any]:
    """Exchange an API key for a JWT: {access_token, token_type, expires_in, expires_at, username}.

    The JWT stands for the same user with the same rights, as they are whenever it is shown, and ends with its key.
    Raises Forbidden when the request carries no API key: a JWT cannot prolong itself.
    """
    principal = caller.principal
    row = await engine.database.read(table.by_id, principal.credential) if principal.credential else None
    if row is None or principal.minted:
        raise errors.Forbidden(
            "A JWT is minted from an API key, and this request carries none.",
            hint="Send 'Authorization: Bearer API_KEY'; 'sluice token create' makes one.",
        )
    now = clock.now_ns()
    ttl = params.ttl_seconds
    if row["expires_at_ns"] is not None:
        ttl = max(1, min(ttl, (row["expires_at_ns"] - now) // clock.NANOSECONDS))
    made = engine.signer.mint(principal.username, row["id"], now, ttl)
    await engine.database.write(audit.insert, audit.row(engine.ids.next(), caller, "token_mint", row["id"]))
    expires = (now // clock.NANOSECONDS + ttl) * clock.NANOSECONDS
    return {
        "access_token": made,
        "token_type": "Bearer",
        "expires_in": ttl,
        "expires_at": clock.iso(expires),
        "username": principal.username,
    }


class WhoAmI(Params):
    pass


@operation(
    summary="Tell who this session is: user, role, tenants, scopes.",
    http="GET /api/auth/whoami",
    toolset="administration",
    role=Role.USER,
    tool=False,
)
async def whoami(engine: Engine, caller: Caller, params: WhoAmI) -> dict[str, Any]:
    """The identity behind the credential of this call, and the tenant that the call acts in."""
    principal = caller.principal
    return {
        "username": principal.username,
        "role": principal.role.value,
        "tenant": caller.tenant,
        "tenants": list(principal.tenants),
        "platform": principal.platform,
        "scopes": list(principal.scopes),
    }


class TokenVerify(Params):
    token: str = Field(max_length=4096)


@operation(summary="Who a token stands for.", http="", toolset="administration", tool=False, role=Role.USER)
async def token_verify(engine: Engine, caller: Caller, params: TokenVerify) -> dict[str, Any]:
    """The principal behind an API key or a JWT, and when it ends; for the HTTP door only.

    Raises Unauthenticated for an unknown, expired or revoked one, with one and the same message.
    """
    now = clock.now_ns()
    claims = engine.signer.read(params.token, now) if signing.looks_like_one(params.token) else None
    if claims is None:
        row = await engine.database.read(table.by_hash, _hash(params.token))
    else:
        row = await engine.database.read(table.by_id, claims.key_id)
    # A JWT ends with its key: what is revoked, or was never there, is asked of the row and not of the token.
    expired = row is not None and row["expires_at_ns"] is not None and row["expires_at_ns"] <= now
    if row is None or expired or row["revoked_at_ns"] is not None:
        raise errors.Unauthenticated(_INVALID, hint="Make one with: sluice token create --username NAME --role user")
    if (row["last_used_at_ns"] or 0) < now - TOUCH_SECONDS * clock.NANOSECONDS:
        try:
            await engine.database.write(table.touch, row["id"], now)
        except errors.StorageUnavailable as error:  # who it is, is known all the same
            log.warning("use_of_token_not_recorded", id=row["id"], error=str(error))
    ends: list[int] = [] if row["expires_at_ns"] is None else [row["expires_at_ns"]]
    if claims is not None:
        ends.append(claims.expires_at_ns)
    return {
        "username": row["username"],
        "role": row["role"],
        "tenants": orjson.loads(row["tenants"]),
        "platform": bool(row["platform"]),
        "scopes": orjson.loads(row["scopes"]),
        "credential": row["id"],
        "minted": claims is not None,
        "expires_at_ns": min(ends, default=None),
    }
