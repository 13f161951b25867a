"""`sluice token`: API tokens for HTTP and remote MCP."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from mcp_server.cli import connect, render


async def create(
    *,
    username: str,
    name: str | None = None,
    role: Literal["admin", "user"] = "user",
    member: Annotated[list[str] | None, Parameter(negative=())] = None,
    expires_in_seconds: int | None = None,
    scope: Annotated[list[str] | None, Parameter(negative=())] = None,
    platform: Annotated[bool, Parameter(negative=())] = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Make a token for a user name; it is shown once.

    Parameters
    ----------
    username
        Who the bearer is.
    name
        What the token is for.
    role
        What the bearer may do.
    member
        A tenant that the bearer belongs to; may be repeated.
    expires_in_seconds
        How long it is valid; for ever when left out.
    scope
        Limit it to: read, toolset:NAME, operation:NAME or trigger:SLUG; may be repeated.
    platform
        Let it act on what all tenants share, such as worker groups.
    """
    async with connect.engine(common) as engine:
        result = await engine.call(
            "token_create",
            username=username,
            name=name,
            role=role,
            tenants=member or [common.tenant],
            expires_in_seconds=expires_in_seconds,
            scopes=scope,
            platform=platform or None,
        )
    if common.json:
        render.json(result)
    else:
        connect.note("Keep this token; it cannot be shown again.")
        render.text(result["token"])
    return 0
