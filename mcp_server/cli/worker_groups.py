"""`sluice group`: worker groups."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from mcp_server.cli import connect, render

COLUMNS = ("name", "workers", "online", "slots", "capacity", "jobs", "tenants", "labels")
Many = Annotated[list[str] | None, Parameter(negative=())]


async def list_groups(
    *,
    label: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """List worker groups.

    Parameters
    ----------
    label
        Only groups with this label.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("worker_group_list", label=label, limit=limit, cursor=cursor)
    return render.page(result, COLUMNS, empty="There are no worker groups.", as_json=common.json)


async def show(name: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Show one worker group, its workers and what is placed in it.

    Parameters
    ----------
    name
        The group.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("worker_group_get", name=name)
    if common.json:
        render.json(result)
        return 0
    rows = result.pop("worker_rows")
    render.facts(result, tuple(result))
    render.heading("Workers")
    columns = ("name", "state", "pid", "slots", "jobs", "labels")
    render.rows(rows, columns, empty=f"None: put one in it with 'sluice worker update NAME --group {name}'.")
    return 0


async def create(
    name: str,
    /,
    *,
    slots: int | None = None,
    label: Many = None,
    admit: Many = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Make a worker group.

    Parameters
    ----------
    name
        Lower-case letters, digits, - and _.
    slots
        How many jobs each of its workers may hold; as the worker was started when left out.
    label
        A label; may be repeated.
    admit
        A tenant whose jobs its workers may be given; may be repeated. Every tenant when left out; workers of other
        machines only join a group that names its tenants.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("worker_group_create", name=name, slots=slots, labels=label, tenants=admit)
    return _shown(result, common)


async def update(
    name: str,
    /,
    *,
    new_name: str | None = None,
    slots: int | None = None,
    label: Many = None,
    no_labels: Annotated[bool, Parameter(negative=())] = False,
    admit: Many = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Change or rename a worker group.

    Parameters
    ----------
    name
        The group.
    new_name
        Rename it; refused while a job is placed in it.
    slots
        How many jobs each of its workers may hold; 0 is as the worker was started.
    label
        A label, in place of those before; may be repeated.
    no_labels
        Take its labels away.
    admit
        A tenant whose jobs its workers may be given, in place of those before; may be repeated; '*' is every tenant.
    """
    labels = [] if no_labels else label
    async with connect.engine(common) as engine:
        result = await engine.call(
            "worker_group_update", name=name, new_name=new_name, slots=slots, labels=labels, tenants=admit
        )
    return _shown(result, common)


async def delete(name: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Delete a worker group that is not used.

    Parameters
    ----------
    name
        The group.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("worker_group_delete", name=name)
    return render.one(result, as_json=common.json)


def _shown(result: dict[str, Any], common: connect.Common) -> int:
    return render.one(result, COLUMNS, as_json=common.json)
