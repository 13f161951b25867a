"""What an HTTP body says, before any operation sees it."""

from __future__ import annotations

import pytest

from core import errors
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
