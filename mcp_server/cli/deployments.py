"""`sluice plan`, `plans`, `apply`, `rollback`, `reconcile`, `status`, `history`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from mcp_server.cli import connect, documents, graphs, progress, render, wording

CHANGES = 2

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
    exact: Annotated[bool, Parameter(negative=())] = False,
    recompute_placement: Annotated[bool, Parameter(negative=())] = False,
    remove: Annotated[bool, Parameter(negative=())] = False,
    exit_code: Annotated[bool, Parameter(negative=())] = False,
    detail: Literal["concise", "detailed"] = "concise",
    tree: Annotated[bool, Parameter(negative=())] = False,
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
    exact
        What is given is all: nothing that is left out stays as it was applied.
    recompute_placement
        Forget where things run now and place them afresh.
    remove
        Plan the removal of the deployment.
    exit_code
        Exit with 2 when there are changes.
    detail
        detailed shows the document of every job that comes, changes or goes.
    tree
        Also show the steps as a tree, with what the plan does to each: + new, ~ changed, > moved.
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
            exact=exact or None,
            recompute_placement=recompute_placement or None,
            remove=remove or None,
            detail=detail,
        )
        if tree and not common.json:
            await _tree(engine, made)
    return _planned(made, common, detailed=detail == "detailed", exit_code=exit_code)


async def rollback(
    name: str,
    /,
    *,
    to: int,
    exit_code: Annotated[bool, Parameter(negative=())] = False,
    detail: Literal["concise", "detailed"] = "concise",
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Plan the way back to an earlier revision, exactly as it was, and save the plan for `sluice apply`.

    Parameters
    ----------
    name
        The deployment.
    to
        The revision to go back to; `sluice history` lists them.
    exit_code
        Exit with 2 when there are changes.
    detail
        detailed shows the document of every job that comes, changes or goes.
    """
    async with connect.engine(common) as engine:
        made = await engine.call("deployment_plan", name=name, to_revision=to, detail=detail)
    return _planned(made, common, detailed=detail == "detailed", exit_code=exit_code)


async def _tree(engine: connect.Client, made: dict[str, Any]) -> None:
    """Print the steps of what is planned, as a tree."""
    kind, _, rest = made["source"].partition(":")
    slug, _, version = rest.partition("@")
    item = await engine.call("catalog_get", slug=slug, type=kind or None, version=version or None)
    if item.get("graph"):
        render.text("\n".join([*graphs.tree(item["graph"], made["name"], graphs.marks(made)), ""]))


def _planned(made: dict[str, Any], common: connect.Common, *, detailed: bool, exit_code: bool) -> int:
    changes = sum(number for what, number in made["summary"].items() if what != "unchanged")
    if common.json:
        render.json(made)
    else:
        _shown(made, detailed)
        if changes and made["saved"] and not made["blockers"]:
            connect.note(f"\nTo carry it out: sluice apply {made['plan_id']}")
    return CHANGES if exit_code and changes else 0


def _shown(made: dict[str, Any], detailed: bool) -> None:
    render.text(wording.hint(made["text"]))
    for change in made["changes"]:
        if change["diff"] and (detailed or change["action"] == "update"):
            render.heading(f"{change['action']} {change['kind']} {change['id']}")
            render.diff(change["diff"])


async def plan_show(
    plan_id: str,
    /,
    *,
    detail: Literal["concise", "detailed"] = "concise",
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Show a saved plan again, with its state.

    Parameters
    ----------
    plan_id
        What `sluice plan` printed.
    detail
        detailed shows the document of every job that comes, changes or goes.
    cursor
        Where the last page of changes ended.
    """
    async with connect.engine(common) as engine:
        made = await engine.call("plan_get", plan_id=plan_id, detail=detail, cursor=cursor)
    if common.json:
        render.json(made)
    else:
        _shown(made, detail == "detailed")
        render.facts(made, ("state", "applied_as_revision", "by", "created_at", "expires_at"))
        if made["next_cursor"]:
            connect.note(f"More changes: add --cursor {made['next_cursor']}")
    return 0


async def plan_list(
    *,
    name: str | None = None,
    state: Literal["open", "applied", "stale", "expired", "discarded"] | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """List the saved plans, newest first.

    Parameters
    ----------
    name
        Only plans of this deployment.
    state
        Only plans in this state.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("plan_list", name=name, state=state, limit=limit, cursor=cursor)
    columns = ("plan_id", "name", "state", "base_revision", "by", "created_at", "expires_at")
    return render.page(result, columns, empty="No plan is saved.", as_json=common.json)


async def plan_discard(plan_id: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Withdraw a saved plan, so that it can never be applied.

    Parameters
    ----------
    plan_id
        What `sluice plan` printed.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("plan_discard", plan_id=plan_id)
    if common.json:
        render.json(result)
    else:
        render.facts(result, ("plan_id", "name", "state"))
    return 0


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
    workers = common.settings().workers
    async with connect.engine(common, workers=workers) as engine:
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
        if getattr(engine.session, "owner", False) and result["workloads"]:
            connect.note(
                "\nNo engine was running, so this command ran one, and the workloads stop with it. "
                "'sluice serve' keeps them running."
            )
    return 1 if result["rolled_back"] or result["state"] in ("failed", "degraded") else 0


async def reconcile(
    name: str,
    /,
    *,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
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
    wait
        How many seconds to wait until the workloads have settled; 0 returns at once.
    """
    async with connect.engine(common, workers=0 if dry_run else common.settings().workers) as engine:
        with progress.bar(engine, name, f"reconciling {name}", quiet=common.json):
            result = await engine.call("deployment_reconcile", name=name, dry_run=dry_run or None, wait_seconds=wait)
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
    columns = ("revision", "action", "source", "by", "surface", "at", "plan_id", "summary", "reason")
    return render.page(result, columns, empty="Nothing was applied yet.", as_json=common.json)


def _workloads(workloads: list[dict[str, Any]]) -> None:
    if workloads:
        render.heading("Workloads")
        render.rows(workloads, ("step", "job", "replica", "worker", "state", "restarts", "reason"), empty="")


def _drift(drift: list[dict[str, Any]]) -> None:
    render.heading("Drift")
    render.rows(drift, ("kind", "id", "expected", "observed", "muted"), empty="None: what runs is what was applied.")
