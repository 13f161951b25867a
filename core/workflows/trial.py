"""The jobs of a blueprint, tried out: staged with what is known of the parameters and checked as jobs. Pure.

What holds a placeholder whose value is not known yet is not judged; the plan of a deployment judges it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from core import errors, pointers
from core.documents import canonical
from core.dsl.language import compile as compiler
from core.dsl.language import templates
from core.model.catalog import Blueprint, Graph
from core.model.plan import Finding
from core.workflows.modules import Modules
from core.workflows.placeholders import is_open, texts

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][\w-]*(?:\.[\w-]+)*)\s*\}\}")
_STAND_IN = {"worker-channel": {"channel": "sample"}}


def blueprint(tried: Blueprint) -> Iterator[list[Finding]]:
    """The faults of each job with the defaults of the parameters, one job at a time."""
    for index, job in enumerate(tried.jobs):
        yield [
            Finding(
                "invalid_job",
                f"Job {_name(job)}: {problem.message}.",
                "Correct the job.",
                f"/jobs/{index}{problem.pointer}",
            )
            for problem in _try(job, _defaults(tried))
        ]


def steps(graph: Graph, modules: Modules) -> Iterator[list[Finding]]:
    """The faults that the parameters of each step bring into its jobs, one step at a time."""
    known: dict[bytes, list[str]] = {}
    for index, step in enumerate(graph.steps):
        module = modules.find(step.use) if step.use else None
        given = {name: value for name, value in step.with_.items() if not is_open(value)}
        if not isinstance(module, Blueprint) or not given:
            continue
        key = canonical.canonical([step.use, given])
        if key not in known:
            parameters = {**_defaults(module), **dict.fromkeys(step.with_, _OPEN), **given}
            known[key] = [
                f"job {_name(job)}, {problem.pointer}: {problem.message}"
                for job in module.jobs
                for problem in _try(job, parameters)
            ]
        yield [
            Finding(
                "invalid_parameter",
                f"Step {step.id}: with these parameters {said}.",
                "Correct the parameters.",
                f"/steps/{index}/with",
            )
            for said in known[key]
        ]


def warnings(tried: Blueprint) -> Iterator[Finding]:
    """Placeholders that are no parameters, so that a context has to give them."""
    properties = _properties(tried)
    for index, job in enumerate(tried.jobs):
        for pointer, text in texts(job, f"/jobs/{index}"):
            for name in dict.fromkeys(_PLACEHOLDER.findall(text)):
                if name.partition(".")[0] not in properties and not name.startswith(("secrets.", "wizard.")):
                    message = f"{{{{{name}}}}} is not a parameter, so a context has to give it."
                    yield Finding("unknown_parameter", message, f"Declare {name} in `parameters`.", pointer)


class _Open:
    """Stands for a value that is not known."""


_OPEN = _Open()


def _try(job: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[errors.Problem]:
    """What is wrong with a job whatever the open parameters are."""
    document = {"name": "unnamed", **job}
    for side in ("input", "output"):
        end = document.get(side)
        if isinstance(end, dict) and len(end) == 1 and ("port" in end or "channel" in end):
            document[side] = _STAND_IN
    try:
        document = templates.stage(document, _context(document, parameters))
        compiler.check_job(document)
    except errors.InvalidDocument as error:
        problems = error.errors or (errors.Problem("", error.message),)
        return [problem for problem in problems if not _undecided(document, problem.pointer)]
    return []


def _context(document: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every placeholder: what is known, and itself for what is not."""
    out = {name: value for name, value in parameters.items() if value is not _OPEN}
    for _, text in texts(document, ""):
        for name in _PLACEHOLDER.findall(text):
            *above, last = name.split(".")
            here: Any = out
            for part in above:
                here = here.setdefault(part, {}) if isinstance(here, dict) else {}
            if isinstance(here, dict):
                here.setdefault(last, f"{{{{{name}}}}}")
    return out


def _undecided(document: Any, pointer: str) -> bool:
    """Whether a placeholder at, above or below this place decides what will stand there."""
    value = document
    for part in pointer.split("/")[1:]:
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
            continue
        key = next((key for key in value if pointers.escape(key) == part), None) if isinstance(value, dict) else None
        if key is None:
            break
        value = value[key]
    return value is not document and is_open(value)


def _name(job: Mapping[str, Any]) -> str:
    return errors.shorten(str(job.get("name", "unnamed")), 60)


def _properties(tried: Blueprint) -> dict[str, Any]:
    properties = tried.parameters.get("properties", {})
    return properties if isinstance(properties, dict) else {}


def _defaults(tried: Blueprint) -> dict[str, Any]:
    return {
        name: schema["default"]
        for name, schema in _properties(tried).items()
        if isinstance(schema, Mapping) and "default" in schema
    }
