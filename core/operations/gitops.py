"""GitOps: files as the desired state of one tenant and environment. Validate, diff, apply.

The files come with the call: this side never reads a repository or a directory.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from core.admission import in_tenant
from core.engine import Engine
from core.gitops.diff import SHOWN_PROBLEMS, Diff
from core.gitops.files import MAX_FILE_BYTES, MAX_FILES, File
from core.gitops.present import Label
from core.gitops.steps import HEALTH_SECONDS, MOST_HEALTH_SECONDS, How
from core.license import Feature
from core.model import results
from core.model.gitops import Kind, Manifest
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations.registry import operation

MAX_BYTES = 8 * 1024 * 1024  # of one call: the files of a manifest, as JSON


class GitopsFile(Params):
    """One file of the desired state."""

    kind: Kind
    """What it describes."""
    path: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    """Its name, for places of faults."""
    text: Annotated[str, StringConstraints(max_length=MAX_FILE_BYTES)]
    """Its content: YAML or JSON."""


class GitopsFiles(Params):
    manifest: Manifest
    """The manifest, as an object."""
    files: list[GitopsFile] = Field(default_factory=list, max_length=MAX_FILES)
    """The files that it includes."""


class GitopsDiff(GitopsFiles):
    prune: bool = True
    """Also show what this manifest created and no file names any more."""


class GitopsApply(GitopsDiff):
    expect: str | None = Field(default=None, max_length=64)
    """The digest of the diff that was reviewed; refused when the changes are others by now."""
    wait_seconds: int = Field(default=60, ge=0, le=300)
    """How long to wait for the end of the run; it goes on without its caller."""
    health_seconds: int = Field(default=HEALTH_SECONDS, ge=1, le=MOST_HEALTH_SECONDS)
    """How long the workloads of each deployment may take to come up."""
    rollback_on_failure: bool = False
    """Take the version before back for each deployment that does not come up."""


@operation(
    summary="Check the files of a manifest.",
    http="POST /api/gitops/validate",
    toolset="gitops",
    role=Role.ADMIN,
    feature=Feature.DEPLOYMENTS,
    max_bytes=MAX_BYTES,
    homeless=True,
)
async def gitops_validate(engine: Engine, caller: Caller, params: GitopsFiles) -> results.gitops.FilesChecked:
    """Check files against each other, the catalog and contexts: every fault with file:line:column. Saves nothing."""
    caller, label = _scope(engine, caller, params.manifest)
    wanted = await engine.differ.read(caller, params.manifest, _files(params))
    counts = {kind.value: sum(item.kind is kind for item in wanted.items) for kind in Kind}
    return {
        "valid": not wanted.problems,
        "scope": label.to_dict(),
        "counts": {kind: count for kind, count in counts.items() if count},
        "errors": [problem.to_dict() for problem in wanted.problems[:SHOWN_PROBLEMS]],
        "errors_left_out": max(0, len(wanted.problems) - SHOWN_PROBLEMS),
    }


@operation(
    summary="Show what applying the files of a manifest would change.",
    http="POST /api/gitops/diff",
    toolset="gitops",
    offline=False,
    role=Role.ADMIN,
    feature=Feature.DEPLOYMENTS,
    max_bytes=MAX_BYTES,
)
async def gitops_diff(engine: Engine, caller: Caller, params: GitopsDiff) -> results.gitops.FilesDiff:
    """Compare files with what is there: create, update, unchanged, prune, each with its difference. Changes nothing.

    Show `text` to the user. `digest` names the diff: gitops_apply(expect=digest) does exactly this or nothing.
    """
    caller, label = _scope(engine, caller, params.manifest)
    return (await _diff(engine, caller, label, params)).to_dict()


async def _files_are_applied(engine: Engine, caller: Caller, params: GitopsApply) -> Loss | None:
    caller, label = _scope(engine, caller, params.manifest)
    return (await _diff(engine, caller, label, params)).loss()


@operation(
    summary="Bring a tenant's environment to what files say.",
    http="POST /api/gitops/apply",
    toolset="gitops",
    effect=Effect.DESTRUCTIVE,
    destroys=_files_are_applied,
    role=Role.ADMIN,
    feature=Feature.DEPLOYMENTS,
    idempotent=True,
    max_bytes=MAX_BYTES,
)
async def gitops_apply(engine: Engine, caller: Caller, params: GitopsApply) -> results.gitops.FilesRun:
    """Publish, set, stage, plan and apply what the files say, then prune what this manifest created and no file names.

    Look at gitops_diff first. The second time nothing changes. Never touches secrets, nor what others created.
    """
    caller, label = _scope(engine, caller, params.manifest)
    found = await _diff(engine, caller, label, params)
    found.require(params.expect)
    run_id = await engine.gitops_runs.begin(
        caller,
        found,
        "apply",
        source=params.manifest.source.model_dump(),
        left=found.wanted.items,
        how=How(params.health_seconds, params.rollback_on_failure),
    )
    await engine.gitops_runs.wait(run_id, params.wait_seconds)
    return await engine.gitops_runs.show(caller.tenant, run_id)


def _scope(engine: Engine, caller: Caller, manifest: Manifest) -> tuple[Caller, Label]:
    """The caller in the tenant of a manifest. Raises NotFound for a tenant that is not the caller's."""
    tenant = manifest.scope.tenant_id
    if tenant != caller.tenant:
        caller = in_tenant(caller, tenant)
    return caller, Label(tenant, manifest.scope.environment, manifest.name)


def _files(params: GitopsFiles) -> list[File]:
    return [File(one.kind, one.path, one.text) for one in params.files]


async def _diff(engine: Engine, caller: Caller, label: Label, params: GitopsDiff) -> Diff:
    return await engine.differ.diff_files(caller, label, params.manifest, _files(params), prune=params.prune)
