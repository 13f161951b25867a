"""Credentials for the HTTP doors: API keys (made once, shown once, kept as a hash), and the JWTs minted from them."""

from __future__ import annotations

import contextlib
import functools
import getpass
import hashlib
import os
import pwd
import re
from typing import Annotated, Any

import orjson
import structlog
from pydantic import Field

from core import clock, errors, signing
from core.engine import Engine
from core.model import grants
from core.model import scopes as limits
from core.model.operation import Effect, Loss, Params
from core.model.principal import EVERY_TENANT, PLATFORM, SYSTEM, Caller, Role
from core.operations.losses import counted
from core.operations.registry import Page, items_schema, offset_page, operation
from core.store import audit
from core.store import tokens as table

PREFIX = "sluice_"
DEFAULT_TTL_SECONDS = 3600
MAX_TTL_SECONDS = 30 * 86_400
TOUCH_SECONDS = 60  # how exact last_used_at is: a write for each request would cost more than it tells
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}").fullmatch
_INVALID = "This token is not valid."
log = structlog.get_logger("core.operations.tokens")


class TokenCreate(Params):
    name: str = Field(default="", max_length=100)
    """What the token is for."""
    username: str = Field(min_length=1, max_length=100)
    """The user that it stands for: lower-case letters, digits and . _ @ + -, so that no name looks like another one."""
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
    offline=True,
    role=Role.ADMIN,
    tool=False,
    told_once=("token",),
)
async def token_create(engine: Engine, caller: Caller, params: TokenCreate) -> dict[str, Any]:
    """Make an API token for the HTTP API and for MCP over HTTP. Only its hash is kept.

    It goes beyond the credential that makes it in nothing: role, tenants, platform, scopes, end; and ends with it when
    that one is withdrawn. A user name that has tokens already is for those who may do all that these may.
    """
    for tenant in params.tenants:
        if tenant != EVERY_TENANT:
            engine.in_tenant(caller, tenant)
    _check_scopes(engine, params.scopes)
    now = engine.steady.now_ns()
    own = grants.of(caller.principal, await _end(engine, caller))
    wanted = params.expires_in_seconds
    expires = own.ends_at_ns if wanted is None else now + wanted * clock.NANOSECONDS
    made = grants.Grant(params.role, frozenset(params.tenants), params.platform, frozenset(params.scopes), expires)
    beyond = grants.wider(made, own)
    if beyond:
        raise errors.Forbidden(
            f"A credential makes none that goes beyond itself, as this one would: {', '.join(beyond)}.",
            hint=f"What makes it has {_told(own)}.",
        )

    if params.username != caller.username and not _USERNAME(params.username):
        raise errors.InvalidParams(
            f"{errors.shorten(ascii(params.username), 100)} is not the name of a user.",
            hint="A user name has lower-case letters, digits and . _ @ + -, and starts with a letter or a digit.",
            errors=[errors.Problem("/username", "is not the name of a user")],
        )

    def check(others: list[dict[str, Any]]) -> None:
        rights = [_granted(row) for row in others] + [grants.EVERYTHING] * (params.username in _owners())
        if params.username != caller.username and not grants.may_act_as(own, rights):
            raise errors.Forbidden(
                f"The user name {errors.shorten(params.username, 100)} is in use, with rights that go beyond yours.",
                hint="Choose another name, or ask an admin who may do all that this user may.",
            )

    secret = PREFIX + clock.token(64)
    row = {
        "id": "tok_" + clock.token(12),
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
        "made_by": caller.principal.credential,
    }
    note = audit.row(engine.ids.next(), caller, "token_create", str(row["id"]))
    await engine.database.write(table.insert, row, check, note)
    return {"token": secret, **_shown(row)}


async def _end(engine: Engine, caller: Caller) -> int | None:
    """When the API key of a caller ends; None when it does not, or when there is none."""
    own = await engine.database.read(table.by_id, caller.principal.credential) if caller.principal.credential else None
    return None if own is None else own["expires_at_ns"]


def _granted(row: dict[str, Any]) -> grants.Grant:
    """The rights of a token."""
    tenants, scopes = orjson.loads(row["tenants"]), orjson.loads(row["scopes"])
    return grants.Grant(
        Role(row["role"]), frozenset(tenants), bool(row["platform"]), frozenset(scopes), row["expires_at_ns"]
    )


def _told(own: grants.Grant) -> str:
    limits = [f"role {own.role.value}", f"tenants {', '.join(sorted(own.tenants))}"]
    limits += ["platform"] if own.platform else []
    limits += [f"scopes {', '.join(sorted(own.scopes))}"] if own.scopes else []
    return "; ".join(limits) + ("" if own.ends_at_ns is None else f"; and ends at {clock.iso(own.ends_at_ns)}")


def _owners() -> frozenset[str]:
    """The names that the owner of the home directory acts under, and the engine's own."""
    names = {SYSTEM.username, getpass.getuser()}
    with contextlib.suppress(KeyError):  # a container may run as a number that has no name
        names.add(pwd.getpwuid(os.geteuid()).pw_name)
    return frozenset(names)


def _check_scopes(engine: Engine, wanted: list[str]) -> None:
    """Raises InvalidParams for a scope about nothing."""
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
        "made_by": row["made_by"] or None,
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
    """Whether a token is the caller's to see and to revoke: it opens nothing besides what the caller's own does."""
    opens = [*token["tenants"], *([PLATFORM] if token["platform"] else [])]
    return caller.operator or all(map(caller.member_of, opens))


class TokenRevoke(Params):
    id: str = Field(max_length=64)
    """The id of the token (tok_...)."""


async def _tokens_go(engine: Engine, caller: Caller, params: TokenRevoke) -> Loss | None:
    row = await engine.database.read(table.by_id, params.id)
    if row is None or row["revoked_at_ns"] is not None or not _administers(caller, _shown(row)):
        return None  # it is refused
    made = await engine.database.read(table.made_with, params.id)
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
async def token_revoke(engine: Engine, caller: Caller, params: TokenRevoke) -> dict[str, Any]:
    """Withdraw a token at once, with all that were made with it, and all their JWTs: {id, revoked, with}."""
    row = await engine.database.read(table.by_id, params.id)
    note = functools.partial(audit.row, engine.ids.next(), caller, "token_revoke")
    mine = row is not None and _administers(caller, _shown(row))
    went = await engine.database.write(table.revoke, params.id, engine.steady.now_ns(), note) if mine else []
    if not went:
        raise errors.NotFound(
            f"There is no token {errors.shorten(params.id, 64)} to revoke.", hint="token_list shows them."
        )
    engine.announce("tokens", {"id": params.id})
    return {"id": params.id, "revoked": True, "with": went[1:]}


class TokenMint(Params):
    ttl_seconds: int = Field(default=DEFAULT_TTL_SECONDS, ge=60, le=MAX_TTL_SECONDS)
    """How long the JWT is valid; never longer than the API key."""


@operation(
    summary="Mint a short-lived JWT from the API key of this request.",
    http="POST /api/auth/token",
    toolset="administration",
    effect=Effect.WRITE,
    offline=True,
    role=Role.USER,
    tool=False,
    gated=False,
    told_once=("access_token",),
)
async def token_mint(engine: Engine, caller: Caller, params: TokenMint) -> dict[str, Any]:
    """Exchange an API key for a JWT: {access_token, token_type, expires_in, expires_at, username}.

    The JWT stands for the same user with the same rights, as they are whenever it is shown, and ends with its key.
    Raises Forbidden when the request carries no API key: a JWT cannot prolong itself.
    """
    principal = caller.principal
    row = await engine.database.read(table.by_id, principal.credential) if principal.credential else None
    if row is None:
        raise errors.Forbidden(
            "A JWT is minted from an API key, and this request carries none.",
            hint="Send 'Authorization: Bearer API_KEY'; 'sluice token create' makes one.",
        )
    now = engine.steady.now_ns()
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
    now = engine.steady.now_ns()
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
        "ends_in_seconds": (min(ends) - now) / clock.NANOSECONDS if ends else None,
    }
