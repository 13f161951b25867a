"""Short documents for tests, and the shortest way from them to a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from core import documents
from core.catalog import builtin, items
from core.deployments import compute, expand
from core.deployments.surroundings import Surroundings
from core.model.catalog import Blueprint, Perspective, Workflow
from core.model.deployment import EMPTY, State, Worker
from core.model.plan import Plan

WORKERS = (Worker("w1", "default"), Worker("w2", "default"), Worker("e1", "edge"))
PASS = """
kind: blueprint
slug: pass
ports: {in: [in], out: [out]}
jobs: [{name: pass, input: {port: in}, output: {port: out}}]
"""


def workflow(text: str) -> Workflow:
    return documents.check(documents.load(text)[0], Workflow)


def perspective(text: str) -> Perspective:
    return documents.check(documents.load(text)[0], Perspective)


def blueprint(text: str) -> Blueprint:
    return documents.check(documents.load(text)[0], Blueprint)


def make(
    source: Workflow | Blueprint | Perspective | str,
    *,
    modules: Iterable[Blueprint | Workflow] = (),
    current: State = EMPTY,
    workers: Iterable[Worker] = WORKERS,
    surroundings: Surroundings | None = None,
    recompute: bool = False,
    name: str = "demo",
    values: Mapping[str, Any] | None = None,
    **request: Any,
) -> Plan:
    """A plan for a document (or the text of a workflow) with the built-in modules and `modules`."""
    model = workflow(source) if isinstance(source, str) else source
    entries = [*builtin.load(), items.entry(blueprint(PASS)), *(items.entry(module) for module in modules)]
    return compute.make(
        model,
        expand.Request(name, f"{model.kind}:{model.slug}@{model.version}", values=values or {}, **request),
        items.finder(entries),
        workers,
        current,
        surroundings=surroundings,
        recompute=recompute,
    )


def quickstart() -> Workflow:
    found = items.pick(builtin.load(), "quickstart-file-store-roundtrip").model
    assert isinstance(found, Workflow)
    return found


def codes(made: Plan) -> list[str]:
    return [finding.code for finding in made.blockers]


def pairs(count: int, slug: str = "pairs", word: str = "hello") -> str:
    """A workflow, as JSON text, of so many pairs of a source and a printer, each pair on a worker channel."""
    steps: list[dict[str, Any]] = []
    for number in range(count):
        event = orjson.dumps({"n": number, "word": word}).decode()
        source = {"id": f"s{number}", "use": "blueprint:echo-source@1.0.0", "with": {"event": event}}
        steps.append({**source, "out": f"channel:c{number}"})
        steps.append({"id": f"p{number}", "use": "blueprint:file-printer@1.0.0", "in": f"channel:c{number}"})
    return orjson.dumps({"kind": "workflow", "slug": slug, "title": slug, "steps": steps}).decode()
