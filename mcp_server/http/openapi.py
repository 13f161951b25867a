"""The OpenAPI description of an operation, made from the same schema that validates its arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from core import errors
from core.model import operation
from core.model.results import schemas
from mcp_server.http import problems, replays

_SCHEMAS = "#/components/schemas/"
PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "hint", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": sorted(problems.STATUS)},
        "hint": {"type": "string"},
        "errors": {"type": "array", "items": {"$ref": _SCHEMAS + "Fault"}},
        "details": {"$ref": _SCHEMAS + "JsonObject"},
    },
}
_REFUSALS = {
    "400": "The request cannot be read.",
    "401": "No valid credentials.",
    "403": "Not allowed.",
    "404": "No such thing, or it belongs to someone else.",
    "409": "In conflict with the present state.",
    "413": "The body is too large.",
    "421": "This server does not answer to that host.",
    "422": "Does not fit the schema.",
    "429": "Too many calls; see Retry-After.",
    "503": "Cannot be done right now; see Retry-After.",
}
IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": replays.PATTERN, "maxLength": 255},
    "description": "Repeat a request with the same key to get the same answer instead of doing it twice; "
    "kept for 24 hours.",
}
_REFUSED = {"default": {"$ref": "#/components/responses/Refused"}}
MAKES = ("_publish", "_create")
"""How operations are called that make something new."""
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def describe(op: operation.Operation, method: str, path: str) -> dict[str, Any]:
    """What FastAPI merges into its own description: parameters, request body, responses."""
    schema = _inline(op.schema)
    properties: dict[str, Any] = schema.get("properties", {})
    required = set(schema.get("required", ()))
    in_path = placeholders(path)
    parameters = [_parameter(name, "path", properties.get(name, {"type": "string"}), True) for name in in_path]
    rest = {name: node for name, node in properties.items() if name not in in_path}
    out: dict[str, Any] = {}
    if op.effect is not operation.Effect.READ:
        parameters.append(IDEMPOTENCY_KEY)
    if method in ("GET", "DELETE"):
        parameters += [_parameter(name, "query", node, name in required) for name, node in rest.items()]
    elif rest:
        wanted = [name for name in schema.get("required", ()) if name in rest]
        body: dict[str, Any] = {"type": "object", "properties": rest, "additionalProperties": False}
        if wanted:
            body["required"] = wanted
        out["requestBody"] = {"required": bool(wanted), "content": {"application/json": {"schema": body}}}
    if parameters:
        out["parameters"] = parameters
    result = {"application/json": {"schema": schemas.reference(op.result, _SCHEMAS)}}
    out["responses"] = {code: {"description": text, "content": result} for code, text in _answers(op).items()}
    out["responses"] |= _REFUSED
    return out


def components(operations: Iterable[operation.Operation]) -> dict[str, Any]:
    """What the descriptions of these operations refer to: the types of their results, and refusals."""
    made = schemas.Schemas(_SCHEMAS)
    for kind in (errors.Fault, schemas.JsonObject, *(op.result for op in operations)):
        made.of(kind)
    refusal = {problems.MEDIA_TYPE: {"schema": {"$ref": _SCHEMAS + "Problem"}}}
    meanings = " ".join(f"{code}: {text}" for code, text in _REFUSALS.items())
    return {
        "schemas": {**made.definitions, "Problem": PROBLEM},
        "responses": {"Refused": {"description": f"Refused, or failed. {meanings}", "content": refusal}},
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    }


def stream(filters: tuple[str, ...]) -> dict[str, Any]:
    """The description of a stream of server-sent events."""
    described = {"description": "The stream.", "content": {"text/event-stream": {}}}
    return {
        "parameters": [_parameter(name, "query", {"type": "string"}, False) for name in filters],
        "responses": {"200": described, **_REFUSED},
    }


def placeholders(path: str) -> list[str]:
    """The params that a path names."""
    return _PLACEHOLDER.findall(path)


def _answers(op: operation.Operation) -> dict[str, str]:
    if op.effect is operation.Effect.READ:
        return {"200": "Done."}
    done = {"201": "Made."} if op.name.endswith(MAKES) else {"200": "Done."}
    return {**done, "202": "Taken on; not at its end yet."}


def _parameter(name: str, place: str, node: dict[str, Any], required: bool) -> dict[str, Any]:
    schema = {key: value for key, value in _not_null(node).items() if key != "description"}
    out = {"name": name, "in": place, "required": required, "schema": schema}
    if "description" in node:
        out["description"] = node["description"]
    return out


def _not_null(node: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that a path or a query carries: it can be left out, and never is null."""
    branches = [branch for branch in node.get("anyOf", ()) if branch.get("type") != "null"]
    rest = {key: value for key, value in node.items() if key not in ("anyOf", "default") or value is not None}
    if "anyOf" not in node:
        return rest
    rest.pop("anyOf", None)
    return {**rest, **branches[0]} if len(branches) == 1 else {**rest, "anyOf": branches}


def _inline(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with its own $defs put in place, since `#/$defs/...` would point at the root of the OpenAPI document.

    A definition that contains itself is cut off at the second level and described as any value.
    """
    definitions = schema.get("$defs", {})

    def put(node: Any, inside: tuple[str, ...]) -> Any:
        if isinstance(node, list):
            return [put(item, inside) for item in node]
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/$defs/"):
            name = reference.removeprefix("#/$defs/")
            others = {key: put(value, inside) for key, value in node.items() if key != "$ref"}
            if name in inside or name not in definitions:
                return others
            return {**put(definitions[name], (*inside, name)), **others}
        return {key: put(value, inside) for key, value in node.items() if key != "$defs"}

    out: dict[str, Any] = put(schema, ())
    return out
