"""`sluice apply`: carry out a plan, or bring one trigger or one job to what a file says, with the difference first."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core import errors
from mcp_server.cli import arguments, codes, confirming, connect, deployments, documents, forms, progress, render

if TYPE_CHECKING:
    from core.documents import Document


async def apply(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Apply a plan or a file; exactly one of them is to be named."""
    if ("plan_id" in given) == ("file" in beside):
        raise errors.InvalidParams("Name a plan, or a file with --file.", hint="Make a plan with: sluice plan NAME.")
    if "file" in beside:
        return await _file(documents.one(beside["file"]), given, common, yes=bool(beside.get("yes")))
    async with connect.engine(common) as engine:
        work = given["plan_id"]
        with progress.bar(engine, work, f"applying {work}", quiet=common.json):
            done = await engine.call("deployment_apply", **given)
    render.json(done) if common.json else deployments.applied(done, given)
    if done["rolled_back"] or (given.get("strict") and done["came_up"] is False):
        return codes.FAILED
    return codes.of_apply(done["state"], waited=given["wait_seconds"] > 0)


async def _file(document: Document, given: dict[str, Any], common: connect.Common, *, yes: bool) -> int:
    data = document.data
    with documents.blamed(document):
        async with connect.engine(common, follows=True) as engine:
            if "target_job_name" in data:
                return await _trigger(engine, data, common, yes=yes)
            if {"input", "output"} & set(data) and data.get("kind", "job") == "job":
                return await _job(engine, document, int(given["wait_seconds"]), common, yes=yes)
    raise errors.InvalidDocument(
        f"{document.origin} is neither a trigger nor a job.", hint="For a workflow: sluice up FILE."
    )


async def _trigger(engine: connect.Client, data: dict[str, Any], common: connect.Common, *, yes: bool) -> int:
    try:
        told = await engine.call("trigger_get", slug=data.get("slug"), tenant_id=data.get("tenant_id"))
    except errors.NotFound:
        told = None
    old = told["definition"] if told is not None else None
    code = _asked(f"trigger {data.get('slug')}", old, complete(data, old), common, yes=yes)
    if code is not None and (code != codes.OK or told is None or told["active"]):
        return code
    # One that is there is revised, also when it is the same: that is how an inactive one is offered again.
    operation = "trigger_publish" if told is None else "trigger_revise"
    done = await engine.session.call(operation, data, engine.caller)
    return render.one(done, ("slug", "tenant_id", "revision", "active"), as_json=common.json)


def complete(data: Mapping[str, Any], old: Mapping[str, Any] | None) -> dict[str, Any]:
    """A definition with what is meant by what it leaves out, for the keys that the present one has."""
    whole = dict(data)
    takes = arguments.of("trigger_publish")
    for name, value in (old or {}).items():
        default = takes[name].default if name in takes else None
        if isinstance(default, dict):
            whole[name] = {**default, **(data.get(name) or {})}
        elif name not in data:
            whole[name] = value if name == "tenant_id" else default if default is not None else type(value)()
    return whole


async def _job(engine: connect.Client, document: Document, wait: int, common: connect.Common, *, yes: bool) -> int:
    name = document.data.get("name")
    try:
        told = await engine.call("job_get", name=name, log_lines=0)
    except errors.NotFound:
        told = None
    old = told["document"] if told is not None else None
    code = _asked(f"job {name}", old, document.data, common, yes=yes)
    up = (await engine.call("workload_list", job=name, limit=200))["items"] if told is not None else []
    if code is not None and (code != codes.OK or up):
        return code
    if code is None:
        await engine.call("job_put", document=document.text)
    where = {"worker_group": up[0]["group"], "replicas": len(up)} if up else {}  # as it runs now, else as is usual
    with progress.bar(engine, str(name), f"deploying {name}", quiet=common.json):
        made = await engine.call("job_deploy", name=name, wait_seconds=min(wait, 60), **where)
    if common.json:
        render.json(made)
    else:
        render.facts(made, ("name", "version"))
        render.section("Workloads", made["workloads"], ("workload", "job", "replica", "worker", "state!", "reason!"))
        render.section("Warnings", made.get("warnings", []), ("message", "hint"))
    return codes.DEGRADED if wait and forms.unfit(made) else codes.OK


def _asked(what: str, old: Any, new: Any, common: connect.Common, *, yes: bool) -> int | None:
    """The exit code when nothing is to be done; None when it is: it differs, and somebody agrees."""
    lines = difference(old, new)
    if not lines:
        connect.note(f"Nothing to change: {what} is as the file says.")
        return codes.OK
    if not common.json:
        render.diff("\n".join(lines))
    if yes or confirming.agreed(f"Apply this to {what}?"):
        return None
    connect.note("Not applied: say yes at a terminal, or add --yes.")
    return codes.REFUSED


def difference(old: Any, new: Any) -> list[str]:
    """What differs between two documents, as a unified diff of their YAML; the order of keys is no difference."""
    before, after = ("" if one is None else render.yaml(_sorted(one)) for one in (old, new))
    return list(difflib.unified_diff(before.splitlines(), after.splitlines(), "now", "file", lineterm=""))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value
