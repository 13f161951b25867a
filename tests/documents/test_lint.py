"""Faults of documents in words, bounded in what they cost."""

from __future__ import annotations

import pytest

from core.documents import lint
from core.dsl.language import compile as compiler
from core.errors import InvalidDocument


def test_what_was_meant_is_said_of_the_first_unknown_keys_alone() -> None:
    with pytest.raises(InvalidDocument) as refused:
        compiler.check_job({"name": "j", "input": "x", "output": "x", **{f"k{n}": 1 for n in range(300)}})
    said = [problem.message for problem in refused.value.errors if problem.message.startswith("unknown key 'k")]
    assert len(said) == 300 and sum("; allowed: " in message for message in said) == lint.SUGGESTED


@pytest.mark.parametrize(
    ("echo", "said"),
    [
        ({"event": {"a": 1}}, "'event' must be a text; found a map"),
        ({"event": []}, "'event' must be a text; found an empty list"),
        ({"event": 5}, "'event' must be a text; found 5"),
        ({"event": "x", "json": {}}, "'json' must be true or false; found an empty map"),
    ],
)
def test_what_kind_of_value_is_wanted_is_said_in_words_of_documents(echo: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        compiler.check_job({"name": "j", "input": {"echo": echo}, "output": {"print": "STDOUT"}})
    assert said in [problem.message for problem in refused.value.errors]
