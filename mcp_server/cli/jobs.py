"""`sluice job`: single jobs, outside deployments."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from mcp_server.cli import connect, documents, render

File = Annotated[str, Parameter(name=("--file", "-f"), allow_leading_hyphen=True)]


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
    if common.json:
        render.json(result)
    else:
        render.rows(
            result["items"],
            ("name", "version", "managed_by", "workloads"),
            empty="There are no jobs. Store one with: sluice job put -f job.yaml",
            more=result.get("next_cursor"),
        )
    return 0


async def show(name: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Show one job.

    Parameters
    ----------
    name
        The job.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("job_get", name=name)
    if common.json:
        render.json(result)
        return 0
    document = result.pop("document", None)
    workloads = result.pop("workloads", None)
    render.facts(result, tuple(result))
    if workloads:
        render.heading("Workloads")
        render.rows(workloads, ("job", "replica", "worker", "state", "restarts", "error"), empty="")
    if document is not None:
        render.heading("Document")
        render.text(document) if isinstance(document, str) else render.json(document)
    return 0


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
    for problem in result["errors"]:
        problem["where"] = problem.get("where", "").replace(documents.TEXT_ORIGIN, name)
    if common.json:
        render.json(result)
    elif result["valid"]:
        render.text(f"{name}: the job {result['name']} is valid")
    else:
        render.text(f"{name}: {result['message'].replace(documents.TEXT_ORIGIN, name)}")
        render.rows(result["errors"], ("where", "pointer", "message"), empty="")
    return 0 if result["valid"] else 1


async def put(*, file: File, common: connect.Common = connect.DEFAULTS) -> int:
    """Store a job document as a new version.

    Parameters
    ----------
    file
        The document, or - for standard input.
    """
    text, name = documents.text(file)
    with documents.named(name):
        async with connect.engine(common) as engine:
            result = await engine.call("job_put", document=text)
    if common.json:
        render.json(result)
    else:
        render.facts(result, ("name", "version", "changed"))
    return 0


async def deploy(
    name: str,
    /,
    *,
    group: str | None = None,
    replicas: int | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Run a stored job on workers.

    Parameters
    ----------
    name
        The job.
    group
        The worker group.
    replicas
        How many copies.
    """
    async with connect.engine(common, workers=common.settings().workers) as engine:
        result = await engine.call("job_deploy", name=name, worker_group=group, replicas=replicas)
    if common.json:
        render.json(result)
    else:
        render.facts(result, ("name", "version"))
        render.rows(result.get("workloads", []), ("job", "replica", "worker", "state"), empty="No workloads yet.")
    return 0


async def undeploy(name: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Stop a job on all workers.

    Parameters
    ----------
    name
        The job.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("job_undeploy", name=name)
    render.json(result) if common.json else render.facts(result, tuple(result))
    return 0
