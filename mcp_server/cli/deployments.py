"""`sluice status`, and what `apply` and `reconcile` print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from core import errors
from mcp_server.cli import codes, connect, documents, jobs, plans, render

APPLY_SECONDS = 60
_COLUMNS = ("name", "state", "health", "since", "workloads", "drift", "revision", "reason!", "source", "reconcile")


def waiting(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> dict[str, Any]:
    """A person waits longer for the outcome than a client may."""
    return {"wait_seconds": APPLY_SECONDS, **given}


def applied(done: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print what became of a plan."""
    render.facts(done, ("deployment", "state", "reason", "revision", "rolled_back", "history_id"))
    _workloads(done.get("workloads", []))


def revisions(typed: str, flag: str) -> list[int]:
    """One or two revisions as they are typed: 2,3."""
    return [documents.whole(flag, part.strip()) for part in typed.split(",")]


def history(page: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print the revisions of a deployment, or what differs between two of them."""
    if typed.get("compare"):
        plans.text(page["text"])
        return
    columns = ("revision", "action", "to_revision", "source", "by", "surface", "at", "plan_id", "changed", "reason")
    render.rows(page["items"], columns, empty="Nothing was applied yet.", more=page["next_cursor"])


def reconciled(done: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print the drift of a deployment and the steps against it."""
    _drift(done.get("drift", []))
    render.section("Warnings", done.get("warnings", []), ("message", "hint"))
    steps = done.get("steps") or ()
    title = "Steps that would be taken" if typed.get("dry_run") else "Steps"
    render.section(title, steps, tuple(steps[0]) if steps else ())
    render.facts(done, ("state", "reason"))


async def status(
    name: str | None = None,
    /,
    *,
    removed: Annotated[bool, Parameter(negative=())] = False,
    query: str = "",
    state: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    exit_code: Annotated[bool, Parameter(negative=())] = False,
    watch: Annotated[bool, Parameter(negative=())] = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Show deployments, or one of them with its workloads and drift.

    Parameters
    ----------
    name
        The deployment; without it, all of them.
    removed
        Of all: also those that were removed.
    query
        Of all: those with these words in name and source.
    state
        Of all: those that are running, applying, warning, degraded, failed or removed.
    limit
        Of all: how many rows.
    cursor
        Of all: where the last page ended.
    watch
        Keep showing it: redrawn in place, or in a pipe a line for each change.
    exit_code
        Exit with 6 when something is degraded or failed, else with 2 when something drifts. Without a name or a filter
        the single jobs count too.
    """
    which = {"query": query or None, "state": state, "limit": limit, "cursor": cursor}
    which["include_removed"] = removed or None
    if watch:
        return await _watch(name, which, common)
    async with connect.engine(common) as engine:
        if name is not None:
            result = await engine.call("deployment_get", name=name, detail="detailed")
        else:
            result = await engine.call("deployment_list", **which)
        engine.tell_when_idle()
        besides, jobs_alone, code = "", [], codes.OK
        if name is None and (exit_code or not common.json):
            jobs_alone = await _alone(engine)
        if name is None and not common.json:
            besides = "\n".join(filter(None, (await _besides(engine, jobs_alone), await _backups(engine))))
        if exit_code:
            every = [result] if name is not None else await _every(engine, which)
            code = standing(every, () if query or state else jobs_alone)
    if common.json:
        render.json(result)
    elif name is None:
        render.rows(
            result["items"],
            _COLUMNS,
            empty="No deployment fits." if query or state else "There is no deployment." if besides else _NOTHING,
            more=result.get("next_cursor"),
        )
        if besides:
            connect.note(besides)
    else:
        last = result.get("last_applied")
        shown = {**result, "last_applied": f"{last['at']} by {last['by']}" if last else None}
        shown["letters"] = jobs.letters(result)
        facts = (
            "name",
            "state",
            "reason",
            "health",
            "since",
            "revision",
            "source",
            "worker_group",
            "data_directory",
            "last_applied",
            "letters",
            "values",
            "defaults",
        )
        render.facts(shown, facts)
        _workloads(result.get("workloads", []))
        render.section("Conditions", result.get("conditions", []), ("type", "status", "reason", "since", "message"))
        _drift(result.get("drift", []))
    return code


async def _watch(name: str | None, which: dict[str, Any], common: connect.Common) -> int:
    """Keep showing the deployments, or the workloads of one."""
    from mcp_server.cli import watching

    async with connect.engine(common, follows=True) as engine:

        async def listed() -> list[dict[str, Any]]:
            found = await engine.call("workload_list" if name else "deployment_list", **which)
            rows: list[dict[str, Any]] = found["items"]
            return rows

        if name is None:
            return await watching.watch(engine, listed, _COLUMNS, _NOTHING)
        which = {"deployment": name}
        columns = ("workload", "state", "health", "worker", "since", "restarts", "reason!", "step")
        return await watching.watch(engine, listed, columns, f"The deployment {name} wants nothing on a worker.")


def standing(deployments: Sequence[dict[str, Any]], alone: Sequence[dict[str, Any]] = ()) -> int:
    """The exit code for how deployments are, and the workloads of jobs `alone`: degraded goes before drift."""
    if any(one["state"] in ("degraded", "failed") for one in deployments) or any(map(_unwell, alone)):
        return codes.DEGRADED
    for one in deployments:
        drift = one.get("drift") or ()
        if drift if isinstance(drift, int) else [found for found in drift if not found.get("muted")]:
            return codes.CHANGES
    return codes.OK


def _unwell(workload: Mapping[str, Any]) -> bool:
    """Whether a deployment would be degraded by such a workload."""
    return workload["state"] in ("failed", "quarantined") or workload.get("health") in (
        "failing",
        "down",
        "quarantined",
    )


async def _every(engine: connect.Client, which: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The deployments of all pages: the one that is degraded may be on the last."""
    whole = {**which, "limit": 200, "cursor": None}
    return [one async for page in engine.pages("deployment_list", **whole) for one in page["items"]]


def _workloads(workloads: list[dict[str, Any]]) -> None:
    render.section(
        "Workloads",
        workloads,
        ("step", "job!", "replica", "worker", "state!", "health!", "since", "restarts", "reason!"),
    )


def _drift(drift: list[dict[str, Any]]) -> None:
    render.heading("Drift")
    render.rows(drift, ("kind", "id", "expected", "observed", "muted"), empty="None: what runs is what was applied.")


async def _backups(engine: connect.Client) -> str:
    """Why there is no backup as there should be, for who may know: it does not keep the engine from its work."""
    if not engine.runs():
        return ""
    try:
        found = (await engine.call("engine_status")).get("backups", {})
    except (errors.Forbidden, errors.NotFound):
        return ""
    return f"Backups: {found['trouble']}" if found.get("trouble") else ""


_NOTHING = "Nothing is deployed. Start with: sluice catalog search --type workflow"


async def _alone(engine: connect.Client) -> list[dict[str, Any]]:
    """The workloads of jobs that no deployment manages."""
    return [
        workload
        async for page in engine.pages("job_list", limit=200)
        for job in page["items"]
        if not job["managed_by"]
        for workload in job["workloads"]
    ]


async def _besides(engine: connect.Client, alone: Sequence[dict[str, Any]]) -> str:
    """What else there is to know: jobs that run on their own, and what keeps the engine from its work."""
    single = Counter(workload["state"] for workload in alone)
    unwell = Counter(told for workload in alone if (told := workload.get("health", "healthy")) != "healthy")
    trouble = await engine.trouble()
    told = [trouble] if trouble else []
    if single:
        states = ", ".join(f"{count} {state}" for state, count in sorted(single.items()))
        health = ", ".join(f"{count} {health}" for health, count in sorted(unwell.items()))
        told.append(f"Workloads of single jobs: {states}{'; ' if health else ''}{health} (sluice job list).")
    return "\n".join(told)
