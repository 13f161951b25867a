"""Promote a reviewed revision to another environment, roll an environment back, and write what is there as files.

Promotion and rollback ask for evidence: who approved, by which change, for which commit. It is kept with the run.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pydantic
from pydantic import Field

from core import errors
from core.deployments import observed
from core.documents import lint
from core.engine import Engine
from core.gitops import export, promotion
from core.gitops.desired import VERSIONED, Item
from core.license import Feature
from core.model.gitops import Approval, Environment, Kind
from core.model.operation import Effect, Loss, Params
from core.model.plan import Finding
from core.model.principal import Caller, Role
from core.model.states import DeploymentState, GitopsRunState
from core.operations import gitops_reading, gitops_run
from core.operations.gitops import body, expected, of_changes, told
from core.operations.gitops_present import Label, Look, look, present
from core.operations.gitops_runs import shown
from core.operations.registry import operation
from core.store import contexts as context_table
from core.store import deployments as deployment_table
from core.store import gitops as table

EXPORT_BYTES = 400_000  # of the files of one page


class Evidence(Params):
    approved_by: str | None = Field(default=None, max_length=200)
    """Who approved it. Required, but for dry_run."""
    change: str | None = Field(default=None, max_length=500)
    """The ticket, change request or pull request. Required, but for dry_run."""
    commit: str | None = Field(default=None, max_length=64)
    """The reviewed commit, 40 hexadecimal digits. Required, but for dry_run."""
    dry_run: bool = False
    """Only show what would change."""
    expect: str | None = Field(default=None, max_length=64)
    """The digest of the diff that was reviewed; refused when the changes are others by now."""
    wait_seconds: int = Field(default=60, ge=0, le=300)
    """How long to wait for the end of the run; it goes on without its caller."""
    health_seconds: int = Field(default=gitops_run.HEALTH_SECONDS, ge=1, le=gitops_run.MOST_HEALTH_SECONDS)
    """How long the workloads of each deployment may take to come up."""
    rollback_on_failure: bool = False
    """Take the version before back for each deployment that does not come up."""


class GitopsPromote(Evidence):
    from_environment: Environment
    """Where the revision runs, e.g. dev."""
    to_environment: Environment
    """Where it shall run, e.g. prod."""


async def _is_promoted(engine: Engine, caller: Caller, params: GitopsPromote) -> Loss | None:
    diff = await gitops_promote(engine, caller, params.model_copy(update={"dry_run": True}))
    return of_changes(diff)


@operation(
    summary="Promote a reviewed revision from one environment to another.",
    http="POST /api/gitops/promote",
    toolset="gitops",
    effect=Effect.DESTRUCTIVE,
    destroys=_is_promoted,
    effect_by=lambda params: Effect.READ if params.dry_run else Effect.DESTRUCTIVE,
    role=Role.ADMIN,
    feature=Feature.DEPLOYMENTS,
)
async def gitops_promote(engine: Engine, caller: Caller, params: GitopsPromote) -> dict[str, Any]:
    """Deploy in one environment the versions that the last run of another one, of the given commit, has deployed there.

    orders-dev goes to orders-prod: names match without the environment. Values and placement stay the target's.
    Needs approved_by, change and commit; dry_run=true shows the changes first.
    """
    if params.from_environment == params.to_environment:
        raise errors.InvalidParams(
            "An environment cannot be promoted to itself.",
            errors=[errors.Problem("/to_environment", "must be another environment")],
        )
    approval = _approval(params)
    run, reviewed = await _reviewed(engine, caller, params.from_environment, approval)
    there = {
        name: dict(found.data)
        for (kind, name), found in (await present(engine, caller)).items()
        if kind is Kind.DEPLOYMENT and found.data["environment"] == params.to_environment
    }
    made = promotion.promote(reviewed, there, params.from_environment, params.to_environment)
    if not made.items:
        raise errors.NotFound(
            f"Nothing in environment {params.to_environment} has a counterpart in {params.from_environment}.",
            hint="Apply the files of that environment once; then orders-dev is promoted to orders-prod.",
        )
    before = await _last(engine, caller, params.to_environment)
    label = Label(caller.tenant, params.to_environment, before["manifest"] if before else "default")
    found = await _look(engine, caller, label, list(made.items), prune=False)
    found = dataclasses.replace(
        found, warnings=[*found.warnings, *(_without(name, params.to_environment) for name in made.without)]
    )
    earlier = [Item.from_dict(one) for one in await engine.database.read(table.body, before["id"])] if before else []
    others = [Item(Kind.DEPLOYMENT, name, data) for name, data in there.items()]
    left = promotion.left_behind(promotion.left_behind(earlier, others), list(made.items))
    source = {**run["source"], "from_environment": params.from_environment, "from_run": run["id"]}
    return await _go(engine, caller, params, found, "promote", source, approval, left)


def _without(name: str, environment: str) -> Finding:
    return Finding(
        "no_counterpart",
        f"{name} has no counterpart in environment {environment}.",
        "A first deployment comes from the files of its environment.",
    )


async def _reviewed(
    engine: Engine, caller: Caller, environment: str, approval: Approval | None
) -> tuple[dict[str, Any], list[Item]]:
    """The last run of an environment with what it left, if that is what was reviewed and what runs there, well.

    Raises NotFound, PlanBlocked.
    """
    runs = await engine.database.read(table.runs, caller.tenant, environment)
    if not runs:
        raise errors.NotFound(
            f"Environment {environment or '(none)'} has no run in tenant {caller.tenant}.",
            hint="Apply its files first: sluice gitops apply.",
        )
    run, what = runs[0], f"environment {environment or '(none)'}"
    if run["state"] != GitopsRunState.SUCCEEDED:
        raise errors.PlanBlocked(
            f"The last run of {what}, {run['id']}, is {run['state']}: {run['reason'] or 'not at its end'}.",
            hint="Promote what has been applied with success: apply again, then promote.",
        )
    if approval is not None and run["commit_sha"] != approval.commit:
        at = f"commit {run['commit_sha']}" if run["commit_sha"] else "no commit (source.commit_sha of its manifest)"
        raise errors.PlanBlocked(
            f"What was reviewed is commit {approval.commit}, and {what} is at {at}, since run {run['id']}.",
            hint="Review what is there, or apply the reviewed commit there first.",
            errors=[errors.Problem("/commit", f"{what} is at {at}")],
        )
    items = [Item.from_dict(one) for one in await engine.database.read(table.body, run["id"])]
    faults = []
    for item in items:
        if item.kind is Kind.DEPLOYMENT:
            row = await engine.database.read(deployment_table.get, caller.tenant, item.name)
            if row is None or row["source"] != item.data["source"]:
                now = row["source"] if row is not None and row["source"] else "gone"
                faults.append(f"{item.name} was {item.data['source']} when it was reviewed and is {now}")
                continue
            state, reason, _ = observed.look(engine.fleet, caller.tenant, row, engine.now_ns())
            if state is not DeploymentState.RUNNING:
                faults.append(f"{item.name} is {state.value}" + (f": {reason}" if reason else ""))
    if faults:
        raise errors.PlanBlocked(
            f"What runs in {what} is not what was reviewed, or does not run well: {faults[0]}.",
            hint="Apply the reviewed files there again and wait until everything runs.",
            errors=[errors.Problem("", fault) for fault in faults],
        )
    return run, items


class GitopsRollback(Evidence):
    environment: Environment
    """The environment to roll back."""
    to_run: str | None = Field(default=None, max_length=64)
    """The run to go back to; the newest successful one of the commit when left out."""


async def _is_rolled_back(engine: Engine, caller: Caller, params: GitopsRollback) -> Loss | None:
    diff = await gitops_rollback(engine, caller, params.model_copy(update={"dry_run": True}))
    return of_changes(diff)


@operation(
    summary="Roll an environment back to an earlier run.",
    http="POST /api/gitops/rollback",
    toolset="gitops",
    effect=Effect.DESTRUCTIVE,
    destroys=_is_rolled_back,
    effect_by=lambda params: Effect.READ if params.dry_run else Effect.DESTRUCTIVE,
    role=Role.ADMIN,
    feature=Feature.DEPLOYMENTS,
)
async def gitops_rollback(engine: Engine, caller: Caller, params: GitopsRollback) -> dict[str, Any]:
    """Bring contexts, jobs, triggers and deployments of an environment back to what a successful run left there.

    The run is found by its commit, or given. Published versions stay; what was created since is pruned.
    Needs approved_by, change and commit; dry_run=true shows the changes first.
    """
    approval = _approval(params)
    run = await _earlier(engine, caller, params, approval)
    items = [Item.from_dict(one) for one in await engine.database.read(table.body, run["id"])]
    label = Label(caller.tenant, params.environment, run["manifest"])
    found = await _look(engine, caller, label, items, prune=True)
    kept = [change for change in found.changes if change.kind not in VERSIONED]
    found = dataclasses.replace(found, changes=kept)
    source = {**run["source"], "to_run": run["id"]}
    return await _go(engine, caller, params, found, "rollback", source, approval, items)


async def _earlier(engine: Engine, caller: Caller, params: GitopsRollback, approval: Approval | None) -> dict[str, Any]:
    """The run to go back to. Raises NotFound, InvalidParams."""
    commit = approval.commit if approval is not None else params.commit
    runs = await engine.database.read(table.runs, caller.tenant, params.environment)
    done = [run for run in runs if run["state"] == GitopsRunState.SUCCEEDED]
    if params.to_run is None and commit is None:
        raise errors.InvalidParams(
            "Say what to go back to.", errors=[errors.Problem("/commit", "is required, or else to_run")]
        )
    for run in done:
        if params.to_run is None and run["commit_sha"] == commit:
            return run
        if params.to_run == run["id"]:
            if commit and run["commit_sha"] not in ("", commit):
                raise errors.InvalidParams(
                    f"Run {run['id']} is of commit {run['commit_sha']}, not of the commit that was approved.",
                    errors=[errors.Problem("/commit", f"must be {run['commit_sha']}")],
                )
            return run
    known = ", ".join(f"{run['id']} ({run['commit_sha'][:12] or 'no commit'})" for run in done[:5]) or "none"
    raise errors.NotFound(
        f"Environment {params.environment or '(none)'} has no successful run "
        + (f"{errors.shorten(params.to_run, 64)}." if params.to_run else f"of commit {errors.shorten(commit, 64)}."),
        hint=f"Successful runs, newest first: {known}.",
    )


def _approval(params: Evidence) -> Approval | None:
    """The evidence; None for a dry run that brings none. Raises InvalidParams that names what is missing."""
    given = {"approved_by": params.approved_by, "change": params.change, "commit": params.commit}
    if params.dry_run and None in given.values():
        return None
    missing = [errors.Problem(f"/{key}", "is required as evidence") for key, value in given.items() if value is None]
    if missing:
        raise errors.InvalidParams(
            "Promotion and rollback need evidence of an approval.",
            hint="Give approved_by, change and commit; or look first, with dry_run.",
            errors=missing,
        )
    try:
        return Approval.model_validate(given)
    except pydantic.ValidationError as error:
        raise errors.InvalidParams(
            "The evidence of the approval does not fit.", errors=lint.problems_of(error, Approval)
        ) from error


async def _last(engine: Engine, caller: Caller, environment: str) -> dict[str, Any] | None:
    runs = await engine.database.read(table.runs, caller.tenant, environment)
    return next((run for run in runs if run["state"] == GitopsRunState.SUCCEEDED), None)


async def _look(engine: Engine, caller: Caller, label: Label, items: list[Item], *, prune: bool) -> Look:
    rows = await engine.database.read(context_table.of_tenant, caller.tenant)
    wanted = gitops_reading.of_items(items, await engine.library.visible(caller.tenant), rows)
    return await look(engine, caller, label, wanted, prune=prune)


async def _go(
    engine: Engine,
    caller: Caller,
    params: Evidence,
    found: Look,
    action: str,
    source: dict[str, Any],
    approval: Approval | None,
    left: list[Item],
) -> dict[str, Any]:
    if params.dry_run:
        return {"dry_run": True, **told(found)}
    expected(found, params.expect)
    assert approval is not None  # only a dry run goes without
    run_id = await gitops_run.start(
        engine,
        caller,
        found,
        action,
        source=source,
        approval=approval.model_dump(),
        body=body(left),
        how=gitops_run.How(params.health_seconds, params.rollback_on_failure, complete=False),
    )
    await gitops_run.wait(engine, run_id, params.wait_seconds)
    return {"dry_run": False, **await shown(engine, caller, run_id), "text": found.text()}


class GitopsExport(Params):
    environment: Environment = ""
    """The environment whose deployments to write; empty for those without one."""
    cursor: str | None = Field(default=None, max_length=64)
    """`next_cursor` of the page before."""


@operation(
    summary="Write what is there as files and a manifest.",
    http="GET /api/gitops/export",
    toolset="gitops",
    role=Role.ADMIN,
    feature=Feature.DEPLOYMENTS,
)
async def gitops_export(engine: Engine, caller: Caller, params: GitopsExport) -> dict[str, Any]:
    """Write a tenant's documents, contexts, jobs, triggers and the deployments of one environment as files whose
    gitops_diff is empty. Secrets are never written."""
    there = await present(engine, caller)
    things = {
        (kind, name): found.data for (kind, name), found in there.items() if not (kind in VERSIONED and "@" in name)
    }
    files = export.files(things, params.environment)
    start = int(params.cursor) if params.cursor and params.cursor.isascii() and params.cursor.isdigit() else 0
    size, end = 0, start
    while end < len(files) and (end == start or size + len(files[end].text) <= EXPORT_BYTES):
        size += len(files[end].text)
        end += 1
    return {
        "manifest": export.manifest(files, caller.tenant, params.environment),
        "files": [file.to_dict() for file in files[start:end]],
        "next_cursor": str(end) if end < len(files) else None,
        "total": len(files),
    }
