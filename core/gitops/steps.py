"""The steps of a run: each change is made by the operations that a person would call, as whoever began the run."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core import clock, errors
from core.catalog.items import Entry
from core.documents import dump
from core.fleet.fleet import Fleet
from core.gitops import desired
from core.gitops.compare import Change
from core.gitops.desired import Item
from core.model.catalog import LibraryJob
from core.model.gitops import Kind
from core.model.principal import Caller
from core.store import audit
from core.store import workflows as workflow_table
from core.store.database import Database
from core.triggers.registry import TriggerRegistry
from core.workflows import authoring
from core.workflows.library import Library

HEALTH_SECONDS = 60  # for the workloads of one deployment to come up
MOST_HEALTH_SECONDS = 270

Call = Callable[[str, dict[str, Any], Caller], Awaitable[dict[str, Any]]]
"""Calls an operation: (name, arguments, caller) -> its answer."""


@dataclass(frozen=True, slots=True)
class How:
    """How the changes of a run are made."""

    health_seconds: int = HEALTH_SECONDS
    rollback_on_failure: bool = False
    reason: str = ""  # what the history of a deployment says why it was applied
    complete: bool = True  # the items are all that the files name; otherwise what is not among them stays noted


class Unhealthy(errors.TargetUnavailable):
    """A deployment did not come up."""


class Steps:
    """Makes the changes of one run."""

    def __init__(
        self,
        database: Database,
        ids: clock.Ids,
        library: Library,
        triggers: TriggerRegistry,
        fleet: Fleet,
        call: Call,
        caller: Caller,
        catalog: Sequence[Entry],
        how: How,
    ) -> None:
        """`call` calls operations, so that every step is checked and recorded like any call; `catalog` is what the
        catalog holds once all changes are made."""
        self._database = database
        self._ids = ids
        self._library = library
        self._triggers = triggers
        self._fleet = fleet
        self._call_engine = call
        self._caller = caller
        self._catalog = catalog
        self._how = how

    async def make(self, change: Change) -> str:
        """Make one change; what is told of it. Raises Unhealthy, or what the operation raises."""
        if change.item is None:
            return await self._prune(change)
        match change.kind:
            case Kind.BLUEPRINT | Kind.PERSPECTIVE | Kind.WORKFLOW:
                return await self._publish(change.item)
            case Kind.CONTEXT:
                return await self._context(change.item)
            case Kind.JOB:
                return await self._job(change.item)
            case Kind.TRIGGER:
                return await self._trigger(change.item)
            case Kind.DEPLOYMENT:
                return await self._deploy(change.item)

    async def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return await self._call_engine(operation, arguments, self._caller)

    async def _publish(self, item: Item) -> str:
        now = clock.now_ns()
        known = next(e for e in self._catalog if _is(e, item))
        model = known.model
        assert not isinstance(model, LibraryJob)  # no kind of file is one
        text, digest = authoring.published_form(model, item.version)
        row = {
            "tenant": self._caller.tenant,
            "kind": item.kind.value,
            "slug": item.name,
            "version": item.version,
            "title": model.title,
            "text": item.text,
            "document": text,
            "digest": digest,
            "updated_at_ns": now,
            "updated_by": self._caller.username,
            "published_at_ns": now,
        }
        target = f"{self._caller.tenant}/{item.kind.value}:{item.name}@{item.version}"
        note = audit.row(self._ids.next(), self._caller, "workflow_publish", target)
        await self._database.write(workflow_table.add, row, note)
        self._library.forget(self._caller.tenant)
        return f"version {item.version} is published"

    async def _context(self, item: Item) -> str:
        level, target, key = desired.context_place(item.name)
        place = {level: target} if target else {}
        await self._call("context_set", values={key: item.data["value"]}, **place)
        return ""

    async def _job(self, item: Item) -> str:
        put = await self._call("job_put", document=item.text or dump.to_yaml(item.data))
        running = self._fleet.workload_views(tenant=self._caller.tenant, job=item.name)
        told = f"version {put['version']} is staged"
        if any(one.version != str(put["version"]) for one in running):
            told += f"; version {running[0].version} runs until it is deployed again (sluice job deploy {item.name})"
        return told

    async def _trigger(self, item: Item) -> str:
        there = self._triggers.get(self._caller.tenant, item.name)
        made = await self._call("trigger_publish" if there is None else "trigger_revise", **item.data)
        return f"revision {made['revision']}"

    async def _deploy(self, item: Item) -> str:
        planned = await self._call("deployment_plan", name=item.name, exact=True, **item.data)
        reached = await self._call(
            "deployment_apply",
            plan_id=planned["plan_id"],
            wait_seconds=self._how.health_seconds + 30,
            health_seconds=self._how.health_seconds,
            reason=self._how.reason,
            rollback_on_failure=self._how.rollback_on_failure,
        )
        told = f"revision {reached['revision']} is {reached['state']}"
        if reached["rolled_back"] or reached["came_up"] is False:
            back = "; the version before was taken back" if reached["rolled_back"] else ""
            raise Unhealthy(f"deployment {item.name}: {reached['reason'] or told}{back}")
        return told

    async def _prune(self, change: Change) -> str:
        """Take away what this manifest created; what somebody else has taken away already is fine too."""
        name = change.name
        with contextlib.suppress(errors.NotFound):
            match change.kind:
                case Kind.BLUEPRINT | Kind.PERSPECTIVE | Kind.WORKFLOW:
                    for version in change.versions:
                        await self._call("workflow_retire", slug=name, type=change.kind.value, version=version)
                case Kind.CONTEXT:
                    level, target, key = desired.context_place(name)
                    await self._call("context_delete", keys=[key], **({level: target} if target else {}))
                case Kind.JOB:
                    await self._call("job_undeploy", name=name)
                    await self._call("job_delete", name=name)
                case Kind.TRIGGER:
                    await self._call("trigger_deactivate", slug=name)
                case Kind.DEPLOYMENT:
                    planned = await self._call("deployment_plan", name=name, remove=True)
                    await self._call("deployment_apply", plan_id=planned["plan_id"])
        return ""


def _is(entry: Any, item: Item) -> bool:
    return bool((entry.type.value, entry.slug, str(entry.version)) == (item.kind.value, item.name, item.version))
