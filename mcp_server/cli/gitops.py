"""`sluice gitops`: files as the desired state of one tenant and environment. The files are read here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from core import errors
from core.gitops import files
from core.gitops.files import Bundle
from mcp_server.cli import codes, connect, documents, gitops_runs, render

MANIFEST = "sluice.yaml"

Switch = Annotated[bool, Parameter(negative=())]


def _bundle(path: Path, commit: str | None = None, ref: str | None = None, ci_run_id: str | None = None) -> Bundle:
    """The manifest and its files; what a pipeline knows better than the file is put into its source."""
    bundle = files.read(path)
    given = {"commit_sha": commit, "ref": ref, "ci_run_id": ci_run_id}
    source = bundle.manifest.source.model_copy(update={key: value for key, value in given.items() if value})
    bundle.manifest = type(bundle.manifest).model_validate(
        {**bundle.manifest.model_dump(), "source": source.model_dump()}
    )
    return bundle


def _sent(bundle: Bundle) -> dict[str, Any]:
    return {
        "manifest": bundle.manifest.model_dump(mode="json"),
        "files": [file.to_dict() for file in bundle.files],
    }


async def _faults(engine: connect.Client, bundle: Bundle, path: Path) -> list[errors.Problem]:
    """Everything that is wrong: what could not be read, and what the engine finds in the rest."""
    found = await engine.call("gitops_validate", **_sent(bundle))
    told = [errors.Problem(one["pointer"], one["message"], one.get("where")) for one in found["errors"]]
    return [*bundle.problems, *(_below(path, problem) for problem in told)]


def _below(path: Path, problem: errors.Problem) -> errors.Problem:
    """A place in a file as it is found from here."""
    return replace(problem, where=str(path.parent / problem.where)) if problem.where else problem


async def _whole(engine: connect.Client, bundle: Bundle, path: Path) -> None:
    """Refuse files that could not all be read, with what else is wrong."""
    if bundle.problems:
        raise _invalid(await _faults(engine, bundle, path), path)


def _invalid(problems: list[errors.Problem], path: Path) -> errors.InvalidDocument:
    count = len(problems)
    return errors.InvalidDocument(
        f"{path}: {count} {'fault' if count == 1 else 'faults'}; nothing was changed.", errors=problems
    )


async def validate(manifest: Path = Path(MANIFEST), *, common: connect.Common = connect.DEFAULTS) -> int:
    """Check a manifest and all its files: every fault at once, with file:line:column. Changes nothing.

    Parameters
    ----------
    manifest
        The manifest.
    """
    bundle = _bundle(manifest)
    async with connect.engine(common) as engine:
        found = await engine.call("gitops_validate", **_sent(bundle))
        told = [errors.Problem(one["pointer"], one["message"], one.get("where")) for one in found["errors"]]
    problems = [*bundle.problems, *(_below(manifest, problem) for problem in told)]
    if problems:
        raise _invalid(problems, manifest)
    if common.json:
        render.json(found)
    else:
        counts = ", ".join(f"{count} {kind}" for kind, count in found["counts"].items()) or "no files"
        render.text(f"{manifest} is valid: {counts}.")
    return 0


async def diff(
    manifest: Path = Path(MANIFEST),
    *,
    no_prune: Switch = False,
    exit_code: bool = True,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Show what applying a manifest would change. Exits with 0: nothing, 2: changes, 1: an error.

    Parameters
    ----------
    manifest
        The manifest.
    no_prune
        Leave what this manifest created and no file names any more.
    exit_code
        Tell by the exit code whether there are changes.
    """
    bundle = _bundle(manifest)
    async with connect.engine(common) as engine:
        await _whole(engine, bundle, manifest)
        with _placed(manifest):
            found = await engine.call("gitops_diff", **_sent(bundle), prune=not no_prune)
    if common.json:
        render.json(found)
    else:
        render.text(found["text"])
        if gitops_runs.count(found) and not found["blockers"]:
            render.text(f"\nTo do exactly this: sluice gitops apply {manifest} --expect {found['digest']}")
    return codes.CHANGES if exit_code and gitops_runs.count(found) else 0


def _placed(path: Path) -> Any:
    """Name the files as they are found from here in what the engine says of them."""
    return documents.placed(lambda problem: _below(path, problem))


async def apply(
    manifest: Path = Path(MANIFEST),
    *,
    expect: str | None = None,
    no_prune: Switch = False,
    commit: str | None = None,
    ref: str | None = None,
    ci_run_id: str | None = None,
    health: int = 60,
    rollback_on_failure: Switch = False,
    wait: float = 300,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Bring a tenant's environment to what the files of a manifest say.

    Parameters
    ----------
    manifest
        The manifest.
    expect
        The digest that `gitops diff` printed: do exactly that or nothing.
    no_prune
        Leave what this manifest created and no file names any more.
    commit
        The commit of the files, if the manifest does not say it.
    ref
        Their branch or tag.
    ci_run_id
        The run of the pipeline.
    health
        How many seconds the workloads of each deployment may take to come up.
    rollback_on_failure
        Take the version before back for each deployment that does not come up.
    wait
        How many seconds to wait for the end; the run goes on without this command.
    """
    bundle = _bundle(manifest, commit, ref, ci_run_id)
    async with connect.engine(common) as engine:
        await _whole(engine, bundle, manifest)
        with _placed(manifest):
            run = await engine.call(
                "gitops_apply",
                **_sent(bundle),
                prune=not no_prune,
                expect=expect,
                health_seconds=health,
                rollback_on_failure=rollback_on_failure or None,
                wait_seconds=0,
            )
        return await gitops_runs.followed(engine, run, wait, common)


async def import_(
    directory: Path = Path(),
    /,
    *,
    environment: str = "",
    force: Switch = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Write what is there as files and a manifest whose diff is empty. Secrets are never written.

    Parameters
    ----------
    directory
        Where to write.
    environment
        The environment whose deployments to write; without it, those that have none.
    force
        Write over files that are there.
    """
    found: list[dict[str, str]] = []
    async with connect.engine(common) as engine:
        async for page in engine.pages("gitops_export", environment=environment):
            found += page["files"]
    texts = {MANIFEST: page["manifest"], **{one["path"]: one["text"] for one in found}}
    there = [name for name in texts if (directory / name).exists()]
    if there and not force:
        raise errors.AlreadyExists(
            f"{directory / there[0]} is there already" + (f", and {len(there) - 1} more." if there[1:] else "."),
            hint="Choose an empty directory, or add --force to write over them.",
        )
    for name, text in texts.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if common.json:
        render.json({"directory": str(directory), "files": sorted(texts)})
    else:
        render.text(f"Wrote {len(texts)} files. Look at: sluice gitops diff {directory / MANIFEST}")
    return 0
