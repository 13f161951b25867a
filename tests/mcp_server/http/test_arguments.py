"""What an HTTP body says, before any operation sees it."""

from __future__ import annotations

import pytest

from core import errors
from core.operations import REGISTRY
from mcp_server.http import arguments


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"null", "is null"),
        (b"[]", "is an array"),
        (b'"x"', "is a string"),
        (b"1.5", "is a number"),
        (b"true", "is a boolean"),
    ],
)
def test_a_body_that_is_no_object_is_named_in_the_words_of_json(body: bytes, told: str) -> None:
    with pytest.raises(errors.InvalidParams) as caught:
        arguments.from_body(body, "application/json")
    assert [problem.message for problem in caught.value.errors] == [told]


def test_an_empty_body_is_an_empty_object() -> None:
    assert arguments.from_body(b"", "application/json") == {}


@pytest.mark.parametrize("pairs", [[("compare", "2,3")], [("compare", "2"), ("compare", "3")], [("compare", "[2,3]")]])
def test_the_items_of_a_list_are_of_the_type_that_the_schema_names(pairs: list[tuple[str, str]]) -> None:
    schema = REGISTRY["deployment_history"].schema
    assert arguments.from_query(pairs, schema) == {"compare": [2, 3]}
