"""`sluice whoami`: as whom commands act, and where."""

from __future__ import annotations

from mcp_server.cli import connect, render


async def whoami(*, common: connect.Common = connect.DEFAULTS) -> int:
    """Tell as whom commands act: user, role, tenants, scopes."""
    async with connect.engine(common) as engine:
        result = await engine.call("whoami")
    return render.one(result, as_json=common.json)
