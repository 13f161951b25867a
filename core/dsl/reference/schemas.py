"""The published JSON Schema of a job document: what an editor completes and checks against.

It is read off the components, so it cannot disagree with what `compile.check_job` accepts. Documents are written
before they are staged, so a `{{name}}` may stand in the place of any value.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pydantic
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from core.dsl.component import REGISTRY, Component
from core.dsl.language.emit import Emit
from core.dsl.language.on_error import OnError
from core.model.operation import compact

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NAME_PATTERN = "^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}$"
PLACEHOLDER = {"$ref": "#/$defs/placeholder"}


@functools.cache
def job_schema() -> dict[str, Any]:
    """The schema of a whole job document; the value is shared: do not change it."""
    components: list[type[Component]] = list(REGISTRY)
    models: list[type[BaseModel]] = [*components, Emit, OnError]
    places, made = models_json_schema([(cls, "validation") for cls in models], by_alias=True)
    defs = {name: _staged_later(node) for name, node in compact(made)["$defs"].items()}
    defs["placeholder"] = {
        "type": "string",
        "pattern": r"\{\{.*\}\}",
        "description": "A value of the context, filled in when the document is staged.",
    }
    one_of: dict[str, dict[str, Any]] = {"input": {}, "action": {}, "output": {}}
    for cls in components:
        place = _staged_later(compact(places[cls, "validation"]))
        one_of[cls.kind][cls.name] = {**place, "description": inspect.getdoc(cls) or ""}
    bare = {kind: [cls.name for cls in components if cls.kind == kind and _needs_no_key(cls)] for kind in one_of}
    emit = _staged_later(compact(places[Emit, "validation"]))
    return {
        "$schema": DIALECT,
        "title": "Sluice job",
        "description": "One input, actions in order, one output.",
        "type": "object",
        "properties": {
            "kind": {"const": "job"},
            "name": {"type": "string", "pattern": NAME_PATTERN},
            "description": {"type": "string", "description": "What the job is for."},
            "tags": {"type": "array", "items": {"type": "string"}},
            "input": _one_key(one_of["input"], "Where the events come from.", bare["input"]),
            "actions": {
                "type": "array",
                "description": "What happens to each event, in this order.",
                "maxItems": 500,
                "items": _one_key(one_of["action"], "One action.", bare["action"]),
            },
            "output": _one_key(one_of["output"], "Where the events go.", bare["output"]),
            "emit": {
                "description": "Messages beside the data, sent after the output has accepted it.",
                "anyOf": [emit, {"type": "array", "items": emit, "maxItems": 10}],
            },
            "on-error": {
                **_staged_later(compact(places[OnError, "validation"])),
                "description": inspect.getdoc(OnError) or "",
            },
            "context": {"type": "object", "description": "Values for {{name}} that nothing else gives."},
        },
        "required": ["name", "input", "output"],
        "additionalProperties": False,
        "$defs": defs,
    }


def _one_key(properties: dict[str, Any], description: str, bare: list[str]) -> dict[str, Any]:
    """A map with one key out of `properties`; those in `bare` may also stand without keys of their own."""
    values = {
        name: {
            "description": schema["description"],
            "anyOf": [_undescribed(schema), *([{"type": "null"}] if name in bare else []), PLACEHOLDER],
        }
        for name, schema in properties.items()
    }
    return {
        "description": description,
        "anyOf": [
            {
                "type": "object",
                "properties": values,
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
            },
            {"enum": bare, "description": "A name alone stands for a component without keys."},
        ],
    }


def _needs_no_key(component: type[Component]) -> bool:
    try:
        component.model_validate({})
    except pydantic.ValidationError:
        return False
    return True


def _undescribed(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "description"}


def _staged_later(node: Any) -> Any:
    """The schema with a placeholder allowed for the value of every key that does not take any text anyway."""
    if isinstance(node, list):
        return [_staged_later(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: _staged_later(value) for key, value in node.items() if key != "properties"}
    if "properties" in node:
        out["properties"] = {key: _or_placeholder(_staged_later(value)) for key, value in node["properties"].items()}
    return out


def _or_placeholder(schema: dict[str, Any]) -> dict[str, Any]:
    about: dict[str, Any] = {key: schema[key] for key in ("description", "default", "deprecated") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in about}
    if not rest or (rest.get("type") == "string" and not rest.keys() & {"pattern", "enum", "maxLength", "format"}):
        return schema
    branches = rest["anyOf"] if rest.keys() == {"anyOf"} else [rest]
    return {**about, "anyOf": [*branches, PLACEHOLDER]}
