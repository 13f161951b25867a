"""`sluice explain`."""

from __future__ import annotations

import shlex
from typing import Any, Literal

import orjson

from mcp_server.cli import connect, render


async def explain(
    kind: Literal["deployment", "invocation", "workload", "job", "plan"],
    id: str,
    /,
    *,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Tell why something is as it is, and what to do next.

    Parameters
    ----------
    kind
        What sort of thing.
    id
        Its name or id; of a workload, JOB#REPLICA.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("explain", kind=kind, id=id)
    if common.json:
        render.json(result)
        return 0
    render.text(result["summary"])
    render.heading("Because")
    for cause in result["because"]:
        render.text(f"  {cause['at'] or 'now':<24}  {render.printable('', cause['what'])}")
    if result["next"]:
        render.heading("Next")
        for call in result["next"]:
            render.text(f"  {command(call['call'], call['arguments'])}\n      {render.printable('', call['why'])}")
    return 0


def command(operation: str, arguments: dict[str, Any]) -> str:
    """A call as what a person types."""
    given = dict(arguments)

    def take(name: str) -> str:
        return shlex.quote(str(given.pop(name)))

    match operation:
        case "explain":
            words = ["explain", take("kind"), take("id")]
        case "deployment_get":
            words = ["status", take("name")]
            given.pop("detail", None)
        case "deployment_history":
            words = ["history", take("name")]
        case "deployment_plan" if "to_revision" in given:
            words = ["rollback", take("name"), "--to", take("to_revision")]
        case "deployment_plan":
            words = ["plan", take("name")]
            if "source" in given:
                words += ["--from", take("source")]
            for name, value in given.pop("values", {}).items():
                words += ["--set", shlex.quote(f"{name}={_text(value)}")]
        case "deployment_apply":
            words = ["apply", take("plan_id")]
        case "deployment_reconcile":
            words = ["reconcile", take("name")]
        case "plan_get":
            words = ["plans", "show", take("plan_id")]
        case "job_get":
            words = ["job", "show", take("name")]
        case "job_deploy":
            words = ["job", "deploy", take("name")]
        case "trigger_get":
            words = ["trigger", "show", take("slug")]
        case "trigger_invoke":
            words = ["trigger", "invoke", take("slug")]
            for name, value in given.pop("params", {}).items():
                words += ["--set", shlex.quote(f"{name}={_text(value)}")]
        case "trigger_invocation_get":
            wait = given.pop("wait_seconds", None)
            words = ["invocation", "watch" if wait else "get", take("invocation_id")]
        case _:
            return f"{operation} {orjson.dumps(arguments).decode()}"
    words += [f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}") for name, value in given.items()]
    return " ".join(["sluice", *words])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
