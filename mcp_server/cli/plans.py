"""`sluice plan`, `rollback`, and `plans`: what a deployment would change, computed and saved."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from mcp_server.cli import connect, documents, graphs, render, wording

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
        Exit with 2 when there are changes, and with 1 when they cannot be applied.
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
        Exit with 2 when there are changes, and with 1 when they cannot be applied.
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
            render.text(f"\nTo carry it out: sluice apply {made['plan_id']}")
    if not exit_code:
        return 0
    return 1 if made["blockers"] else CHANGES if changes else 0


def _shown(made: dict[str, Any], detailed: bool) -> None:
    render.text(wording.hint(made["text"]))
    for change in made["changes"]:
        if change["diff"] and (detailed or change["action"] == "update"):
            render.heading(f"{change['action']} {change['kind']} {change['id']}")
            render.diff(change["diff"])


async def show(
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


async def list_plans(
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


async def discard(plan_id: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
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
