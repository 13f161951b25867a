"""Schemas whose cost grows without bound are refused, quickly; recursive schemas that people write are not."""

from __future__ import annotations

import time
from typing import Any

from core.triggers import schemas
from tests import cases

ME = {"$ref": "#/$defs/me"}


def with_defs(**defs: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": ME}, "$defs": defs}


def doubling(levels: int) -> dict[str, Any]:
    defs: dict[str, Any] = {
        f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}, {"$ref": f"#/$defs/a{n + 1}"}]} for n in range(levels)
    }
    return with_defs(me={"$ref": "#/$defs/a0"}, **defs, **{f"a{levels}": {"type": "string"}})


def chain(length: int) -> dict[str, Any]:
    defs: dict[str, Any] = {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(length)}
    return with_defs(me={"$ref": "#/$defs/a0"}, **defs, **{f"a{length}": {}})


@cases.table(
    ("schema", "why"),
    [
        (doubling(20), "more than 1000"),
        (doubling(600), "more than 1000"),
        (chain(1900), "more than 1000"),
        (with_defs(me={"anyOf": [{"properties": {"x": ME}}, {"properties": {"x": ME}}]}), "more than one way"),
        (with_defs(me={"properties": {"x": ME}, "patternProperties": {"^x": ME}}), "more than one way"),
        (with_defs(me={"items": ME, "contains": ME}), "more than one way"),
        (with_defs(me={"allOf": [{"items": ME}, {"if": {"items": ME}}]}), "more than one way"),
        (
            with_defs(
                me={"oneOf": [{"properties": {"x": {"$ref": "#/$defs/you"}}}, {"additionalProperties": ME}]}, you=ME
            ),
            "more than one way",
        ),
        (with_defs(me={"not": {"not": ME}}), "back to itself"),
        (with_defs(me={"dependentSchemas": {"a": ME}}), "back to itself"),
    ],
)
def test_what_could_take_for_ever_is_refused_at_once(schema: dict[str, Any], why: str) -> None:
    before = time.process_time()
    found = schemas.problems(schema, "/s")
    assert found and why in found[0].message, found
    assert time.process_time() - before < 1.0


@cases.table(
    "me",
    [
        {"properties": {"left": ME, "right": ME}},
        {"type": "object", "properties": {"children": {"type": "array", "items": ME}}},
        {"properties": {"a": ME}, "additionalProperties": ME},
        {"anyOf": [{"properties": {"and": {"items": ME}}}, {"properties": {"not": ME}}, {"type": "string"}]},
        {"prefixItems": [ME, ME], "items": ME},
        {"type": ["object", "array", "string"], "items": ME, "additionalProperties": ME},
        {"allOf": [{"required": ["a"]}, {"properties": {"a": ME}}], "if": {"required": ["b"]}, "then": {}},
    ],
)  # fmt: skip
def test_recursion_that_goes_into_the_value_once_is_accepted(me: dict[str, Any]) -> None:
    schema = with_defs(me=me)
    assert schemas.problems(schema, "/s") == []
    value: Any = {}
    for _ in range(30):
        value = {"left": value, "a": value, "children": [value] if len(str(value)) < 2_000 else []}
        if len(str(value)) > 5_000:
            break
    before = time.process_time()
    schemas.compile_schema(schema).is_valid({"x": value})
    assert time.process_time() - before < 1.0


def test_a_chain_of_references_within_the_bound_is_followed_without_recursion() -> None:
    assert schemas.problems(chain(900), "/s") == []
