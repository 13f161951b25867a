"""`sluice mcp activity` and `sluice mcp notifications`: what MCP sessions do, and how clients hear of jobs."""

from __future__ import annotations

from mcp_server.cli import connect, render


async def activity(
    *,
    label: str | None = None,
    user: str | None = None,
    tool: str | None = None,
    outcome: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """List the tool calls of MCP sessions that run with --activity-forward, the newest first.

    Parameters
    ----------
    label
        Only sessions of this label.
    user
        Only calls by this user.
    tool
        Only calls of this tool.
    outcome
        Only calls that ended so: ok, or the code of an error.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call(
            "mcp_activity_list", label=label, username=user, tool=tool, outcome=outcome, limit=limit, cursor=cursor
        )
    return render.page(
        result,
        ("at", "username", "role", "label", "transport", "tool", "outcome", "duration_ms"),
        empty="No session has told of a call. Sessions do with: sluice mcp --activity-forward",
        as_json=common.json,
    )


async def notifications(*, common: connect.Common = connect.DEFAULTS) -> int:
    """Show how a client can be told of what jobs do: a stream, polling, or MCP."""
    async with connect.engine(common) as engine:
        result = await engine.call("mcp_notifications_transport_get")
    if common.json:
        render.json(result)
        return 0
    for name, facts in result.items():
        render.heading(name)
        render.facts(facts, tuple(facts))
    return 0
