"""How each environment stands: what was applied last, what runs of it, and what is not as it was left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core import clock
from core.deployments import observed
from core.fleet.fleet import Fleet
from core.gitops import compare
from core.gitops.compare import Action, Change, Found, Key
from core.gitops.desired import Item
from core.gitops.diff import Differ
from core.model.deployment import DeploymentRow
from core.model.gitops import Kind
from core.model.states import GitopsRunState
from core.store import deployments as deployment_table
from core.store import gitops as table
from core.store.database import Database

if TYPE_CHECKING:
    from core.model.results import gitops as shown

Run = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """One environment: its last run, the last successful one, its deployments and what differs from that run."""

    environment: str
    last: Run | None
    done: Run | None
    deployments: list[shown.EnvironmentDeployment]
    drift: list[shown.FileDrift]

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


def _deployment(
    fleet: Fleet, tenant: str, row: DeploymentRow, creator: str | None, now_ns: int
) -> shown.EnvironmentDeployment:
    state, reason, found = observed.observe(fleet, tenant, row, now_ns)
    return {
        "name": row.name,
        "source": row.source,
        "revision": row.revision,
        "created_by": creator,
        "state": state,
        "reason": reason,
        "drift": len(found),
    }


def drift(wanted: Sequence[Item], there: Mapping[Key, Found]) -> list[shown.FileDrift]:
    """What is not as a run left it."""
    changes = compare.compare(wanted, there, compare.Owned(), prune=False)
    return [_drift(change, there) for change in changes if change.action is not Action.UNCHANGED]


def _drift(change: Change, there: Mapping[Key, Found]) -> shown.FileDrift:
    found = there.get((change.kind, change.name), Found({}))
    gone = change.action is Action.CREATE
    said: shown.FileDrift = {
        "kind": change.kind,
        "id": change.name,
        "what": "is missing" if gone else "was changed",
        # The sides are told as: what the run left -> what is there.
        "diff": "" if change.item is None or gone else compare.difference(change.item.data, found.data),
    }
    if found.by:  # where it is kept who changed a thing last
        said["by"], said["at"] = found.by, clock.iso(found.at_ns)
    return said
