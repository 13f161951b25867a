"""Every operation says what it answers with, down to the last value; what is free JSON says so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import orjson

from core.model.results import schemas
from core.operations import REGISTRY
from mcp_server.http import openapi
from tests import cases

FREE = {schemas.JSON.name, schemas.JSON_OBJECT.name}
WITHOUT_KEYS = {"schema_get"}  # it answers with a JSON Schema


def vague(node: Any, where: str) -> Iterator[str]:
    """The places of a schema that say nothing of what is there."""
    if isinstance(node, list):
        for place, one in enumerate(node):
            yield from vague(one, f"{where}/{place}")
    if not isinstance(node, dict):
        return
    if not node.keys() & {"$ref", "type", "anyOf", "enum", "const"}:
        yield where
    if node.get("type") == "object" and not node.keys() & {"properties", "additionalProperties"}:
        yield where
    if node.get("additionalProperties") is True or (node.get("type") == "array" and "items" not in node):
        yield where
    for key in ("anyOf", "items", "additionalProperties"):
        if not isinstance(node.get(key, False), bool):
            inner = node[key]
            for one in inner if isinstance(inner, list) else [inner]:
                yield from vague(one, f"{where}/{key}")
    for name, one in node.get("properties", {}).items():
        yield from vague(one, f"{where}/{name}")


def test_an_operation_says_what_it_answers_with() -> None:
    with cases.every() as case:
        for operation in REGISTRY:
            with case(operation.name):
                schema = {**operation.result_schema}
                definitions = schema.pop("$defs")
                assert list(vague(schema, "")) == []
                named = {key: node for key, node in definitions.items() if key not in FREE}
                assert [place for key, node in named.items() for place in vague(node, key)] == []
                assert operation.name in WITHOUT_KEYS or not any(one in orjson.dumps(schema).decode() for one in FREE)
                jsonschema_rs.Draft202012Validator({**schema, "$defs": definitions}, offline=True)


def test_the_description_of_the_api_has_each_type_once_under_a_name_that_is_a_word() -> None:
    components = openapi.components(REGISTRY)
    assert [place for key, node in components["schemas"].items() if key not in FREE for place in vague(node, key)] == []
    referred = set(re.findall(rb'"#/components/schemas/(\w+)"', orjson.dumps(components)))
    assert {name.decode() for name in referred} <= components["schemas"].keys()
    assert [name for name in components["schemas"] if not re.fullmatch("([A-Z][a-z]*)+", name)] == []
    for one in REGISTRY:
        described = openapi.describe(one, *(one.http or "GET /").split())
        assert described["responses"]["default"] == {"$ref": "#/components/responses/Refused"}
        told = re.findall(rb'"#/components/schemas/(\w+)"', orjson.dumps(described["responses"]))
        assert told and {name.decode() for name in told} <= components["schemas"].keys()


def test_tools_tell_of_an_answer_what_is_at_its_top() -> None:
    for one in REGISTRY:
        if one.outline:
            outline = schemas.outline(one.result, one.outline)
            assert tuple(outline["properties"]) == one.outline
            assert len(orjson.dumps(outline)) < 1000, one.name
