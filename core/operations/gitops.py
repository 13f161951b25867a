"""GitOps: files as the desired state of one tenant and environment. Validate, diff, apply.

The files come with the call: this side never reads a repository or a directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from core import errors
from core.engine import Engine
from core.gitops import compare
from core.gitops.compare import Change
from core.gitops.desired import VERSIONED, Item
from core.gitops.files import MAX_FILE_BYTES, MAX_FILES, File
from core.license import Feature
from core.model.gitops import Kind, Manifest
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations import gitops_reading, gitops_run
from core.operations.gitops_present import Label, Look, look
from core.operations.gitops_reading import Wanted
from core.operations.gitops_runs import shown
from core.operations.registry import operation

MAX_BYTES = 8 * 1024 * 1024  # of one call: the files of a manifest, as JSON
SHOWN_CHANGES = 500
SHOWN_PROBLEMS = 500
SHOWN_TEXT = 100_000


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
    health_seconds: int = Field(default=gitops_run.HEALTH_SECONDS, ge=1, le=gitops_run.MOST_HEALTH_SECONDS)
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
)
async def gitops_validate(engine: Engine, caller: Caller, params: GitopsFiles) -> dict[str, Any]:
    """Check files against each other, the catalog and contexts: every fault with file:line:column. Saves nothing."""
    caller, label = scope(engine, caller, params.manifest)
    wanted = await _read(engine, caller, params)
    counts = {kind.value: sum(item.kind is kind for item in wanted.items) for kind in Kind}
    return {
        "valid": not wanted.problems,
        "scope": scope_of(label),
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
async def gitops_diff(engine: Engine, caller: Caller, params: GitopsDiff) -> dict[str, Any]:
    """Compare files with what is there: create, update, unchanged, prune, each with its difference. Changes nothing.

    Show `text` to the user. `digest` names the diff: gitops_apply(expect=digest) does exactly this or nothing.
    """
    caller, label = scope(engine, caller, params.manifest)
    return told(await _look(engine, caller, label, params))


async def _files_are_applied(engine: Engine, caller: Caller, params: GitopsApply) -> Loss | None:
    caller, label = scope(engine, caller, params.manifest)
    return of_changes(told(await _look(engine, caller, label, params)))


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
async def gitops_apply(engine: Engine, caller: Caller, params: GitopsApply) -> dict[str, Any]:
    """Publish, set, stage, plan and apply what the files say, then prune what this manifest created and no file names.

    Look at gitops_diff first. The second time nothing changes. Never touches secrets, nor what others created.
    """
    caller, label = scope(engine, caller, params.manifest)
    found = await _look(engine, caller, label, params)
    expected(found, params.expect)
    run_id = await gitops_run.start(
        engine,
        caller,
        found,
        "apply",
        source=params.manifest.source.model_dump(),
        body=body(found.wanted.items),
        how=gitops_run.How(params.health_seconds, params.rollback_on_failure),
    )
    await gitops_run.wait(engine, run_id, params.wait_seconds)
    return await shown(engine, caller, run_id)


def scope(engine: Engine, caller: Caller, manifest: Manifest) -> tuple[Caller, Label]:
    """The caller in the tenant of a manifest. Raises NotFound for a tenant that is not the caller's."""
    tenant = manifest.scope.tenant_id
    if tenant != caller.tenant:
        caller = engine.in_tenant(caller, tenant)
    return caller, Label(tenant, manifest.scope.environment, manifest.name)


def scope_of(label: Label) -> dict[str, str]:
    return {"tenant_id": label.tenant, "environment": label.environment, "manifest": label.manifest}


async def _read(engine: Engine, caller: Caller, params: GitopsFiles) -> Wanted:
    files = [File(one.kind, one.path, one.text) for one in params.files]
    return await gitops_reading.read(engine, caller, params.manifest, files)


async def _look(engine: Engine, caller: Caller, label: Label, params: GitopsDiff) -> Look:
    wanted = await _read(engine, caller, params)
    if wanted.problems:
        count = len(wanted.problems)
        raise errors.InvalidDocument(
            f"The files have {count} {'fault' if count == 1 else 'faults'}; nothing was changed.",
            hint="Each fault says where it is; sluice gitops validate shows them all.",
            errors=wanted.problems[:SHOWN_PROBLEMS],
        )
    return await look(engine, caller, label, wanted, prune=params.prune)


def expected(found: Look, digest: str | None) -> None:
    if digest is not None and digest != found.digest:
        raise errors.StalePlan(
            f"The changes are not those that were reviewed: the diff is {found.digest} now, not {digest}.",
            hint="Look at the diff again: sluice gitops diff.",
            details={"digest": found.digest, "summary": compare.summary(found.changes)},
        )


def body(wanted: Iterable[Item]) -> list[dict[str, Any]]:
    """What a run leaves behind, for a rollback to it; published versions are there for good and need no copy."""
    return [item.to_dict() for item in wanted if item.kind not in VERSIONED]


def of_changes(diff: Mapping[str, Any]) -> Loss | None:
    """What a user is asked about a diff, and the arguments that hold the call to it."""
    if diff["blockers"] or not diff["changes"]:
        return None
    pinned, tenant = {"expect": diff["digest"]}, diff["scope"]["tenant_id"]
    return Loss(diff["text"], pinned, yes="Make these changes", where="gitops_diff", tenant=tenant)


def told(found: Look) -> dict[str, Any]:
    """A diff as every door shows it."""
    pending: list[Change] = found.pending
    text = found.text()
    return {
        "scope": scope_of(found.label),
        "summary": compare.summary(found.changes),
        "changes": [change.to_dict() for change in pending[:SHOWN_CHANGES]],
        "changes_left_out": max(0, len(pending) - SHOWN_CHANGES),
        "warnings": [one.to_dict() for one in found.warnings[:50]],
        "blockers": [one.to_dict() for one in found.blockers[:50]],
        "digest": found.digest,
        "text": text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}\n... cut",
    }
