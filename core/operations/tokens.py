"""API tokens for the HTTP doors: made once, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from pydantic import Field

from core import clock, errors
from core.engine import Engine
from core.model.operation import Effect, Params
from core.model.principal import EVERY_TENANT, Caller, Role
from core.operations.registry import Page, items_schema, offset_page, operation
from core.store import audit
from core.store import tokens as table

PREFIX = "sluice_"


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
    """How long it is valid; forever when left out."""


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
    secret = PREFIX + clock.token(64)
    id = "tok_" + clock.token(12)
    now = clock.now_ns()
    expires = None if params.expires_in_seconds is None else now + params.expires_in_seconds * clock.NANOSECONDS
    row = {
        "id": id,
        "name": params.name,
        "hash": _hash(secret),
        "username": params.username,
        "role": params.role.value,
        "tenants": orjson.dumps(params.tenants).decode(),
        "platform": 0,
        "created_at_ns": now,
        "expires_at_ns": expires,
        "revoked_at_ns": None,
    }
    note = audit.row(engine.ids.next(), caller, "token_create", id)
    await engine.database.write(table.insert, row, note)
    return {"token": secret, **_shown(row)}


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
        "created_at": clock.iso(row["created_at_ns"]),
        "expires_at": clock.iso(row["expires_at_ns"]) if row["expires_at_ns"] else None,
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
    everything = EVERY_TENANT in caller.principal.tenants
    return offset_page([r for r in rows if everything or all(map(caller.member_of, r["tenants"]))], params)


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
    mine = (await token_list(engine, caller, Page(limit=200)))["items"]
    known = {row["id"] for row in mine if not row["revoked"]}
    note = audit.row(engine.ids.next(), caller, "token_revoke", params.id)
    if params.id not in known or not await engine.database.write(table.revoke, params.id, clock.now_ns(), note):
        raise errors.NotFound(
            f"There is no token {errors.shorten(params.id, 64)} to revoke.", hint="token_list shows them."
        )
    engine.announce("tokens", {"id": params.id})
    return {"id": params.id, "revoked": True}


class TokenVerify(Params):
    token: str = Field(max_length=256)


@operation(summary="Who a token stands for.", http="", toolset="administration", tool=False, role=Role.USER)
async def token_verify(engine: Engine, caller: Caller, params: TokenVerify) -> dict[str, Any]:
    """The principal behind a token: {username, role, tenants, platform}; for the HTTP door only.

    Raises Unauthenticated for an unknown, expired or revoked one, with one and the same message.
    """
    row = await engine.database.read(table.by_hash, _hash(params.token))
    expired = row is not None and row["expires_at_ns"] is not None and row["expires_at_ns"] <= clock.now_ns()
    if row is None or expired or row["revoked_at_ns"] is not None:
        raise errors.Unauthenticated(
            "This token is not valid.", hint="Make one with: sluice token create --username NAME --role user"
        )
    return {
        "username": row["username"],
        "role": row["role"],
        "tenants": orjson.loads(row["tenants"]),
        "platform": bool(row["platform"]),
    }
