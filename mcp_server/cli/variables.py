"""`sluice variable`: dynamic variables, which jobs read as `${dyn|NAME}` while they run."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from mcp_server.cli import connect, render


async def set_value(
    name: str,
    value: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Set a variable, at once for all jobs. Not for passwords: see `sluice secret set`.

    Parameters
    ----------
    name
        The variable.
    value
        Its text.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("variable_set", name=name, value=value)
    return render.one(result, as_json=common.json)


async def list_variables(
    *, limit: int | None = None, cursor: str | None = None, common: connect.Common = connect.DEFAULTS
) -> int:
    """List variables with their values.

    Parameters
    ----------
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("variable_list", limit=limit, cursor=cursor)
    return render.page(
        result,
        ("name", "value", "updated_at", "updated_by"),
        empty="There are no variables. Set one with: sluice variable set NAME VALUE",
        as_json=common.json,
    )


async def delete(name: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Remove a variable.

    Parameters
    ----------
    name
        The variable.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("variable_delete", name=name)
    return render.one(result, as_json=common.json)
