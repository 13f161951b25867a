"""`sluice worker`."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from mcp_server.cli import connect, progress, render

Many = Annotated[list[str] | None, Parameter(negative=())]


async def list_workers(
    *,
    group: str | None = None,
    state: str | None = None,
    label: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """List workers.

    Parameters
    ----------
    group
        Only workers of this group.
    state
        Only workers in this state.
    label
        Only workers with this label, of their own or of their group.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("worker_list", group=group, state=state, label=label, limit=limit, cursor=cursor)
    return render.page(
        result,
        ("name", "kind", "group", "state", "pid", "slots", "jobs", "labels", "sandbox", "last_heartbeat_at"),
        empty="There are no workers. 'sluice serve' starts two.",
        as_json=common.json,
    )


async def show(name: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Show one worker: what it reports of itself, and the jobs on it.

    Parameters
    ----------
    name
        The worker.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("worker_get", name=name)
    if common.json:
        render.json(result)
        return 0
    workloads, report = result.pop("workloads"), result.pop("report")
    render.facts(result, tuple(result))
    if report is not None:
        render.heading("Report")
        render.facts(report, tuple(report))
    if workloads:
        render.heading("Workloads")
        render.rows(workloads, ("job", "replica", "state", "restarts", "reason", "metrics"), empty="")
    return 0


async def update(
    name: str,
    /,
    *,
    group: str | None = None,
    label: Many = None,
    no_labels: Annotated[bool, Parameter(negative=())] = False,
    wait: int | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Put a worker in another group, or label it; what has to leave it moves.

    Parameters
    ----------
    name
        The worker.
    group
        The group to put it in.
    label
        A label, in place of those before; may be repeated.
    no_labels
        Take its labels away.
    wait
        How many seconds to wait until what moves has settled.
    """
    labels = [] if no_labels else label
    async with connect.engine(common) as engine:
        with progress.bar(engine, name, f"updating {name}", quiet=common.json):
            result = await engine.call("worker_update", name=name, group=group, labels=labels, wait_seconds=wait)
    return _said(result, common)


async def drain(name: str, /, *, wait: int | None = None, common: connect.Common = connect.DEFAULTS) -> int:
    """Take a worker out of service: nothing new for it, and what can move does.

    Parameters
    ----------
    name
        The worker.
    wait
        How many seconds to wait until what moves has settled.
    """
    async with connect.engine(common) as engine:
        with progress.bar(engine, name, f"draining {name}", quiet=common.json):
            result = await engine.call("worker_drain", name=name, wait_seconds=wait)
    return _said(result, common)


async def resume(name: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Let a drained worker take jobs again.

    Parameters
    ----------
    name
        The worker.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("worker_resume", name=name)
    return _said(result, common)


async def remove(name: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Forget a worker of another machine that has gone for good.

    Parameters
    ----------
    name
        The worker.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("worker_remove", name=name)
    return render.one(result, as_json=common.json)


def _said(result: dict[str, Any], common: connect.Common) -> int:
    if common.json:
        render.json(result)
        return 0
    moved, stays = result.pop("moved"), result.pop("stays")
    render.facts(result, ("name", "group", "state", "slots", "jobs", "labels"))
    if moved:
        render.heading("Moved")
        render.rows(render.folded(moved, "id", "worker"), ("number", "id", "worker"), empty="")
    if stays:
        render.heading("Stays")
        render.rows(render.folded(stays, "id", "reason"), ("number", "id", "reason"), empty="")
    return 0
