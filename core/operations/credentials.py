"""Which credentials still hold: asked by the doors of the long answers that they give (mcp_server/live.py)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from core.engine import Engine
from core.identity import tokens
from core.model import results
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import operation

MOST = 500  # asked about at once


class CredentialCheck(Params):
    ids: list[Annotated[str, Field(max_length=64)]] = Field(max_length=MOST)


@operation(
    summary="Which credentials hold, and for whom.", http="", toolset="administration", tool=False, role=Role.VIEWER
)
async def credential_check(
    engine: Engine, caller: Caller, params: CredentialCheck
) -> results.identity.CredentialsChecked:
    """What the API keys with these ids are now: {items: {id: {state, username, role, tenants, platform, scopes}}}; for
    the doors only. `state` is valid, expired or revoked; one that is not there was revoked."""
    found = await engine.tokens.states(params.ids)
    return {"items": {id: _state(state, row) for id, (state, row) in found.items()}}


def _state(state: str, row: dict[str, Any] | None) -> results.identity.CredentialState:
    return {"state": state} if row is None else {"state": state, **tokens.rights(row)}
