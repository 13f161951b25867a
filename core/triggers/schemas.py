"""Guards for JSON Schemas that come from outside: bounded, local, linear-time, and the right shape for a tool."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import jsonschema_rs

from core import errors
from core.errors import Problem
from core.model.operation import schema_problems
from core.model.trigger import RESERVED_KEYS

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

# The linear-time engine: a pattern that needs backtracking (look-around, back-references) is refused at publish.
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20)


def compile_schema(schema: dict[str, Any]) -> Any:
    """A validator of a schema that `problems` has accepted: offline, linear-time patterns."""
    return jsonschema_rs.Draft202012Validator(schema, offline=True, pattern_options=_PATTERNS)


def problems(schema: Any, at: str, *, reserved: tuple[str, ...] = RESERVED_KEYS) -> list[Problem]:
    """Every reason why `schema` (found at pointer `at`) cannot be published; empty when it can.

    The rules: root type object, JSON Schema 2020-12, local references only, no reference cycle that consumes
    nothing, bounded depth and size, linear-time patterns, `uniqueItems` only with a bound, no reserved property.
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
    found += _meta_problems(schema, at)
    if not found:
        found += _reference_cycles(schema, at)
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


def _meta_problems(schema: dict[str, Any], at: str) -> list[Problem]:
    if jsonschema_rs.meta.is_valid({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"}):
        return []
    try:
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})
    except jsonschema_rs.ValidationError as error:
        pointer = at + "".join(f"/{part}" for part in error.instance_path)
        return [Problem(pointer, errors.shorten(f"not a valid JSON Schema: {error.message}", 300))]
    return []


def _reference_cycles(schema: dict[str, Any], at: str) -> list[Problem]:
    """References that lead back to themselves without going into the instance, which no validation could end."""
    step = ("allOf", "anyOf", "oneOf")

    def same_instance(node: Any) -> Iterator[tuple[str, Any]]:
        if not isinstance(node, dict):
            return
        if isinstance(node.get("$ref"), str):
            yield node["$ref"], _resolve(schema, node["$ref"])
        for keyword in step:
            for sub in node.get(keyword, ()) if isinstance(node.get(keyword), list) else ():
                yield from same_instance(sub)
        for keyword in ("not", "if", "then", "else"):
            yield from same_instance(node.get(keyword))

    def loops(ref: str, target: Any, seen: frozenset[str]) -> bool:
        if ref in seen:
            return True
        return any(loops(r, t, seen | {ref}) for r, t in same_instance(target))

    for pointer, node, _ in _walk(schema, at, 0):
        for ref, target in same_instance(node):
            if target is None:
                return [Problem(f"{pointer}/$ref", f"the reference {errors.shorten(ref, 80)} leads nowhere")]
            if loops(ref, target, frozenset()):
                return [Problem(f"{pointer}/$ref", f"the reference {errors.shorten(ref, 80)} leads back to itself")]
    return []


def _resolve(schema: Any, ref: str) -> Any:
    node = schema
    for part in ref.removeprefix("#").split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            return None
    return node
