"""The jobs of a blueprint, tried out: staged with sample parameters and checked as jobs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from core import errors
from core.dsl import compile as compiler
from core.dsl import expand
from core.model.catalog import Blueprint
from core.model.plan import Finding

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][\w-]*(?:\.[\w-]+)*)\s*\}\}")
_SAMPLES = {"integer": 1, "number": 1, "boolean": True, "array": [], "object": {}, "string": "sample"}
_STAND_IN = {"worker-channel": {"channel": "sample"}}


def faults(blueprint: Blueprint) -> Iterator[Finding]:
    """Every fault of the jobs that no parameter can mend."""
    samples = {name: _sample(schema) for name, schema in _properties(blueprint).items()}
    for index, job in enumerate(blueprint.jobs):
        pointer = f"/jobs/{index}"
        document = dict(job)
        document.setdefault("name", "unnamed")
        for side in ("input", "output"):
            end = document.get(side)
            if isinstance(end, dict) and len(end) == 1 and ("port" in end or "channel" in end):
                document[side] = _STAND_IN
        context = {**_outside(document), **samples}
        try:
            compiler.check_job(expand.stage(document, context))
        except errors.InvalidDocument as error:
            for problem in error.errors or (errors.Problem("", error.message),):
                if not _open(document, problem.pointer):
                    message = f"Job {document['name']}: {problem.message}."
                    yield Finding("invalid_job", message, "See docs/components.md.", pointer + problem.pointer)


def warnings(blueprint: Blueprint) -> Iterator[Finding]:
    """Placeholders that are no parameters, so that a context has to give them."""
    known = _properties(blueprint)
    for index, job in enumerate(blueprint.jobs):
        for pointer, text in _strings(dict(job), f"/jobs/{index}"):
            for name in dict.fromkeys(_PLACEHOLDER.findall(text)):
                if name.partition(".")[0] not in known and not name.startswith(("secret", "wizard.")):
                    message = f"{{{{{name}}}}} is not a parameter, so a context has to give it."
                    yield Finding("unknown_parameter", message, f"Declare {name} in `parameters`.", pointer)


def _properties(blueprint: Blueprint) -> dict[str, Any]:
    properties = blueprint.parameters.get("properties", {})
    return properties if isinstance(properties, dict) else {}


def _sample(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return "sample"
    for key in ("default", "const"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if isinstance(schema.get(key), list) and schema[key]:
            return schema[key][0]
    wanted = schema.get("type", "string")
    return _SAMPLES.get(wanted[0] if isinstance(wanted, list) and wanted else wanted, "sample")


def _outside(document: dict[str, Any]) -> dict[str, Any]:
    """A value for every placeholder, at whatever depth of names."""
    out: dict[str, Any] = {}
    for _, text in _strings(document, ""):
        for name in _PLACEHOLDER.findall(text):
            *above, last = name.split(".")
            here = out
            for part in above:
                inner = here.get(part)
                here[part] = here = inner if isinstance(inner, dict) else {}
            here.setdefault(last, "sample")
    return out


def _open(document: dict[str, Any], pointer: str) -> bool:
    """Whether a placeholder at, above or below this place decides what will stand there."""
    value: Any = document
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            break
    return value is not document and any(True for _ in _strings(value, ""))


def _strings(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if "{{" in value:
            yield pointer, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(inner, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _strings(inner, f"{pointer}/{index}")
