"""Promote a reviewed revision to another environment, roll an environment back, and write what is there as files.

Promotion and rollback ask for evidence: who approved, by which change, for which commit. It is kept with the run.
"""

from __future__ import annotations

import pydantic
from pydantic import Field

from core import errors
from core.documents import lint
from core.engine import Engine
from core.gitops import export
from core.gitops.desired import VERSIONED
from core.gitops.promoting import Proposal
from core.gitops.steps import HEALTH_SECONDS, MOST_HEALTH_SECONDS, How
from core.license import Feature
from core.model import results
from core.model.gitops import Approval, Environment
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations.registry import operation, position

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
    health_seconds: int = Field(default=HEALTH_SECONDS, ge=1, le=MOST_HEALTH_SECONDS)
    """How long the workloads of each deployment may take to come up."""
    rollback_on_failure: bool = False
    """Take the version before back for each deployment that does not come up."""


class GitopsPromote(Evidence):
    from_environment: Environment
    """Where the revision runs, e.g. dev."""
    to_environment: Environment
    """Where it shall run, e.g. prod."""


async def _is_promoted(engine: Engine, caller: Caller, params: GitopsPromote) -> Loss | None:
    found, _ = await _promotion(engine, caller, params.model_copy(update={"dry_run": True}))
    return found.diff.loss()


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
async def gitops_promote(
    engine: Engine, caller: Caller, params: GitopsPromote
) -> results.gitops.PromotionDiff | results.gitops.Promoted:
    """Deploy in one environment the versions that the last run of another one, of the given commit, has deployed there.

    orders-dev goes to orders-prod: names match without the environment. Values and placement stay the target's.
    Needs approved_by, change and commit; dry_run=true shows the changes first.
    """
    found, approval = await _promotion(engine, caller, params)
    return await _go(engine, caller, params, found, "promote", approval)


async def _promotion(engine: Engine, caller: Caller, params: GitopsPromote) -> tuple[Proposal, Approval | None]:
    if params.from_environment == params.to_environment:
        raise errors.InvalidParams(
            "An environment cannot be promoted to itself.",
            errors=[errors.Problem("/to_environment", "must be another environment")],
        )
    approval = _approval(params)
    commit = approval.commit if approval is not None else None
    found = await engine.promoter.promotion(
        caller.tenant, params.from_environment, params.to_environment, commit, engine.now_ns()
    )
    return found, approval


class GitopsRollback(Evidence):
    environment: Environment
    """The environment to roll back."""
    to_run: str | None = Field(default=None, max_length=64)
    """The run to go back to; the newest successful one of the commit when left out."""


async def _is_rolled_back(engine: Engine, caller: Caller, params: GitopsRollback) -> Loss | None:
    found, _ = await _rollback(engine, caller, params.model_copy(update={"dry_run": True}))
    return found.diff.loss()


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
async def gitops_rollback(
    engine: Engine, caller: Caller, params: GitopsRollback
) -> results.gitops.PromotionDiff | results.gitops.Promoted:
    """Bring contexts, jobs, triggers and deployments of an environment back to what a successful run left there.

    The run is found by its commit, or given. Published versions stay; what was created since is pruned.
    Needs approved_by, change and commit; dry_run=true shows the changes first.
    """
    found, approval = await _rollback(engine, caller, params)
    return await _go(engine, caller, params, found, "rollback", approval)


async def _rollback(engine: Engine, caller: Caller, params: GitopsRollback) -> tuple[Proposal, Approval | None]:
    approval = _approval(params)
    commit = approval.commit if approval is not None else params.commit
    found = await engine.promoter.rollback(caller.tenant, params.environment, params.to_run, commit)
    return found, approval


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


async def _go(
    engine: Engine,
    caller: Caller,
    params: Evidence,
    found: Proposal,
    action: str,
    approval: Approval | None,
) -> results.gitops.PromotionDiff | results.gitops.Promoted:
    if params.dry_run:
        return {"dry_run": True, **found.diff.to_dict()}
    found.diff.require(params.expect)
    assert approval is not None  # only a dry run goes without
    run_id = await engine.gitops_runs.begin(
        caller,
        found.diff,
        action,
        source=found.source,
        approval=approval.model_dump(),
        left=found.left,
        how=How(params.health_seconds, params.rollback_on_failure, complete=False),
    )
    await engine.gitops_runs.wait(run_id, params.wait_seconds)
    run = await engine.gitops_runs.show(caller.tenant, run_id)
    return {"dry_run": False, **run, "text": found.diff.text()}


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
async def gitops_export(engine: Engine, caller: Caller, params: GitopsExport) -> results.gitops.FilesExport:
    """Write a tenant's documents, contexts, jobs, triggers and the deployments of one environment as files whose
    gitops_diff is empty. Secrets are never written."""
    there = await engine.differ.present(caller.tenant)
    things = {
        (kind, name): found.data for (kind, name), found in there.items() if not (kind in VERSIONED and "@" in name)
    }
    files = export.files(things, params.environment)
    start = position(params.cursor) or 0
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
