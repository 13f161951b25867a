"""What the files of a manifest ask for, in full: checked against the catalog and contexts as they would be then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from core import errors
from core.catalog import items
from core.catalog.items import Entry
from core.contexts.layers import Layers
from core.deployments.planner import Ask, Planner
from core.errors import Problem
from core.fleet.reach import Reach
from core.gitops import desired
from core.gitops.desired import Item, Written
from core.gitops.files import File
from core.guard.pathrules import Locator
from core.jobs import staging
from core.model.catalog import Blueprint, Perspective, Workflow
from core.model.deployment_document import DeploymentDocument
from core.model.gitops import Kind, Manifest
from core.model.plan import Plan
from core.model.principal import Caller
from core.model.states import WorkflowState
from core.near import did_you_mean
from core.store import contexts as context_table
from core.store import workflows as workflow_table
from core.store.database import Database
from core.triggers import registry
from core.workflows import authoring, check, modules
from core.workflows.library import Library

_IN_FILE = ("/values/", "/placement/", "/replicas/")  # blockers that point into the document of a deployment
_OF_FILES = ("invalid_job", "path_not_allowed")  # blockers about what a deployment would run


@dataclass(slots=True)
class Wanted:
    """The items of a scope, and the catalog and contexts that there will be once they are applied."""

    items: list[Item] = field(default_factory=list)
    every: list[Entry] = field(default_factory=list)
    contexts: Layers = field(default_factory=Layers)
    problems: list[Problem] = field(default_factory=list)
    plans: dict[str, Plan] = field(default_factory=dict)  # of the deployments, by name
    broken: set[str] = field(default_factory=set)  # kind:slug of documents with faults: what names them is not at fault


class Reader:
    """Use from the engine's loop."""

    def __init__(self, database: Database, library: Library, planner: Planner, reach: Reach) -> None:
        self._database = database
        self._library = library
        self._planner = planner
        self._reach = reach

    async def read(self, caller: Caller, manifest: Manifest, files: Iterable[File]) -> Wanted:
        """Every item of the files; what is wrong with any of them is in `problems`, in the order of the files."""
        parsed = await asyncio.to_thread(desired.parse, manifest, files)
        out = Wanted(every=await self._library.visible(caller.tenant), problems=list(parsed.problems))
        rows = await self._database.read(workflow_table.published, caller.tenant)
        for kind in (Kind.BLUEPRINT, Kind.PERSPECTIVE, Kind.WORKFLOW):
            await self._publishable(_modules_first(parsed.of(kind)), rows, out)
        for one in parsed.of(Kind.CONTEXT):
            values = one.document.data["values"]
            for (name, _), value in zip(desired.context_keys(one.document.data), values.values(), strict=True):
                out.items.append(Item(Kind.CONTEXT, name, {"value": value}, one.path))
        out.contexts = layers(await self._database.read(context_table.of_tenant, caller.tenant), out.items)
        reached = self._reach.of(caller.tenant)
        for one in parsed.of(Kind.JOB):
            await asyncio.to_thread(_job, one, reached, out)
        for one in parsed.of(Kind.TRIGGER):
            _trigger(one, caller, out)
        for one in parsed.of(Kind.DEPLOYMENT):
            item = _deployment(one, manifest, out)
            if item is not None:
                out.items.append(item)
                await self._planned(caller.tenant, one, item, out)
        out.problems.sort(key=_place)
        return out

    async def _publishable(self, written: list[Written], rows: list[dict[str, Any]], out: Wanted) -> None:
        """Documents of one kind with versions: check them, and find the version that each is or will be."""
        versions: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in rows:
            versions.setdefault((row["kind"], row["slug"]), []).append(row)
        known = modules.of(out.every)
        named = {slug for one in written for slug in _named(one)}
        installed = {(entry.type.value, entry.slug): entry for entry in out.every if entry.source == "portal"}
        for one in written:
            if (there := installed.get((one.kind.value, one.name))) is not None:
                what = f"{one.name} is installed from the portal {there.portal}; choose another slug"
                out.problems.append(Problem("/slug", what, one.document.where("/slug")))
                continue
            report = await check.check_in_turns(one.document, known)
            if not report.valid:
                own = [one for one in report.faults if not any(f"{other}@" in one.message for other in out.broken)]
                out.problems += [fault.problem() for fault in own[: check.MOST_REMARKS]]
                out.broken.add(f"{one.kind.value}:{one.name}")
                continue
            model: Blueprint | Perspective | Workflow = report.require()
            item = _versioned(one, model, versions.get((one.kind.value, one.name), []), out)
            if item is None:
                out.broken.add(f"{one.kind.value}:{one.name}")
                continue
            out.items.append(item)
            number: Any = int(item.version) if one.kind is Kind.WORKFLOW else item.version
            if all((e.type, e.slug, str(e.version)) != (one.kind.value, one.name, item.version) for e in out.every):
                out.every.append(items.entry(model.model_copy(update={"version": number})))
                if one.name in named:
                    known = modules.of(out.every)

    async def _planned(self, tenant: str, one: Written, item: Item, out: Wanted) -> None:
        """Plan a deployment as it would be then; what its file says wrong is a fault of the file."""
        made = await self.plan(tenant, item, out)
        at_fault = [found for found in made.blockers if found.pointer.startswith(_IN_FILE) or found.code in _OF_FILES]
        places = [found.pointer if found.pointer.startswith(_IN_FILE) else "/source" for found in at_fault]
        out.problems += [
            Problem(place, f"{found.message} {found.hint}".strip(), one.document.where(place))
            for found, place in zip(at_fault, places, strict=True)
        ]
        out.plans[item.name] = made

    async def plan(self, tenant: str, item: Item, wanted: Wanted) -> Plan:
        """The plan of a deployment with the catalog and the contexts that there will be."""
        ask = Ask(item.name, exact=True, **item.data)
        return await self._planner.plan_within(tenant, ask, wanted.every, wanted.contexts)

    async def of_items(self, tenant: str, found: list[Item]) -> Wanted:
        """Items that were read before: those of an earlier run."""
        rows = await self._database.read(context_table.of_tenant, tenant)
        return Wanted(found, await self._library.visible(tenant), layers(rows, found))


def _place(problem: Problem) -> tuple[str, int, int]:
    path, _, rest = (problem.where or "").rpartition(":")
    path, _, line = path.rpartition(":")
    return (path, int(line), int(rest)) if line.isdigit() and rest.isdigit() else (problem.where or "", 0, 0)


def layers(rows: Iterable[dict[str, Any]], wanted: Iterable[Item], gone: Iterable[str] = ()) -> Layers:
    """The contexts of a tenant once the items are applied and what is pruned is gone."""
    values = {desired.context_name(row["level"], row["target"], row["key"]): row["value"] for row in rows}
    values |= {item.name: item.data["value"] for item in wanted if item.kind is Kind.CONTEXT}
    for name in gone:
        values.pop(name, None)
    return Layers.from_rows(
        dict(zip(("level", "target", "key"), desired.context_place(name), strict=True), value=value)
        for name, value in values.items()
    )


def _modules_first(written: list[Written]) -> list[Written]:
    """Documents before those that name them as modules; in a circle, in the order of the files."""
    by_slug = {one.name: one for one in written}
    done: dict[str, Written] = {}

    def visit(one: Written, above: tuple[str, ...]) -> None:
        for slug in _named(one):
            if slug in by_slug and slug not in done and slug not in above and len(above) < 100:
                visit(by_slug[slug], (*above, one.name))
        done.setdefault(one.name, one)

    for one in written:
        visit(one, (one.name,))
    return list(done.values())


def _named(one: Written) -> list[str]:
    steps = one.document.data.get("steps")
    uses = [step.get("use") for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
    return [use.partition(":")[2].partition("@")[0] for use in uses if isinstance(use, str)]


def _versioned(
    one: Written, model: Blueprint | Perspective | Workflow, versions: list[dict[str, Any]], out: Wanted
) -> Item | None:
    """The item with the version that says the same, or with the next one."""
    if one.kind is Kind.WORKFLOW:
        _, digest = authoring.published_form(model, "1")
        published = [row for row in versions if row["state"] == WorkflowState.PUBLISHED]
        same = [int(row["version"]) for row in published if row["digest"] == digest]
        version = str(max(same) if same else max((int(row["version"]) for row in versions), default=0) + 1)
        text, _ = authoring.published_form(model, version)
        return Item(one.kind, one.name, orjson.loads(text), one.path, one.text, version)
    version = str(model.version)
    text, digest = authoring.published_form(model, version)
    there = next((row for row in versions if row["version"] == version), None)
    if there is not None and (retired := there["state"] == WorkflowState.RETIRED) | (there["digest"] != digest):
        why = "is retired" if retired else "is published with other content"
        what = f"version {version} {why}; a version never changes: raise it"
        out.problems.append(Problem("/version", what, one.document.where("/version")))
        return None
    return Item(one.kind, one.name, orjson.loads(text), one.path, one.text, version)


def _job(one: Written, files: Locator, out: Wanted) -> None:
    text = one.document.text if one.document.index == 0 else one.text  # the first has the lines of the file
    try:
        staged = staging.stage(text, out.contexts, one.path, files)
    except errors.InvalidDocument as error:
        out.problems += error.errors or [Problem("", error.message, one.document.where(""))]
        return
    out.items.append(Item(Kind.JOB, one.name, orjson.loads(staged.source or staged.text), one.path, one.text))


def _trigger(one: Written, caller: Caller, out: Wanted) -> None:
    try:
        definition = registry.check(dict(one.document.data), caller)
    except errors.InvalidParams as error:
        out.problems += [replace(fault, where=one.document.where(fault.pointer)) for fault in error.errors]
        return
    out.items.append(Item(Kind.TRIGGER, one.name, definition.model_dump(exclude={"kind"}), one.path, one.text))


def _deployment(one: Written, manifest: Manifest, out: Wanted) -> Item | None:
    document = DeploymentDocument.model_validate(one.document.data)
    kind, _, rest = document.source.partition(":")
    slug, _, version = rest.partition("@")
    found = _source(kind, slug, version, out)
    if found is None and f"{kind}:{slug}" in out.broken:
        return None
    if found is None:
        every = {str(e.version) for e in out.every if (e.type.value, e.slug) == (kind, slug)}
        if every:
            what = f"there is no version {version} of {kind} {slug}; there is {', '.join(sorted(every)[:10])}"
        else:
            guess = did_you_mean(slug, {e.slug for e in out.every if e.type.value == kind})
            what = f"there is no {kind} {slug}, neither in these files nor in the catalog{guess}"
        out.problems.append(Problem("/source", what, one.document.where("/source")))
        return None
    data = {
        "environment": manifest.scope.environment,
        "source": found,
        "worker_group": document.worker_group,
        "values": document.values,
        "placement": document.placement,
        "replicas": document.replicas,
    }
    return Item(Kind.DEPLOYMENT, one.name, data, one.path, one.text)


def _source(kind: str, slug: str, version: str, out: Wanted) -> str | None:
    """The exact version that a deployment means: the one of these files when it names none, else the newest."""
    if not version:
        here = next((i.version for i in out.items if (i.kind.value, i.name) == (kind, slug)), None)
        if here is not None:
            return f"{kind}:{slug}@{here}"
    for entry in out.every if version else items.latest(out.every):
        if (entry.type.value, entry.slug) == (kind, slug) and version in ("", str(entry.version)):
            return f"{kind}:{slug}@{entry.version}"
    return None
