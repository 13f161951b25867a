"""How each environment stands: what was applied last, what runs of it, and what is not as it was left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core import clock
from core.deployments import observed
from core.fleet.fleet import Fleet
from core.gitops import compare
from core.gitops.compare import Action, Found, Key
from core.gitops.desired import Item
from core.gitops.diff import Differ
from core.model.deployment import DeploymentRow
from core.model.gitops import Kind
from core.model.states import GitopsRunState
from core.store import deployments as deployment_table
from core.store import gitops as table
from core.store.database import Database

Run = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """One environment: its last run, the last successful one, its deployments and what differs from that run."""

    environment: str
    last: Run | None
    done: Run | None
    deployments: Sequence[Mapping[str, Any]]  # name, source, revision, created_by, state, reason, drift
    drift: Sequence[Mapping[str, str]]  # kind, id, what, diff

    @property
    def in_sync(self) -> bool:
        return not self.drift and not any(one["drift"] for one in self.deployments)


async def standings(
    database: Database, fleet: Fleet, differ: Differ, tenant: str, environment: str | None, now_ns: int
) -> list[Standing]:
    """Every environment of a tenant, or one of them, by name."""
    runs = await database.read(table.runs, tenant, environment)
    rows = await database.read(deployment_table.all_rows, tenant)
    there = await differ.present(tenant)
    owned = await database.read(table.items, tenant)
    creators = {
        one["name"]: f"{one['environment'] or '-'}/{one['manifest']}"
        for one in owned
        if one["created"] and one["kind"] == Kind.DEPLOYMENT
    }
    names = {found.data["environment"] for (kind, _), found in there.items() if kind is Kind.DEPLOYMENT}
    names |= {run["environment"] for run in runs}
    if environment is not None:
        names &= {environment}
    found = []
    for name in sorted(names):
        here = [run for run in runs if run["environment"] == name]
        done = next((run for run in here if run["state"] == GitopsRunState.SUCCEEDED), None)
        wanted = [Item.from_dict(one) for one in await database.read(table.body, done["id"])] if done else []
        deployments = [
            _deployment(fleet, tenant, row, creators.get(row.name), now_ns)
            for row in rows
            if (Kind.DEPLOYMENT, row.name) in there and row.desired.get("environment", "") == name
        ]
        found.append(Standing(name, here[0] if here else None, done, deployments, drift(wanted, there)))
    return found


def _deployment(fleet: Fleet, tenant: str, row: DeploymentRow, creator: str | None, now_ns: int) -> dict[str, Any]:
    state, reason, found = observed.observe(fleet, tenant, row, now_ns)
    return {
        "name": row.name,
        "source": row.source,
        "revision": row.revision,
        "created_by": creator,
        "state": state.value,
        "reason": reason,
        "drift": len(found),
    }


def _last(found: Found) -> dict[str, str]:
    """Who changed a thing last, and when, where that is kept."""
    return {"by": found.by, "at": clock.iso(found.at_ns)} if found.by else {}


def drift(wanted: Sequence[Item], there: Mapping[Key, Found]) -> list[dict[str, str]]:
    """What is not as a run left it."""
    nobody = Found({})
    return [
        {
            **_last(there.get((change.kind, change.name), nobody)),
            "kind": change.kind.value,
            "id": change.name,
            "what": "is missing" if change.action is Action.CREATE else "was changed",
            # The sides are told as: what the run left -> what is there.
            "diff": ""
            if change.item is None or change.action is Action.CREATE
            else compare.difference(change.item.data, there[change.kind, change.name].data),
        }
        for change in compare.compare(wanted, there, compare.Owned(), prune=False)
        if change.action is not Action.UNCHANGED
    ]
