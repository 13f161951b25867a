"""What GitOps has done: runs with their events, and how each environment stands."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from core import clock, errors
from core.deployments import observed
from core.engine import Engine
from core.gitops import compare
from core.gitops.compare import Action, Found, Key
from core.gitops.desired import Item
from core.license import Feature
from core.model.gitops import Environment, Kind
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.gitops_present import present
from core.operations.registry import Page, fitting, items_schema, offset_page, operation
from core.store import deployments as deployment_table
from core.store import gitops as table

SHOWN_EVENTS = 1000
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
    result=items_schema(),
)
async def gitops_runs(engine: Engine, caller: Caller, params: GitopsRuns) -> dict[str, Any]:
    """List applies, promotions and rollbacks, newest first: who, when, which commit, by which approval, how it ended.

    With run_id, one of them with everything that happened in it.
    """
    if params.run_id is not None:
        one = await shown(engine, caller, params.run_id)
        return {"items": fitting([one]), "next_cursor": None, "total": 1}
    rows = await engine.database.read(table.runs, caller.tenant, params.environment)
    return offset_page(rows, params, item)


async def shown(engine: Engine, caller: Caller, run_id: str) -> dict[str, Any]:
    """One run with its events. Raises NotFound."""
    row = await engine.database.read(table.run, run_id)
    if row is None or row["tenant"] != caller.tenant:
        raise errors.NotFound(
            f"There is no run {errors.shorten(run_id, 64)} in tenant {caller.tenant}.",
            hint="sluice gitops runs lists them.",
        )
    events = await engine.database.read(table.events, run_id)
    return {
        **item(row),
        "events": [
            {
                "at": clock.iso(event["at_ns"]),
                "action": event["action"],
                "kind": event["kind"],
                "id": event["name"],
                "state": event["state"],
                "message": event["message"],
            }
            for event in events[:SHOWN_EVENTS]
        ],
        "events_left_out": max(0, len(events) - SHOWN_EVENTS),
    }


def item(row: dict[str, Any]) -> dict[str, Any]:
    """One run as a list shows it."""
    return {
        "run_id": row["id"],
        "action": row["action"],
        "environment": row["environment"],
        "manifest": row["manifest"],
        "state": row["state"],
        "reason": row["reason"],
        "commit_sha": row["commit_sha"] or None,
        "summary": row["summary"],
        "by": row["username"],
        "surface": row["surface"],
        "approval": row["approval"] or None,
        "source": {key: value for key, value in row["source"].items() if value},
        "started_at": clock.iso(row["started_at_ns"]),
        "finished_at": clock.iso(row["finished_at_ns"]) if row["finished_at_ns"] is not None else None,
    }


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
async def gitops_status(engine: Engine, caller: Caller, params: GitopsStatus) -> dict[str, Any]:
    """Show for each environment the revision that was applied last, its deployments with their state, and the drift:
    what is not as the last run left it, and what does not run as it was applied."""
    runs = await engine.database.read(table.runs, caller.tenant, params.environment)
    rows = await engine.database.read(deployment_table.all_rows, caller.tenant)
    there = await present(engine, caller)
    owned = await engine.database.read(table.items, caller.tenant)
    creators = {
        one["name"]: f"{one['environment'] or '-'}/{one['manifest']}"
        for one in owned
        if one["created"] and one["kind"] == Kind.DEPLOYMENT
    }
    names = {found.data["environment"] for (kind, _), found in there.items() if kind is Kind.DEPLOYMENT}
    names |= {run["environment"] for run in runs}
    if params.environment is not None:
        names &= {params.environment}
    environments = []
    for name in sorted(names):
        here = [run for run in runs if run["environment"] == name]
        done = next((run for run in here if run["state"] == "succeeded"), None)
        drift = await _moved(engine, done, there) if done is not None else []
        deployments = []
        for row in rows:
            if (Kind.DEPLOYMENT, row["name"]) not in there or row["desired"].get("environment", "") != name:
                continue
            state, reason, found = observed.look(engine.fleet, caller.tenant, row, engine.now_ns())
            deployments.append(
                {
                    "name": row["name"],
                    "source": row["source"],
                    "revision": row["revision"],
                    "created_by": creators.get(row["name"]),
                    "state": state.value,
                    "reason": reason,
                    "drift": len(found),
                }
            )
        environments.append(
            {
                "environment": name,
                "commit_sha": (done["commit_sha"] or None) if done is not None else None,
                "last_run": item(here[0]) if here else None,
                "applied_by_run": done["id"] if done is not None else None,
                "deployments": deployments,
                "drift": drift[:SHOWN_DRIFT],
                "in_sync": not drift and not any(one["drift"] for one in deployments),
            }
        )
    return {"tenant_id": caller.tenant, "environments": environments}


async def _moved(engine: Engine, run: dict[str, Any], there: dict[Key, Found]) -> list[dict[str, str]]:
    """What is not as a run left it."""
    wanted = [Item.from_dict(one) for one in await engine.database.read(table.body, run["id"])]
    changes = compare.compare(wanted, there, compare.Owned(), prune=False)
    return [
        {
            "kind": change.kind.value,
            "id": change.name,
            "what": "is missing" if change.action is Action.CREATE else "was changed",
            # The sides are told as: what the run left -> what is there.
            "diff": ""
            if change.item is None or change.action is Action.CREATE
            else compare.difference(change.item.data, there[change.kind, change.name].data),
        }
        for change in changes
        if change.action is not Action.UNCHANGED
    ]
