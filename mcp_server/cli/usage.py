"""`sluice usage`: how much of the store is taken."""

from __future__ import annotations

from mcp_server.cli import connect, render

COLUMNS = ("what", "records", "bytes", "most_bytes", "setting")


async def usage(*, common: connect.Common = connect.DEFAULTS) -> int:
    """Show how much this tenant keeps in the store, and how much it may."""
    async with connect.engine(common) as engine:
        result = await engine.call("usage_get")
    if common.json:
        render.json(result)
        return 0
    render.rows(result["items"], COLUMNS, empty="")
    return 0
