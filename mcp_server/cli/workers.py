"""`sluice worker`."""

from __future__ import annotations

from mcp_server.cli import connect, render


async def list_workers(
    *, group: str | None = None, state: str | None = None, common: connect.Common = connect.DEFAULTS
) -> int:
    """List workers.

    Parameters
    ----------
    group
        Only workers of this group.
    state
        Only workers in this state.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("worker_list", group=group, state=state)
    if common.json:
        render.json(result)
    else:
        render.rows(
            result["items"],
            ("name", "group", "state", "pid", "slots", "jobs", "last_heartbeat_at"),
            empty="There are no workers. 'sluice serve' starts two.",
        )
    return 0
