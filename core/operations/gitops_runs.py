"""What GitOps has done: runs with their events, and how each environment stands."""

from __future__ import annotations

from pydantic import Field

from core.engine import Engine
from core.gitops import runs, status
from core.license import Feature
from core.model import results
from core.model.gitops import Environment
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import LISTED, Page, fitting, offset_page, operation
from core.store import gitops as table

SHOWN_DRIFT = 50


class GitopsRuns(Page):
    run_id: str | None = Field(default=None, max_length=64)
    """One run, with its events."""
    environment: Environment | None = None
    """Only runs of this environment."""


@operation(
    summary="List the GitOps runs, or show one with its events.",
    http="GET /api/gitops/runs",
    http_also=("GET /api/gitops/runs/{run_id}",),
    toolset="gitops",
    role=Role.ADMIN,
    feature=Feature.DEPLOYMENTS,
    outline=LISTED,
)
async def gitops_runs(engine: Engine, caller: Caller, params: GitopsRuns) -> results.Listing[results.gitops.FilesRun]:
    """List applies, promotions and rollbacks, newest first: who, when, which commit, by which approval, how it ended.

    With run_id, one of them with everything that happened in it.
    """
    if params.run_id is not None:
        one = await engine.gitops_runs.show(caller.tenant, params.run_id)
        return {"items": fitting([one]), "next_cursor": None, "total": 1}
    rows = await engine.database.read(table.runs, caller.tenant, params.environment)
    return offset_page(rows, params, runs.to_answer)


class GitopsStatus(Params):
    environment: Environment | None = None
    """Only this environment."""


@operation(
    summary="Show how each environment stands: revision, deployments, drift.",
    http="GET /api/gitops/status",
    toolset="gitops",
    role=Role.ADMIN,
    feature=Feature.DEPLOYMENTS,
)
async def gitops_status(engine: Engine, caller: Caller, params: GitopsStatus) -> results.gitops.Environments:
    """Show for each environment the revision that was applied last, its deployments with their state, and the drift:
    what is not as the last run left it, and what does not run as it was applied."""
    found = await status.standings(
        engine.database, engine.fleet, engine.differ, caller.tenant, params.environment, engine.now_ns()
    )
    environments: list[results.gitops.EnvironmentStatus] = [
        {
            "environment": one.environment,
            "commit_sha": (one.done["commit_sha"] or None) if one.done is not None else None,
            "last_run": runs.to_answer(one.last) if one.last is not None else None,
            "applied_by_run": one.done["id"] if one.done is not None else None,
            "deployments": one.deployments,
            "drift": one.drift[:SHOWN_DRIFT],
            "in_sync": one.in_sync,
        }
        for one in found
    ]
    return {"tenant_id": caller.tenant, "environments": environments}
