"""A value that does not fit a pattern is told in words; the pattern itself is for programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pydantic
import pytest

from core import errors
from core.documents import lint
from core.model import catalog, gitops, spellings, trigger
from core.model.operation import schema_problems
from core.operations import REGISTRY


def patterns(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("pattern"), str):
            yield node["pattern"]
        for inner in node.values():
            yield from patterns(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from patterns(inner)


def test_every_pattern_of_an_operation_has_words() -> None:
    used = {pattern: operation.name for operation in REGISTRY for pattern in patterns(operation.schema)}
    used |= {pattern: kind for kind, model in catalog.MODELS.items() for pattern in patterns(model.model_json_schema())}
    assert {pattern: name for pattern, name in used.items() if pattern not in spellings.WORDS} == {}
    for words in spellings.WORDS.values():
        assert words.startswith("must ") and not re.search(r"[\\^$?{}]", words)


def test_the_arguments_of_an_operation_are_told_in_words() -> None:
    with pytest.raises(errors.InvalidParams) as fault:
        REGISTRY["trigger_publish"].validate({"slug": "No Slug", "target_job_name": "j"})
    (problem,) = fault.value.errors
    assert problem.pointer == "/slug"
    assert problem.message.startswith("must be a slug: lower-case letters") and '"No Slug"' in problem.message
    assert problem.to_dict()["pattern"] == trigger.SLUG
    assert errors.from_dict(fault.value.to_dict()).errors == fault.value.errors, "it crosses processes"


def test_a_secret_is_told_without_what_was_sent() -> None:
    validator = jsonschema_rs.Draft202012Validator({"properties": {"a": {"pattern": "^[a-z_]+$"}}}, mask="the value")
    (problem,) = schema_problems(validator, {"a": "S3CRET"})
    assert problem.message == "must be lower-case letters and _; found the value"


def test_a_pattern_of_a_trigger_is_quoted_as_its_author_wrote_it() -> None:
    validator = jsonschema_rs.Draft202012Validator({"properties": {"a": {"pattern": "^x"}}})
    (problem,) = schema_problems(validator, {"a": "y"})
    assert problem.message == 'must match the pattern ^x; found "y"'


def test_a_document_is_told_in_words() -> None:
    (one,) = lint.problems_of(_fault(), gitops.Approval)
    assert one.message == "must not be blank; found ' '" and one.pattern == r"\S"


def _fault() -> Any:
    with pytest.raises(pydantic.ValidationError) as caught:
        gitops.Approval(approved_by=" ", change="c", commit="a" * 40)
    return caught.value
