"""What is there now, in the form in which files ask for it, and what of it each manifest has created."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from core.catalog import items
from core.gitops import desired
from core.gitops.compare import Found, Key, Owned
from core.gitops.desired import VERSIONED, Item
from core.model.gitops import Kind
from core.model.states import DeploymentState, WorkflowState
from core.store import contexts as context_table
from core.store import deployments as deployment_table
from core.store import gitops as table
from core.store import jobs as job_table
from core.store import workflows as workflow_table
from core.store.database import Database
from core.triggers.registry import TriggerRegistry

if TYPE_CHECKING:
    from core.model.results import gitops


@dataclass(frozen=True, slots=True)
class Label:
    """Whose a thing is: the manifest of one environment of one tenant."""

    tenant: str
    environment: str
    manifest: str = "default"

    @property
    def key(self) -> tuple[str, str, str]:
        return self.tenant, self.environment, self.manifest

    def to_dict(self) -> gitops.Scope:
        return {"tenant_id": self.tenant, "environment": self.environment, "manifest": self.manifest}

    def __str__(self) -> str:
        return f"tenant {self.tenant}, environment {self.environment or '(none)'}"


async def present(
    database: Database, triggers: TriggerRegistry, tenant: str, wanted: Sequence[Item] = ()
) -> dict[Key, Found]:
    """Everything that a tenant has, by kind and name.

    A document with versions is there under its slug, as the version that `wanted` asks for or else the newest, and
    under slug@version for each published version.
    """
    read = database.read
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
        out[Kind.CONTEXT, name] = Found({"value": row["value"]}, by=row["updated_by"], at_ns=row["updated_at_ns"])
    for row in await read(job_table.newest_of_all, tenant):
        out[Kind.JOB, row["name"]] = Found(orjson.loads(row["source"] or row["document"]), str(row["version"]))
    for trigger in triggers.visible({tenant}):
        if trigger.active:
            data = trigger.definition.model_dump(exclude={"kind"})
            out[Kind.TRIGGER, trigger.slug] = Found(
                data, str(trigger.revision), trigger.created_by, trigger.created_at_ns
            )
    for one in await read(deployment_table.all_rows, tenant):
        if one.state not in (DeploymentState.REMOVED, DeploymentState.REMOVING):
            out[Kind.DEPLOYMENT, one.name] = Found(
                deployment(one.desired), str(one.revision), one.updated_by, one.updated_at_ns
            )
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


async def owned(database: Database, label: Label) -> Owned:
    """What this manifest has created and names, and what others of the tenant name."""
    created, named, others = set(), set(), {}
    for row in await database.read(table.items, label.tenant):
        key = (Kind(row["kind"]), row["name"])
        if (row["environment"], row["manifest"]) == (label.environment, label.manifest):
            named.add(key)
            if row["created"]:
                created.add(key)
        else:
            others[key] = f"{row['environment'] or '-'}/{row['manifest']}"
    return Owned(frozenset(created), frozenset(named), others)


def names_of(kind: Kind, name: str) -> str:
    """The slug of an owned thing, or its name."""
    return name.partition("@")[0] if kind in VERSIONED else name
