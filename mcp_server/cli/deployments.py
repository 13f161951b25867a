"""`sluice apply`, `reconcile`, `status`, `history`, and `deployment set`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from mcp_server.cli import connect, progress, render

Pairs = Annotated[list[str] | None, Parameter(negative=())]


async def apply(
    plan_id: str,
    /,
    *,
    wait: int = 60,
    health_seconds: int | None = None,
    rollback_on_failure: Annotated[bool, Parameter(negative=())] = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Carry out a saved plan, and wait until its workloads are up.

    Parameters
    ----------
    plan_id
        What `sluice plan` printed.
    wait
        How many seconds to wait for the outcome; 0 returns at once.
    health_seconds
        How long the workloads may take to come up.
    rollback_on_failure
        Take the version before back when the workloads do not come up (a first version is removed).
    """
    async with connect.engine(common) as engine:
        with progress.bar(engine, plan_id, f"applying {plan_id}", quiet=common.json):
            result = await engine.call(
                "deployment_apply",
                plan_id=plan_id,
                wait_seconds=wait,
                health_seconds=health_seconds,
                rollback_on_failure=rollback_on_failure or None,
            )
        if common.json:
            render.json(result)
        else:
            render.facts(result, ("deployment", "state", "reason", "revision", "rolled_back", "history_id"))
            _workloads(result.get("workloads", []))
    return 1 if result["rolled_back"] or result["state"] in ("failed", "degraded") else 0


async def reconcile(
    name: str,
    /,
    *,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    release: Annotated[bool, Parameter(negative=())] = False,
    wait: int | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Bring what runs back to what was applied.

    Parameters
    ----------
    name
        The deployment.
    dry_run
        Only show the drift and the steps.
    release
        Run again what is quarantined because its workers died again and again while it was at work.
    wait
        How many seconds to wait until the workloads have settled; 0 returns at once.
    """
    async with connect.engine(common) as engine:
        with progress.bar(engine, name, f"reconciling {name}", quiet=common.json):
            result = await engine.call(
                "deployment_reconcile",
                name=name,
                dry_run=dry_run or None,
                release=release or None,
                wait_seconds=wait,
            )
    if common.json:
        render.json(result)
    else:
        _drift(result.get("drift", []))
        if result.get("warnings"):
            render.heading("Warnings")
            render.rows(result["warnings"], ("message", "hint"), empty="")
        if result.get("steps"):
            render.heading("Steps" if not dry_run else "Steps that would be taken")
            render.rows(result["steps"], tuple(result["steps"][0]), empty="")
        render.facts(result, ("state",))
    return 0


async def set_(
    name: str,
    /,
    *,
    reconcile: Literal["auto", "manual"] | None = None,
    interval: int | None = None,
    ignore: Pairs = None,
    ignore_nothing: Annotated[bool, Parameter(negative=())] = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Set how a deployment is kept: whether drift is healed by itself, how often, and which drift is left alone.

    Parameters
    ----------
    name
        The deployment.
    reconcile
        auto heals drift by itself; manual only shows it.
    interval
        Seconds between two comparisons; 0 is as often as the engine is set to.
    ignore
        Known drift to leave alone, in place of the list before; may be repeated: job:NAME (job:* for all jobs) with
        /state, /worker, /version or /document/POINTER, or without, for all drift of the job.
    ignore_nothing
        Leave no drift alone any more.
    """
    async with connect.engine(common) as engine:
        result = await engine.call(
            "deployment_set",
            name=name,
            reconcile=reconcile,
            interval_seconds=interval,
            ignore=[] if ignore_nothing else ignore,
        )
    return render.one(result, as_json=common.json)


async def status(
    name: str | None = None,
    /,
    *,
    removed: Annotated[bool, Parameter(negative=())] = False,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Show deployments, or one of them with its workloads and drift.

    Parameters
    ----------
    name
        The deployment; without it, all of them.
    removed
        Of all: also those that were removed.
    limit
        Of all: how many rows.
    cursor
        Of all: where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = (
            await engine.call("deployment_get", name=name, detail="detailed")
            if name is not None
            else await engine.call("deployment_list", include_removed=removed or None, limit=limit, cursor=cursor)
        )
        engine.tell_when_idle()
    if common.json:
        render.json(result)
    elif name is None:
        render.rows(
            result["items"],
            ("name", "state", "health", "revision", "source", "workloads", "drift", "reconcile"),
            empty="Nothing is deployed. Start with: sluice catalog search --type workflow",
            more=result.get("next_cursor"),
        )
    else:
        last = result.get("last_applied")
        shown = {**result, "last_applied": f"{last['at']} by {last['by']}" if last else None}
        facts = (
            "name",
            "state",
            "reason",
            "health",
            "revision",
            "source",
            "worker_group",
            "data_directory",
            "last_applied",
        )
        render.facts(shown, facts)
        _workloads(result.get("workloads", []))
        _drift(result.get("drift", []))
    return 0


async def history(
    name: str,
    /,
    *,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Show what was applied to a deployment, and when.

    Parameters
    ----------
    name
        The deployment.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("deployment_history", name=name, limit=limit, cursor=cursor)
    columns = ("revision", "action", "source", "by", "surface", "at", "plan_id", "summary", "reason")
    return render.page(result, columns, empty="Nothing was applied yet.", as_json=common.json)


def _workloads(workloads: list[dict[str, Any]]) -> None:
    if workloads:
        render.heading("Workloads")
        render.rows(workloads, ("step", "job", "replica", "worker", "state", "restarts", "reason"), empty="")


def _drift(drift: list[dict[str, Any]]) -> None:
    render.heading("Drift")
    render.rows(drift, ("kind", "id", "expected", "observed", "muted"), empty="None: what runs is what was applied.")
