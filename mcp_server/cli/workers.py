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
