"""Guards for schemas from outside: what is refused at publish, and where."""

from __future__ import annotations

import timeit
from typing import Any

import pytest
from mcp.shared.inbound import find_invalid_x_mcp_header

from core.triggers import schemas
from tests import cases

GOOD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "env": {"type": "string", "pattern": "^[a-z]+$"},
        "depth": {"type": "integer", "minimum": 1},
        "node": {"$ref": "#/$defs/node"},
    },
    "required": ["env"],
    "if": {"properties": {"env": {"const": "prod"}}},
    "then": {"required": ["depth"]},
    "$defs": {"node": {"type": "object", "properties": {"child": {"$ref": "#/$defs/node"}}}},
}


def test_an_ordinary_schema_with_conditions_and_recursion_is_accepted() -> None:
    assert schemas.problems(GOOD, "/s") == []
    validator = schemas.compile_schema(GOOD)
    assert validator.is_valid({"env": "dev", "node": {"child": {"child": {}}}})
    assert not validator.is_valid({"env": "prod"})


def _deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", "allOf": [schema]}
    return schema


@cases.table(
    ("schema", "pointer", "why"),
    [
        ([], "/s", "object"),
        ({}, "/s/type", "root"),
        ({"type": "array"}, "/s/type", "root"),
        ({"type": "object", "properties": {"_idempotency_key": {}}}, "/s/properties/_idempotency_key", "reserved"),
        ({"type": "object", "required": ["_wait_timeout_seconds"]}, "/s/required", "reserved"),
        ({"type": "object", "$ref": "http://127.0.0.1:1/x"}, "/s/$ref", "local references"),
        ({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}, "/s/properties/a/$ref", "local"),
        ({"type": "object", "$dynamicRef": "#x"}, "/s/$dynamicRef", "local references"),
        ({"type": "object", "$id": "http://example.com/s"}, "/s", "$id"),
        ({"type": "object", "$schema": "http://json-schema.org/draft-04/schema#"}, "/s", "dialects"),
        ({"type": "object", "properties": {"a": {"type": "strin"}}}, "/s/properties/a/type", "not a valid JSON Schema"),
        ({"type": "object", "properties": {"a": {"pattern": "("}}}, "/s", ""),
        ({"type": "object", "properties": {"a": {"pattern": "(?<=a)b"}}}, "/s", "compiled"),
        ({"type": "object", "properties": {"a": {"pattern": "(a)\\1"}}}, "/s", "compiled"),
        ({"type": "object", "allOf": [{"$ref": "#"}]}, "/s/allOf/0/$ref", "leads back to itself"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/no"}}}, "/s/properties/a/$ref", "leads nowhere"),
        (
            {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/x"}},
                "$defs": {"x": {"$ref": "#/$defs/y"}, "y": {"anyOf": [{"$ref": "#/$defs/x"}]}},
            },
            "/s/",
            "leads back",
        ),
        ({"type": "object", "properties": {"a": {"uniqueItems": True}}}, "/s/properties/a/uniqueItems", "maxItems"),
        (_deep(40), "", "too large or too deep"),
        ({"type": "object", "properties": {f"p{n}": {} for n in range(2100)}}, "", "too large or too deep"),
    ],
)
def test_a_bad_schema_is_refused_with_its_place(schema: Any, pointer: str, why: str) -> None:
    found = schemas.problems(schema, "/s")
    assert found, "accepted"
    assert any(problem.pointer.startswith(pointer) and why in problem.message for problem in found), found


@pytest.mark.parametrize("pattern", ["^(a+)+$", "(a|aa)*$", "^(a|a)*$"])
def test_a_catastrophic_pattern_costs_nothing(pattern: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    assert schemas.problems(schema, "/s") == []
    validator = schemas.compile_schema(schema)
    assert timeit.timeit(lambda: validator.is_valid({"a": "a" * 5000 + "!"}), number=1) < 0.1


def test_defaults_that_fit_nothing_are_told() -> None:
    closed = {**GOOD, "additionalProperties": False}
    found = schemas.default_problems(closed, {"depth": 0, "other": 1}, "/d")
    assert {problem.pointer for problem in found} == {"/d/depth", "/d/other"}
    assert schemas.default_problems(GOOD, {"depth": 3}, "/d") == []


@cases.table(
    ("properties", "pointer"),
    [
        ({"a": {"type": "string", "x-mcp-header": "Two words"}}, "/s/properties/a/x-mcp-header"),
        ({"a": {"type": "string", "x-mcp-header": 1}}, "/s/properties/a/x-mcp-header"),
        ({"a": {"type": "number", "x-mcp-header": "A"}}, "/s/properties/a/x-mcp-header"),
        ({"a": {"type": ["string", "null"], "x-mcp-header": "A"}}, "/s/properties/a/x-mcp-header"),
        (
            {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}},
            "/s/properties/a/x-mcp-header",
        ),
        (
            {"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}},
            "/s/properties/a/items/x-mcp-header",
        ),
    ],
)
def test_a_header_annotation_that_clients_would_drop_the_tool_for_is_refused(properties: Any, pointer: str) -> None:
    schema = {"type": "object", "properties": properties}
    assert [problem.pointer for problem in schemas.problems(schema, "/s")] == [pointer]
    assert find_invalid_x_mcp_header(schema) is not None, "the same rule as in the SDK"


def test_a_sound_header_annotation_is_accepted() -> None:
    inner = {"type": "object", "properties": {"zone": {"type": "integer", "x-mcp-header": "Zone"}}}
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "in": inner}}
    assert schemas.problems(schema, "/s") == []
    assert find_invalid_x_mcp_header(schema) is None
