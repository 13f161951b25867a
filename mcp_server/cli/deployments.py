"""`sluice plan`, `apply`, `reconcile`, `status`, `history`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import anyio
from cyclopts import Parameter

from core import clock
from mcp_server.cli import connect, documents, render

CHANGES = 2
POLL_SECONDS = 1
SETTLED = frozenset({"running", "degraded", "failed", "removed"})

Pairs = Annotated[list[str] | None, Parameter(negative=())]


async def plan(
    name: str,
    /,
    *,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    group: str | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    place: Pairs = None,
    replicas: Pairs = None,
    environment: str | None = None,
    recompute_placement: Annotated[bool, Parameter(negative=())] = False,
    remove: Annotated[bool, Parameter(negative=())] = False,
    exit_code: Annotated[bool, Parameter(negative=())] = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Compute what a deployment would change, show it, and save it for `sluice apply`.

    Parameters
    ----------
    name
        The deployment, new or existing.
    from_
        What to deploy: workflow:SLUG[@VERSION] or blueprint:SLUG[@VERSION].
    group
        The worker group for steps that name none.
    set_
        A wizard value, FIELD=VALUE; may be repeated.
    place
        Run a step in a group, STEP=GROUP; may be repeated.
    replicas
        How many copies of a step, STEP=N; may be repeated.
    environment
        Whose context values {{name}} sees, such as prod; as before when left out.
    recompute_placement
        Forget where things run now and place them afresh.
    remove
        Plan the removal of the deployment.
    exit_code
        Exit with 2 when there are changes.
    """
    async with connect.engine(common) as engine:
        made = await engine.call(
            "deployment_plan",
            name=name,
            source=from_,
            worker_group=group,
            values=documents.values(set_) if set_ else None,
            placement=documents.texts(place, "--place") if place else None,
            replicas=documents.numbers(replicas, "--replicas") if replicas else None,
            environment=environment,
            recompute_placement=recompute_placement or None,
            remove=remove or None,
        )
    changes = sum(number for what, number in made["summary"].items() if what != "unchanged")
    if common.json:
        render.json(made)
    else:
        render.text(made["text"])
        if changes and made["saved"] and not made["blockers"]:
            connect.note(f"\nTo carry it out: sluice apply {made['plan_id']}")
    return CHANGES if exit_code and changes else 0


async def apply(
    plan_id: str,
    /,
    *,
    wait: float = 60,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Carry out a saved plan, and wait until its workloads have settled.

    Parameters
    ----------
    plan_id
        What `sluice plan` printed.
    wait
        How many seconds to wait for the workloads; 0 returns at once.
    """
    workers = common.settings().workers
    async with connect.engine(common, workers=workers) as engine:
        result = await engine.call("deployment_apply", plan_id=plan_id, wait_seconds=0)
        if wait > 0 and result["state"] not in SETTLED:
            result = {**result, **await _settle(engine, result["deployment"], wait, quiet=common.json)}
        if common.json:
            render.json(result)
        else:
            render.facts(result, ("deployment", "state", "revision", "history_id"))
            _workloads(result.get("workloads", []))
        if getattr(engine.session, "owner", False):
            connect.note(
                "\nNo engine was running, so this command ran one, and the workloads stop with it. "
                "'sluice serve' keeps them running."
            )
    return 1 if result["state"] in ("failed", "degraded") else 0


async def _settle(engine: connect.Client, name: str, seconds: float, *, quiet: bool) -> dict[str, Any]:
    """Look at a deployment until it has settled or the time is over, with a progress bar for people."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    deadline = clock.monotonic() + seconds
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=quiet or not sys.stderr.isatty(),
        transient=True,
    )
    with bar:
        task = bar.add_task(f"applying {name}", total=None)
        while True:
            seen = await engine.call("deployment_get", name=name)
            workloads = seen.get("workloads", [])
            ready = sum(one["state"] in ("running", "completed") for one in workloads)
            bar.update(task, total=len(workloads) or None, completed=ready)
            if seen["state"] in SETTLED or clock.monotonic() >= deadline:
                return {"state": seen["state"], "workloads": workloads}
            await anyio.sleep(min(0.1, POLL_SECONDS))


async def reconcile(
    name: str,
    /,
    *,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Bring what runs back to what was applied.

    Parameters
    ----------
    name
        The deployment.
    dry_run
        Only show the drift and the steps.
    """
    async with connect.engine(common, workers=0 if dry_run else common.settings().workers) as engine:
        result = await engine.call("deployment_reconcile", name=name, dry_run=dry_run or None)
    if common.json:
        render.json(result)
    else:
        _drift(result.get("drift", []))
        if result.get("steps"):
            render.heading("Steps" if not dry_run else "Steps that would be taken")
            render.rows(result["steps"], tuple(result["steps"][0]), empty="")
        render.facts(result, ("state",))
    return 0


async def status(name: str | None = None, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Show deployments, or one of them with its workloads and drift.

    Parameters
    ----------
    name
        The deployment; without it, all of them.
    """
    async with connect.engine(common) as engine:
        result = (
            await engine.call("deployment_get", name=name, detail="detailed")
            if name is not None
            else await engine.call("deployment_list")
        )
    if common.json:
        render.json(result)
    elif name is None:
        render.rows(
            result["items"],
            ("name", "state", "health", "revision", "source", "workloads"),
            empty="Nothing is deployed. Start with: sluice catalog search",
            more=result.get("next_cursor"),
        )
    else:
        last = result.get("last_applied")
        shown = {**result, "last_applied": f"{last['at']} by {last['by']}" if last else None}
        facts = ("name", "state", "reason", "health", "revision", "source", "worker_group", "last_applied")
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
    if common.json:
        render.json(result)
    else:
        columns = tuple(result["items"][0]) if result["items"] else ()
        render.rows(result["items"], columns, empty="Nothing was applied yet.", more=result.get("next_cursor"))
    return 0


def _workloads(workloads: list[dict[str, Any]]) -> None:
    if workloads:
        render.heading("Workloads")
        render.rows(workloads, ("step", "job", "replica", "worker", "state", "restarts", "reason"), empty="")


def _drift(drift: list[dict[str, Any]]) -> None:
    render.heading("Drift")
    render.rows(drift, ("kind", "id", "expected", "observed"), empty="None: what runs is what was applied.")
