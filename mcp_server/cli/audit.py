"""`sluice audit`: who changed what, and what was refused."""

from __future__ import annotations

from typing import Literal

from mcp_server.cli import connect, render


async def audit(
    *,
    user: str | None = None,
    operation: str | None = None,
    target: str | None = None,
    surface: Literal["mcp", "http", "cli", "internal"] | None = None,
    decision: str | None = None,
    since: str | None = None,
    until: str | None = None,
    cursor: str | None = None,
    limit: int | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """List who changed what in a tenant, and which calls were refused, newest first; for admins.

    Parameters
    ----------
    user
        Only what this user did.
    operation
        Only this operation.
    target
        Only what was done to the thing of this name or id.
    surface
        Only what came through this door.
    decision
        Only what was decided so: allowed, forbidden or write_disabled.
    since
        Not before this time: ISO 8601, or how long ago (2h, 7d).
    until
        Before this time.
    cursor
        Where to go on: the cursor of the page before.
    limit
        Rows a page.
    """
    async with connect.engine(common) as engine:
        result = await engine.call(
            "audit_list",
            username=user,
            operation=operation,
            target=target,
            surface=surface,
            decision=decision,
            since=since,
            until=until,
            cursor=cursor,
            limit=limit,
        )
    if common.json:
        render.json(result)
    else:
        columns = ("at", "username", "role", "surface", "operation", "target", "decision")
        render.rows(result["items"], columns, empty="Nothing is on record.", more=result["next_cursor"])
    return 0
