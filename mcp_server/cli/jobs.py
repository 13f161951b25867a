"""`sluice job`: single jobs, outside deployments."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from mcp_server.cli import connect, documents, progress, render

File = Annotated[str, Parameter(name=("--file", "-f"), allow_leading_hyphen=True)]
GOOD = frozenset({"running", "completed"})


async def list_jobs(
    *, limit: int | None = None, cursor: str | None = None, common: connect.Common = connect.DEFAULTS
) -> int:
    """List jobs.

    Parameters
    ----------
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("job_list", limit=limit, cursor=cursor)
        engine.tell_when_idle()
    return render.page(
        result,
        ("name", "version", "draft", "managed_by", "workloads"),
        empty="There are no jobs. Store one with: sluice job put -f job.yaml",
        as_json=common.json,
    )


async def show(
    name: str,
    /,
    *,
    version: int | None = None,
    compare: str | None = None,
    log_lines: int | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Show one job: document, versions, draft, workloads, last failure, log.

    Parameters
    ----------
    name
        The job.
    version
        Which staged version; the newest when left out.
    compare
        Show what changed since this version; `draft` shows what the draft changes.
    log_lines
        How many of the last log lines to show.
    """
    other = 0 if compare == "draft" else documents.whole("--compare", compare)
    async with connect.engine(common) as engine:
        result = await engine.call("job_get", name=name, version=version, compare=other, log_lines=log_lines)
        engine.tell_when_idle()
    if common.json:
        render.json(result)
        return 0
    failure, draft, origin = result["last_failure"], result["draft"], result["origin"]
    shown = {
        "name": result["name"],
        "version": result["version"],
        "managed_by": result["managed_by"],
        "origin": origin
        and f"{origin['role']} of step {origin['step']}, {origin['module']}, revision {origin['revision']}",
        "draft": draft and f"revision {draft['revision']}, by {draft['updated_by']} at {draft['updated_at']}",
        "last_failure": failure and f"{failure['at']}  {failure['reason']}",
    }
    render.facts(shown, tuple(shown))
    _table("Workloads", result["workloads"], ("job", "replica", "worker", "state", "restarts", "reason", "metrics"))
    _table("Versions", result["versions"], ("version", "created_at", "created_by"))
    _table("Log", [_log_line(line) for line in result["log"]], ("at", "level", "text"))
    if "diff" in result:
        render.heading("Changes")
        render.text(result["diff"] or "There are none.")
    for title, document in (("Document", result["document"]), ("Draft", draft and draft["document"])):
        if document is not None:
            render.heading(title)
            render.text(document if isinstance(document, str) else render.yaml(document))
    return 0


def _table(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if rows:
        render.heading(title)
        render.rows(rows, columns, empty="")


def _log_line(line: dict[str, Any]) -> dict[str, Any]:
    fields = " ".join(f"{key}={value}" for key, value in line.get("fields", {}).items())
    return {**line, "text": f"{line['text']}  {fields}".rstrip()}


async def validate(*, file: File, common: connect.Common = connect.DEFAULTS) -> int:
    """Check a job document without storing it.

    Parameters
    ----------
    file
        The document, or - for standard input.
    """
    text, name = documents.text(file)
    async with connect.engine(common) as engine:
        result = await engine.call("job_validate", document=text)
    _name_places(result["errors"], name)
    if common.json:
        render.json(result)
    elif result["valid"]:
        render.text(f"{name}: the job {result['name']} is valid")
    else:
        render.text(f"{name}: {result['message'].replace(documents.TEXT_ORIGIN, name)}")
        render.rows(result["errors"], ("where", "pointer", "message"), empty="")
    return 0 if result["valid"] else 1


def _name_places(problems: list[dict[str, Any]], name: str) -> None:
    for problem in problems:
        problem["where"] = problem.get("where", "").replace(documents.TEXT_ORIGIN, name)


async def put(
    *,
    file: File,
    draft: Annotated[bool, Parameter(negative=())] = False,
    base_revision: int | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Store a job document as a new version, or as a draft.

    Parameters
    ----------
    file
        The document, or - for standard input.
    draft
        Save it as a draft, faults and all; `sluice job stage` makes a version of it.
    base_revision
        With --draft: the revision that this edit started from.
    """
    text, name = documents.text(file)
    with documents.named(name):
        async with connect.engine(common) as engine:
            result = await engine.call("job_put", document=text, draft=draft or None, base_revision=base_revision)
    _name_places(result.get("errors", []), name)
    if common.json:
        render.json(result)
        return 0
    render.facts(result, ("name", "version", "revision", "changed", "valid"))
    _table("Faults to mend before it is staged", result.get("errors", []), ("where", "pointer", "message"))
    return 0


async def stage(name: str, /, *, revision: int | None = None, common: connect.Common = connect.DEFAULTS) -> int:
    """Make the draft of a job its next version.

    Parameters
    ----------
    name
        The job.
    revision
        The draft revision that you looked at.
    """
    with documents.named(f"draft of {name}"):
        async with connect.engine(common) as engine:
            result = await engine.call("job_stage", name=name, revision=revision)
    return render.one(result, as_json=common.json)


async def clone(
    name: str, new_name: str, /, *, version: int | None = None, common: connect.Common = connect.DEFAULTS
) -> int:
    """Copy a job, also a managed one, into a draft of your own.

    Parameters
    ----------
    name
        The job to copy.
    new_name
        The name of the copy.
    version
        Which staged version; the newest when left out.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("job_clone", name=name, new_name=new_name, version=version)
    if common.json:
        render.json(result)
        return 0
    for warning in result["warnings"]:
        connect.note(f"note: {warning}")
    render.text(result["document"])
    connect.note(f"Saved as draft {new_name}. Edit it with: sluice job put --draft -f FILE --base-revision 1")
    return 0


async def delete(
    name: str, /, *, draft: Annotated[bool, Parameter(negative=())] = False, common: connect.Common = connect.DEFAULTS
) -> int:
    """Delete a job that is not deployed, or its draft.

    Parameters
    ----------
    name
        The job.
    draft
        Throw away its draft only.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("job_delete", name=name, draft_only=draft or None)
    return render.one(result, as_json=common.json)


async def deploy(
    name: str,
    /,
    *,
    group: str | None = None,
    replicas: int | None = None,
    version: int | None = None,
    environment: str | None = None,
    wait: int | None = None,
    no_wait: Annotated[bool, Parameter(negative=())] = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Run a stored job on workers; fails when it does not come up.

    Parameters
    ----------
    name
        The job.
    group
        The worker group.
    replicas
        How many copies.
    version
        Which version; the newest when left out.
    environment
        Whose context values {{name}} sees, such as prod.
    wait
        How many seconds it has to come up.
    no_wait
        Do not wait for it.
    """
    async with connect.engine(common) as engine:
        with progress.bar(engine, name, f"deploying {name}", quiet=common.json):
            result = await engine.call(
                "job_deploy",
                name=name,
                worker_group=group,
                replicas=replicas,
                version=version,
                environment=environment,
                wait_seconds=0 if no_wait else wait,
            )
    if common.json:
        render.json(result)
    else:
        render.facts(result, ("name", "version"))
        columns = ("job", "replica", "worker", "state", "reason")
        render.rows(result.get("workloads", []), columns, empty="No workloads yet.")
    bad = [w for w in result["workloads"] if w["state"] not in GOOD]
    if no_wait or not bad:
        return 0
    for workload in bad:
        connect.note(f"error: {workload['job']} on {workload['worker']} is {workload['state']}: {_why(workload)}")
    return 1


def _why(workload: dict[str, Any]) -> str:
    return str(workload["reason"] or "it has not come up in time")


async def undeploy(name: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Stop a job on all workers.

    Parameters
    ----------
    name
        The job.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("job_undeploy", name=name)
    return render.one(result, as_json=common.json)
