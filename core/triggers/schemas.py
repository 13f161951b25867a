"""Guards for JSON Schemas that come from outside: bounded, local, linear-time, and the right shape for a tool."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import jsonschema_rs

from core import errors
from core.errors import Problem
from core.model.operation import schema_problems
from core.model.trigger import RESERVED_KEYS
from core.triggers import schema_growth

MAX_DEPTH = 32
MAX_NODES = 2_000
MAX_BYTES_HINT = "A schema may have at most 2,000 nodes and 32 levels."
MAX_UNIQUE_ITEMS = 1_000

# Keywords whose value is one schema, a list of schemas, or a map of schemas.
_ONE = (
    "additionalProperties items contains not if then else propertyNames unevaluatedItems unevaluatedProperties"
    " contentSchema"
).split()
_LIST = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAP = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")

# A property that clients repeat as an HTTP header Mcp-Param-NAME; with a wrong annotation they drop the whole tool.
HEADER_KEY = "x-mcp-header"
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_HEADER_PLACE = re.compile(r"(/properties/[^/]+)+")
_HEADER_TYPES = ("string", "integer", "boolean")

# The linear-time engine: a pattern that needs backtracking (look-around, back-references) is refused at publish.
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20)


def compile_schema(schema: dict[str, Any]) -> Any:
    """A validator of a schema that `problems` has accepted: offline, linear-time patterns."""
    return jsonschema_rs.Draft202012Validator(schema, offline=True, pattern_options=_PATTERNS)


def problems(schema: Any, at: str, *, reserved: tuple[str, ...] = RESERVED_KEYS) -> list[Problem]:
    """Every reason why `schema` (found at pointer `at`) cannot be published; empty when it can.

    The rules: root type object, JSON Schema 2020-12, local references only, a bounded number of subschemas for
    each value, bounded depth and size, linear-time patterns, `uniqueItems` only with a bound, no reserved property.
    """
    if not isinstance(schema, dict):
        return [Problem(at, "a JSON Schema must be an object")]
    found: list[Problem] = []
    if schema.get("type") != "object":
        found.append(Problem(f"{at}/type", 'the root of the schema must have "type": "object"'))
    properties = schema.get("properties")
    if isinstance(properties, dict):
        found += [
            Problem(f"{at}/properties/{key}", f"{key} is reserved for control arguments; rename the property")
            for key in reserved
            if key in properties
        ]
    required = schema.get("required")
    if isinstance(required, list):
        found += [
            Problem(f"{at}/required", f"{key} is reserved for control arguments; rename the property")
            for key in reserved
            if key in required
        ]
    nodes = 0
    local_refs = True
    for pointer, node, depth in _walk(schema, at, 0):
        nodes += 1
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            return [*found, Problem(pointer, f"the schema is too large or too deep. {MAX_BYTES_HINT}")]
        remote = [k for k in ("$ref", "$dynamicRef") if k in node and not _is_local(k, node[k])]
        found += [Problem(f"{pointer}/{k}", "only local references (#/$defs/...) are allowed") for k in remote]
        local_refs = local_refs and not remote
        if "$id" in node or ("$schema" in node and "2020-12" not in str(node["$schema"])):
            local_refs = False
            found.append(Problem(pointer, "$id and other dialects than 2020-12 are not allowed"))
        if node.get("uniqueItems") is True and not _bounded(node):
            found.append(Problem(f"{pointer}/uniqueItems", f"uniqueItems needs maxItems of at most {MAX_UNIQUE_ITEMS}"))
    if found and not local_refs:
        return found
    found += _header_problems(schema, at)
    found += _meta_problems(schema, at)
    if not found:
        found += schema_growth.problems(schema, at)
    if not found:
        try:
            compile_schema(schema)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            found.append(Problem(at, errors.shorten(f"the schema cannot be compiled: {error}".split("\n")[0], 300)))
    return found


def default_problems(schema: dict[str, Any], defaults: dict[str, Any], at: str) -> list[Problem]:
    """Defaults that no call could be valid with: unknown keys of a closed schema, values of the wrong type."""
    properties = schema.get("properties", {})
    found = []
    for key, value in defaults.items():
        sub = properties.get(key)
        if sub is None:
            if schema.get("additionalProperties") is False and "patternProperties" not in schema:
                found.append(Problem(f"{at}/{key}", "the parameter schema has no such property"))
            continue
        wrapped = {"$defs": schema.get("$defs", {}), "type": "object", "properties": {key: sub}}
        found += [
            Problem(at + problem.pointer, problem.message)
            for problem in schema_problems(compile_schema(wrapped), {key: value})
        ]
    return found


def moved(schema: dict[str, Any], to: str) -> dict[str, Any]:
    """A copy of an accepted schema with its references changed, so that it can stand at the pointer `to` of another."""
    copy: dict[str, Any] = deepcopy(schema)
    for _, node, _ in _walk(copy, "", 0):
        if isinstance(node.get("$ref"), str):
            node["$ref"] = to + node["$ref"].removeprefix("#")
        node.pop("$schema", None)
    return copy


def _walk(node: Any, pointer: str, depth: int) -> Iterator[tuple[str, dict[str, Any], int]]:
    stack = [(node, pointer, depth)]
    while stack:
        node, pointer, depth = stack.pop()
        if not isinstance(node, dict):
            continue
        yield pointer, node, depth
        if depth > MAX_DEPTH:
            continue
        stack += [(node[keyword], f"{pointer}/{keyword}", depth + 1) for keyword in _ONE if keyword in node]
        for keyword in _LIST:
            if isinstance(node.get(keyword), list):
                stack += [(sub, f"{pointer}/{keyword}/{i}", depth + 1) for i, sub in enumerate(node[keyword])]
        for keyword in _MAP:
            if isinstance(node.get(keyword), dict):
                stack += [(sub, f"{pointer}/{keyword}/{key}", depth + 1) for key, sub in node[keyword].items()]


def _is_local(keyword: str, reference: Any) -> bool:
    return keyword == "$ref" and isinstance(reference, str) and reference.startswith("#")


def _bounded(node: dict[str, Any]) -> bool:
    limit = node.get("maxItems")
    return isinstance(limit, int) and limit <= MAX_UNIQUE_ITEMS


def _header_problems(schema: dict[str, Any], at: str) -> list[Problem]:
    """What is wrong with `x-mcp-header` annotations: a token, on a string, integer or boolean, at most once, and
    reached by `properties` alone."""
    found: list[Problem] = []
    names: set[str] = set()
    for pointer, node, _ in _walk(schema, at, 0):
        if HEADER_KEY not in node:
            continue
        name, where = node[HEADER_KEY], f"{pointer}/{HEADER_KEY}"
        if not _HEADER_PLACE.fullmatch(pointer.removeprefix(at)):
            found.append(Problem(where, "only a property that is reached by properties alone can be a header"))
        elif not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            found.append(Problem(where, "must be the name of a header, at most 64 characters, e.g. Region"))
        elif node.get("type") not in _HEADER_TYPES:
            found.append(Problem(where, "only a property of type string, integer or boolean can be a header"))
        elif name.lower() in names:
            found.append(Problem(where, f"two properties are the header {name}"))
        else:
            names.add(name.lower())
    return found


def _meta_problems(schema: dict[str, Any], at: str) -> list[Problem]:
    if jsonschema_rs.meta.is_valid({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"}):
        return []
    try:
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})
    except jsonschema_rs.ValidationError as error:
        pointer = at + "".join(f"/{part}" for part in error.instance_path)
        return [Problem(pointer, errors.shorten(f"not a valid JSON Schema: {error.message}", 300))]
    return []
