"""Which credentials still hold: asked by the doors of the long answers that they give (mcp_server/live.py)."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import Field

from core.engine import Engine
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import operation
from core.store import tokens as table

MOST = 500  # asked about at once


class CredentialCheck(Params):
    ids: list[Annotated[str, Field(max_length=64)]] = Field(max_length=MOST)


@operation(
    summary="Which credentials hold, and for whom.", http="", toolset="administration", tool=False, role=Role.USER
)
async def credential_check(engine: Engine, caller: Caller, params: CredentialCheck) -> dict[str, Any]:
    """What the API keys with these ids are now: {items: {id: {state, username, role, tenants, platform, scopes}}}; for
    the doors only. `state` is valid, expired or revoked; one that is not there was revoked."""
    now = engine.steady.now_ns()
    rows = {row["id"]: row for row in await engine.database.read(table.by_ids, params.ids)} if params.ids else {}
    return {"items": {id: _state(rows.get(id), now) for id in params.ids}}


def _state(row: dict[str, Any] | None, now_ns: int) -> dict[str, Any]:
    if row is None or row["revoked_at_ns"] is not None:
        return {"state": "revoked"}
    if row["expires_at_ns"] is not None and row["expires_at_ns"] <= now_ns:
        return {"state": "expired"}
    return {
        "state": "valid",
        "username": row["username"],
        "role": row["role"],
        "tenants": orjson.loads(row["tenants"]),
        "platform": bool(row["platform"]),
        "scopes": orjson.loads(row["scopes"]),
    }
