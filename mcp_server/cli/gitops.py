"""`sluice gitops`: files as the desired state of one tenant and environment. The files are read here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import anyio
from cyclopts import Parameter

from core import errors
from core.gitops import files
from core.gitops.files import Bundle
from mcp_server.cli import connect, documents, render

CHANGES = 2
POLL_SECONDS = 0.2
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
        if _count(found) and not found["blockers"]:
            connect.note(f"\nTo do exactly this: sluice gitops apply {manifest} --expect {found['digest']}")
    return CHANGES if exit_code and _count(found) else 0


def _count(found: dict[str, Any]) -> int:
    return sum(number for action, number in found["summary"].items() if action != "unchanged")


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
    async with connect.engine(common, workers=common.settings().workers) as engine:
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
        return await _followed(engine, run, wait, common)


async def promote(
    *,
    from_: Annotated[str, Parameter(name="--from")],
    to: str,
    approved_by: str | None = None,
    change: str | None = None,
    commit: str | None = None,
    dry_run: Switch = False,
    expect: str | None = None,
    health: int = 60,
    rollback_on_failure: Switch = False,
    wait: float = 300,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Deploy in one environment what a reviewed commit has deployed in another.

    Parameters
    ----------
    from_
        The environment where the reviewed revision runs.
    to
        The environment that takes it over.
    approved_by
        Who approved it; required, but for --dry-run.
    change
        The ticket, change request or pull request; required, but for --dry-run.
    commit
        The reviewed commit; required, but for --dry-run.
    dry_run
        Only show what would change.
    expect
        The digest of the dry run: do exactly that or nothing.
    health
        How many seconds the workloads of each deployment may take to come up.
    rollback_on_failure
        Take the version before back for each deployment that does not come up.
    wait
        How many seconds to wait for the end; the run goes on without this command.
    """
    async with connect.engine(common, workers=0 if dry_run else common.settings().workers) as engine:
        made = await engine.call(
            "gitops_promote",
            from_environment=from_,
            to_environment=to,
            **_evidence(approved_by, change, commit, dry_run, expect, health, rollback_on_failure),
        )
        return await _followed(engine, made, wait, common)


async def rollback(
    *,
    environment: str,
    to_run: str | None = None,
    approved_by: str | None = None,
    change: str | None = None,
    commit: str | None = None,
    dry_run: Switch = False,
    expect: str | None = None,
    health: int = 60,
    rollback_on_failure: Switch = False,
    wait: float = 300,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Bring an environment back to what an earlier successful run left there.

    Parameters
    ----------
    environment
        The environment.
    to_run
        The run to go back to; the newest successful one of the commit when left out.
    approved_by
        Who approved it; required, but for --dry-run.
    change
        The ticket, change request or pull request; required, but for --dry-run.
    commit
        The commit to go back to; required, but for --dry-run.
    dry_run
        Only show what would change.
    expect
        The digest of the dry run: do exactly that or nothing.
    health
        How many seconds the workloads of each deployment may take to come up.
    rollback_on_failure
        Take the version before back for each deployment that does not come up.
    wait
        How many seconds to wait for the end; the run goes on without this command.
    """
    async with connect.engine(common, workers=0 if dry_run else common.settings().workers) as engine:
        made = await engine.call(
            "gitops_rollback",
            environment=environment,
            to_run=to_run,
            **_evidence(approved_by, change, commit, dry_run, expect, health, rollback_on_failure),
        )
        return await _followed(engine, made, wait, common)


def _evidence(
    approved_by: str | None,
    change: str | None,
    commit: str | None,
    dry_run: bool,
    expect: str | None,
    health: int,
    rollback_on_failure: bool,
) -> dict[str, Any]:
    return {
        "approved_by": approved_by,
        "change": change,
        "commit": commit,
        "dry_run": dry_run or None,
        "expect": expect,
        "health_seconds": health,
        "rollback_on_failure": rollback_on_failure or None,
        "wait_seconds": 0,
    }


async def _followed(engine: connect.Client, run: dict[str, Any], wait: float, common: connect.Common) -> int:
    """Show a run until it has ended or the time is over, or the diff of a dry run."""
    if run.get("dry_run"):
        render.json(run) if common.json else render.text(run["text"])
        return CHANGES if _count(run) else 0
    shown = 0
    with anyio.move_on_after(wait):
        while True:
            if not common.json:
                for event in run["events"][shown:]:
                    render.text(_line(event))
            shown = len(run["events"])
            if run["state"] != "running":
                break
            await anyio.sleep(POLL_SECONDS)
            run = (await engine.call("gitops_runs", run_id=run["run_id"]))["items"][0]
    if common.json:
        render.json(run)
    else:
        counts = ", ".join(f"{number} {action}" for action, number in run["summary"].items() if number) or "no files"
        where = f"{run['action']}, environment {run['environment'] or '(none)'}"
        render.text(f"{run['run_id']} ({where}) {run['state']}: {counts}")
        if run["reason"]:
            render.text(f"  {run['reason']}")
    if getattr(engine.session, "owner", False):
        connect.note(
            "\nNo engine was running, so this command ran one, and the workloads stop with it. "
            "'sluice serve' keeps them running."
        )
    return 1 if run["state"] in ("failed", "interrupted") else 0


def _line(event: dict[str, Any]) -> str:
    mark = {"create": "+", "update": "~", "prune": "-"}.get(event["action"], " ")
    told = f": {event['message']}" if event["message"] else ""
    return f"{mark} {event['kind']} {event['id']} {event['state']}{told}"


async def runs(
    run: str | None = None,
    /,
    *,
    environment: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """List the runs, newest first, or show one with its events.

    Parameters
    ----------
    run
        The run to show.
    environment
        Only runs of this environment.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("gitops_runs", run_id=run, environment=environment, limit=limit, cursor=cursor)
    if common.json:
        render.json(result)
    elif run is not None:
        one = result["items"][0]
        names = ("run_id", "action", "environment", "manifest", "state", "reason", "commit_sha", "summary", "by")
        render.facts(one, (*names, "approval", "source", "started_at", "finished_at"))
        render.heading("Events")
        render.rows(one["events"], ("at", "action", "kind", "id", "state", "message"), empty="Nothing had to change.")
    else:
        render.rows(
            [{**row, "commit_sha": (row["commit_sha"] or "")[:12]} for row in result["items"]],
            ("run_id", "action", "environment", "state", "commit_sha", "summary", "by", "started_at", "reason"),
            empty="Nothing was applied yet. Start with: sluice gitops import",
            more=result.get("next_cursor"),
        )
    return 0


async def status(*, environment: str | None = None, common: connect.Common = connect.DEFAULTS) -> int:
    """Show how each environment stands: its commit, its deployments, and what is not as it was applied.

    Parameters
    ----------
    environment
        Only this environment.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("gitops_status", environment=environment)
    if common.json:
        render.json(result)
        return 0
    if not result["environments"]:
        render.text("There is no environment yet. Start with: sluice gitops import")
    for one in result["environments"]:
        render.heading(f"Environment {one['environment'] or '(none)'}: {'in sync' if one['in_sync'] else 'drifted'}")
        last = one["last_run"]
        told = f"{last['run_id']} ({last['action']} by {last['by']}, {last['state']})" if last else "none"
        render.facts({"commit": one["commit_sha"], "last run": told}, ("commit", "last run"))
        render.rows(
            one["deployments"],
            ("name", "state", "source", "revision", "created_by", "drift", "reason"),
            empty="No deployments.",
        )
        if one["drift"]:
            render.rows(one["drift"], ("kind", "id", "what", "diff"), empty="")
    return 0


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
        page = await engine.call("gitops_export", environment=environment)
        found += page["files"]
        while page["next_cursor"]:
            page = await engine.call("gitops_export", environment=environment, cursor=page["next_cursor"])
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
