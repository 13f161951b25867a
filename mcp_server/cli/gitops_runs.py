"""`sluice gitops promote` and `rollback`, and what is printed of runs and environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio

from mcp_server.cli import codes, connect, render
from mcp_server.cli.forms import WAIT_SECONDS

POLL_SECONDS = 0.2


def count(found: dict[str, Any]) -> int:
    """How many things a diff changes."""
    return sum(number for action, number in found["summary"].items() if action != "unchanged")


async def promote(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Deploy in one environment what a reviewed commit has deployed in another."""
    async with connect.engine(common) as engine:
        made = await engine.call("gitops_promote", **given, wait_seconds=0)
        return await followed(engine, made, beside.get("wait", WAIT_SECONDS), common)


async def rollback(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Bring an environment back to what an earlier successful run left there."""
    async with connect.engine(common) as engine:
        made = await engine.call("gitops_rollback", **given, wait_seconds=0)
        return await followed(engine, made, beside.get("wait", WAIT_SECONDS), common)


async def followed(engine: connect.Client, run: dict[str, Any], wait: float, common: connect.Common) -> int:
    """Show a run until it has ended or the time is over, or the diff of a dry run."""
    if run.get("dry_run"):
        render.json(run) if common.json else render.text(run["text"])
        return codes.CHANGES if count(run) else 0
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
    return 1 if run["state"] in ("failed", "interrupted") else 0


def _line(event: dict[str, Any]) -> str:
    mark = {"create": "+", "update": "~", "prune": "-"}.get(event["action"], " ")
    told = f": {event['message']}" if event["message"] else ""
    return f"{mark} {event['kind']} {event['id']} {event['state']}{told}"


def listed(runs: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print the runs, or the one that was asked for with its events."""
    if "run_id" in typed:
        one = runs["items"][0]
        names = ("run_id", "action", "environment", "manifest", "state", "reason", "commit_sha", "summary", "by")
        render.facts(one, (*names, "approval", "source", "started_at", "finished_at"))
        render.heading("Events")
        render.rows(one["events"], ("at", "action", "kind", "id", "state", "message"), empty="Nothing had to change.")
    else:
        render.rows(
            [{**row, "commit_sha": (row["commit_sha"] or "")[:12]} for row in runs["items"]],
            ("run_id", "action", "environment", "state", "commit_sha", "summary", "by", "started_at", "reason"),
            empty="Nothing was applied yet. Start with: sluice gitops import",
            more=runs.get("next_cursor"),
        )


def stands(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print how each environment stands: its commit, its deployments, and what is not as it was applied."""
    if not found["environments"]:
        render.text("There is no environment yet. Start with: sluice gitops import")
    for one in found["environments"]:
        render.heading(f"Environment {one['environment'] or '(none)'}: {'in sync' if one['in_sync'] else 'drifted'}")
        last = one["last_run"]
        told = f"{last['run_id']} ({last['action']} by {last['by']}, {last['state']})" if last else "none"
        render.facts({"commit": one["commit_sha"], "last run": told}, ("commit", "last run"))
        columns = ("name", "state", "source", "revision", "created_by", "drift", "reason")
        render.rows(one["deployments"], columns, empty="No deployments.")
        if one["drift"]:
            render.rows(one["drift"], ("kind", "id", "what", "diff"), empty="")
