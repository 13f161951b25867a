"""Plan & register: the next call for an item of each type, with its arguments ready (docs/catalog.md). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core.catalog import fitting, items
from core.catalog.items import Entry, Listed
from core.documents import dump
from core.model.catalog import Blueprint, Graph, LibraryJob, Perspective, Ports, Step

if TYPE_CHECKING:
    from core.model.results import catalog

ROUTING = "routing"
"""The tag of blueprints whose events a dispatch spreads."""


def from_portal(one: Listed) -> catalog.CatalogNext:
    """Install what only a portal has, or take the newer version that it has."""
    key: dict[str, Any] = {"slug": one.slug, "type": one.type.value}
    tail = f"{one.slug} --type {one.type.value}"
    if one.update is not None:
        why = f"The portal has version {one.update}. What is deployed stays as it is until it is planned anew."
        return _next("catalog_update", key, f"sluice catalog update {tail}", why)
    more = {"version": one.version, "portal": one.portal}
    command = f"sluice catalog install {tail} --version {one.version} --portal {one.portal}"
    return _next("catalog_install", {**key, **more}, command, "It is in the portal, and not here yet.")


def here(entry: Entry, listed: Sequence[Listed] = ()) -> catalog.CatalogNext:
    """Start from what is here: plan a deployment, or make a draft of a workflow or a job.

    `listed` is the catalog, whose workflows show how the events of a router are spread.
    """
    model, slug = entry.model, entry.slug
    if isinstance(model, LibraryJob):
        return _next(
            "job_put",
            {"document": dump.to_yaml(model.job), "draft": True},
            f"sluice catalog show {slug} --type job --document | sluice job put -f - --draft",
            "Saves it as a draft of a job; edit it, then job_stage and job_deploy.",
        )
    if isinstance(model, Perspective):
        copy = f"my-{slug}"[:63]
        return _next(
            "workflow_clone",
            {"slug": slug, "type": "perspective", "version": str(entry.version), "new_slug": copy},
            f"sluice workflow clone {slug} {copy} --type perspective",
            "Makes the draft of a workflow; bind its open slots, then workflow_publish and deployment_plan.",
        )
    if not is_deployable(entry):
        document = dump.to_yaml(_around(entry, model.ports, _spread(entry, listed)))
        why = "It has open ports: use it as a step. Saves the draft of a workflow with open steps around it."
        return _next("workflow_save_draft", {"document": document}, "", why)
    questions = items.wizard(entry)
    values = {one["field"]: one["default"] for one in questions if one["default"] is not None}
    fill = [one["field"] for one in questions if items.must(one)]
    name = _name(slug)
    return _next(
        "deployment_plan",
        {"name": name, "source": entry.ref, "values": values},
        f"sluice plan {name} --from {entry.ref}" + "".join(f" --set {field}=..." for field in fill),
        "Plans a deployment; show its text, then deployment_apply.",
        [f"values.{field}" for field in fill],
    )


def is_deployable(entry: Entry) -> bool:
    """Whether deployment_plan takes it as it is: a workflow or blueprint without open ports."""
    model = entry.model
    return not isinstance(model, LibraryJob | Perspective) and not (model.ports.in_ or model.ports.out)


def slots(entry: Entry, listed: Sequence[Listed] = ()) -> list[catalog.CatalogSlot]:
    """The open slots of a perspective: which step takes what, and which modules of the catalog fit."""
    steps = entry.model.steps if isinstance(entry.model, Graph) else ()
    return [
        {"step": step.id, "fits": fitting.modules(step, listed), "hint": step.slot.hint}
        for step in steps
        if step.slot is not None
    ]


def _spread(entry: Entry, listed: Sequence[Listed]) -> Step | None:
    """How a router is used: the first step of the catalog that spreads its events; of one that no workflow uses, a copy
    for each of two outputs. None for what is no router."""
    if ROUTING not in entry.tags or len(getattr(entry.model, "ports", Ports()).out) != 1:
        return None
    named = f"{entry.type.value}:{entry.slug}@"
    graphs = (one.model for one in listed if isinstance(one, Entry) and isinstance(one.model, Graph))
    steps = (step for graph in graphs for step in graph.steps)
    used = (step for step in steps if step.use and step.use.startswith(named) and step.dispatch is not None)
    if (step := next(used, None)) is not None:
        return step
    outs = {output: f"channel:{output}" for output in ("first", "second")}
    return Step.model_validate({"id": "router", "out": outs, "dispatch": {"mode": "clone"}})


def _around(entry: Entry, ports: Ports, spread: Step | None) -> dict[str, Any]:
    """A workflow with the module as a step, and an open step at each of its ports; behind a router, one at each
    output of its dispatch."""
    id = f"{_name(entry.slug)}-module" if entry.slug.endswith(("-source", "-sink")) else _name(entry.slug)
    outs = list(spread.out) if spread is not None and isinstance(spread.out, dict) else ports.out
    ends = {
        side: {name: f"channel:{_name(name)}" for name in names} for side, names in (("in", ports.in_), ("out", outs))
    }
    if twice := ends["in"].keys() & ends["out"].keys():
        ends["out"] |= {name: f"{ends['out'][name]}-out" for name in twice}
    bound: dict[str, Any] = {
        side: next(iter(named.values())) if len(named) == 1 else named for side, named in ends.items() if named
    }
    if spread is not None and spread.dispatch is not None:
        bound |= {"out": ends["out"], "dispatch": spread.dispatch.model_dump(mode="json", exclude_unset=True)}
    before = [{"id": f"{_name(port)}-source", "slot": {}, "out": channel} for port, channel in ends["in"].items()]
    behind = [{"id": f"{_name(port)}-sink", "slot": {}, "in": channel} for port, channel in ends["out"].items()]
    needed = entry.model.parameters.get("required", ()) if isinstance(entry.model, Blueprint) else ()
    given = {"with": dict.fromkeys(needed, "")} if needed else {}
    step = {"id": id, "use": entry.ref, **given, **bound}
    return {
        "kind": "workflow",
        "slug": f"with-{_name(entry.slug)}"[:63],
        "steps": [*before, step, *behind],
    }


def _name(text: str) -> str:
    """A slug as the name of a deployment or step."""
    return re.sub("[-_]+", "-", text)[:40].strip("-") or "item"


def _next(
    operation: str, arguments: dict[str, Any], command: str, why: str, fill: list[str] | None = None
) -> catalog.CatalogNext:
    return {"operation": operation, "arguments": arguments, "fill": fill or [], "command": command, "why": why}
