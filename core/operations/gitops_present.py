"""What is there now, in the form in which files ask for it; and what an apply would change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from core.catalog import items
from core.engine import Engine
from core.gitops import compare, desired
from core.gitops.compare import Action, Change, Found, Key, Owned
from core.gitops.desired import VERSIONED, Item
from core.model.gitops import Kind
from core.model.plan import Finding
from core.model.principal import Caller
from core.model.states import DeploymentState, WorkflowState
from core.operations import gitops_reading
from core.operations.gitops_reading import Wanted
from core.store import contexts as context_table
from core.store import deployments as deployment_table
from core.store import gitops as table
from core.store import jobs as job_table
from core.store import workflows as workflow_table


@dataclass(frozen=True, slots=True)
class Label:
    """Whose a thing is: the manifest of one environment of one tenant."""

    tenant: str
    environment: str
    manifest: str = "default"

    @property
    def key(self) -> tuple[str, str, str]:
        return self.tenant, self.environment, self.manifest

    def __str__(self) -> str:
        return f"tenant {self.tenant}, environment {self.environment or '(none)'}"


@dataclass(frozen=True, slots=True)
class Look:
    """What an apply would do, and what stands in its way."""

    label: Label
    wanted: Wanted
    changes: list[Change]
    warnings: list[Finding]
    blockers: list[Finding]

    @property
    def pending(self) -> list[Change]:
        """The changes that are any."""
        return [change for change in self.changes if change.action is not Action.UNCHANGED]

    @property
    def digest(self) -> str:
        return compare.digest(self.changes)

    def text(self) -> str:
        return compare.text(str(self.label), self.changes, self.warnings, self.blockers)


async def present(engine: Engine, caller: Caller, wanted: Sequence[Item] = ()) -> dict[Key, Found]:
    """Everything that a tenant has, by kind and name.

    A document with versions is there under its slug, as the version that `wanted` asks for or else the newest, and
    under slug@version for each published version.
    """
    tenant, read = caller.tenant, engine.database.read
    asked = {item.key: item.version for item in wanted if item.version}
    out: dict[Key, Found] = {}
    for row in await read(workflow_table.published, tenant):
        if row["state"] != WorkflowState.PUBLISHED:
            continue
        kind, slug, version = Kind(row["kind"]), row["slug"], row["version"]
        found = Found(orjson.loads(row["document"]), version)
        out[kind, f"{slug}@{version}"] = found
        before = out.get((kind, slug))
        if asked.get((kind, slug)) == version or before is None:
            out[kind, slug] = found
        elif before.version != asked.get((kind, slug)):
            newer = items.version_key(version) > items.version_key(before.version)
            out[kind, slug] = found if newer else before
    for row in await read(context_table.of_tenant, tenant):
        name = desired.context_name(row["level"], row["target"], row["key"])
        out[Kind.CONTEXT, name] = Found({"value": row["value"]})
    for row in await read(job_table.newest_of_all, tenant):
        out[Kind.JOB, row["name"]] = Found(orjson.loads(row["source"] or row["document"]), str(row["version"]))
    for trigger in engine.triggers.visible({tenant}):
        if trigger.active:
            data = trigger.definition.model_dump(exclude={"kind"})
            out[Kind.TRIGGER, trigger.slug] = Found(data, str(trigger.revision))
    for row in await read(deployment_table.all_rows, tenant):
        if row["state"] not in (DeploymentState.REMOVED, DeploymentState.REMOVING):
            out[Kind.DEPLOYMENT, row["name"]] = Found(deployment(row["desired"]), str(row["revision"]))
    return out


def deployment(wish: dict[str, Any]) -> dict[str, Any]:
    """The stored wish of a deployment as a file says it."""
    return {
        "environment": wish.get("environment", ""),
        "source": wish["source"],
        "worker_group": wish["group"],
        "values": wish["values"],
        "placement": wish["placement"],
        "replicas": wish["replicas"],
    }


async def owned(engine: Engine, label: Label) -> Owned:
    """What this manifest has created and names, and what others of the tenant name."""
    created, named, others = set(), set(), {}
    for row in await engine.database.read(table.items, label.tenant):
        key = (Kind(row["kind"]), row["name"])
        if (row["environment"], row["manifest"]) == (label.environment, label.manifest):
            named.add(key)
            if row["created"]:
                created.add(key)
        else:
            others[key] = f"{row['environment'] or '-'}/{row['manifest']}"
    return Owned(frozenset(created), frozenset(named), others)


async def look(engine: Engine, caller: Caller, label: Label, wanted: Wanted, *, prune: bool = True) -> Look:
    """Compare; every deployment is planned as it would be after everything else has been applied."""
    there, holds = await present(engine, caller, wanted.items), await owned(engine, label)
    changes = compare.compare(wanted.items, there, holds, prune=prune)
    blocked = compare.blockers(changes, there, holds, label.environment)
    gone = [one.name for one in changes if one.action is Action.PRUNE and one.kind is Kind.CONTEXT]
    if gone:
        rows = await engine.database.read(context_table.of_tenant, caller.tenant)
        wanted = replace(wanted, contexts=gitops_reading.layers(rows, wanted.items, gone), plans={})
    warnings: list[Finding] = []
    out = []
    for change in changes:
        if change.kind is Kind.DEPLOYMENT and change.item is not None:
            change, told, against = await _planned(engine, caller, change, change.item, wanted)
            warnings += told
            blocked += against
        out.append(change)
    return Look(label, wanted, out, warnings, blocked)


async def _planned(
    engine: Engine, caller: Caller, change: Change, item: Item, wanted: Wanted
) -> tuple[Change, list[Finding], list[Finding]]:
    made = wanted.plans.get(item.name) or await gitops_reading.plan(engine, caller, item, wanted)
    warnings, blocked = (_named(item.name, found) for found in (made.warnings, made.blockers))
    if made.empty:
        return change, warnings, blocked
    reason = change.reason
    if change.action is Action.UNCHANGED:  # the same wish, but other contexts, or another place
        change = replace(change, action=Action.UPDATE)
        reason = "its jobs change"
    return replace(change, reason=reason, diff=f"{change.diff}\n{made.text}".strip()), warnings, blocked


def _named(name: str, findings: Iterable[Finding]) -> list[Finding]:
    return [replace(one, message=f"deployment {name}: {one.message}", pointer="") for one in findings]


def names_of(kind: Kind, name: str) -> str:
    """The slug of an owned thing, or its name."""
    return name.partition("@")[0] if kind in VERSIONED else name
