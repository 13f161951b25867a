"""The published JSON Schema of a job document: what an editor completes and checks against.

It is read off the components, so it cannot disagree with what `compile.check_job` accepts. It describes staged
documents: a `{{name}}` that stands for a number is text before it is staged.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from core.dsl.component import REGISTRY, Component
from core.dsl.emit import Emit
from core.dsl.registry import load_components

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def component_schema(component: type[Component]) -> dict[str, Any]:
    """The schema of what stands under the name of a component, with its documentation."""
    schema = component.model_json_schema(by_alias=True)
    schema["title"] = f"{component.kind} {component.name}"
    schema["description"] = inspect.getdoc(component) or ""
    return schema


@functools.cache
def job_schema() -> dict[str, Any]:
    """The schema of a whole job document; every component is under `$defs` as `<kind>.<name>`.

    The value is shared: do not change it.
    """
    load_components()
    defs: dict[str, Any] = {}
    one_of: dict[str, dict[str, Any]] = {"input": {}, "action": {}, "output": {}}
    for component in REGISTRY:
        name = f"{component.kind}.{component.name}"
        schema = component_schema(component)
        for inner, definition in schema.pop("$defs", {}).items():
            defs[f"{name}.{inner}"] = _moved(definition, name)
        defs[name] = _moved(schema, name)
        one_of[component.kind][component.name] = {"$ref": f"#/$defs/{name}"}
    emit = Emit.model_json_schema(by_alias=True)
    emit["description"] = inspect.getdoc(Emit) or ""
    for inner, definition in emit.pop("$defs", {}).items():
        defs[f"emit.{inner}"] = _moved(definition, "emit")
    defs["emit"] = _moved(emit, "emit")
    return {
        "$schema": DIALECT,
        "title": "Sluice job",
        "description": "One input, actions in order, one output.",
        "type": "object",
        "properties": {
            "kind": {"const": "job"},
            "name": {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}$"},
            "description": {"type": "string", "description": "What the job is for."},
            "tags": {"type": "array", "items": {"type": "string"}},
            "input": _one_key(one_of["input"], "Where the events come from."),
            "actions": {
                "type": "array",
                "description": "What happens to each event, in this order.",
                "items": _one_key(one_of["action"], "One action."),
            },
            "output": _one_key(one_of["output"], "Where the events go."),
            "emit": {
                "description": "Messages beside the data, sent after the output has accepted it.",
                "anyOf": [{"$ref": "#/$defs/emit"}, {"type": "array", "items": {"$ref": "#/$defs/emit"}}],
            },
            "context": {"type": "object", "description": "Values for {{name}} that nothing else gives."},
        },
        "required": ["name", "input", "output"],
        "additionalProperties": False,
        "$defs": defs,
    }


def _one_key(properties: dict[str, Any], description: str) -> dict[str, Any]:
    nullable = {name: {"anyOf": [schema, {"type": "null"}]} for name, schema in properties.items()}
    return {
        "description": description,
        "anyOf": [
            {
                "type": "object",
                "properties": nullable,
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
            },
            {"enum": sorted(properties), "description": "A name alone stands for a component without keys."},
        ],
    }


def _moved(value: Any, name: str) -> Any:
    """A schema whose local references point to where its definitions are now."""
    if isinstance(value, dict):
        return {
            key: f"#/$defs/{name}.{inner.removeprefix('#/$defs/')}"
            if key == "$ref" and isinstance(inner, str)
            else _moved(inner, name)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_moved(item, name) for item in value]
    return value
