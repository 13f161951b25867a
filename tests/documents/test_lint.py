"""Faults of documents in words, bounded in what they cost."""

from __future__ import annotations

import re

import pytest
from pydantic_core._pydantic_core import list_all_errors

from core.documents import lint, load
from core.dsl.language import compile as compiler
from core.errors import InvalidDocument
from core.model.catalog import Workflow


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
        ({"event": True}, "'event' must be a text; found true"),
    ],
)
def test_what_kind_of_value_is_wanted_is_said_in_words_of_documents(echo: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        compiler.check_job({"name": "j", "input": {"echo": echo}, "output": {"print": "STDOUT"}})
    assert said in [problem.message for problem in refused.value.errors]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: example", "'steps' must be a list; begin each item with `- `; found 'example'"),
        ("steps: {id: a}", "'steps' must be a list; begin each item with `- `; found a map"),
        ("tags: example", "'tags' must be a list; begin each item with `- `; found 'example'"),
        ("version: x", "'version' must be a whole number; found 'x'"),
    ],
)
def test_a_list_that_is_none_is_said_in_words_of_documents(text: str, said: str) -> None:
    (document,) = load(f"kind: workflow\nslug: x\n{text}\n")
    with pytest.raises(InvalidDocument) as refused:
        lint.check(document, Workflow)
    assert said in [problem.message for problem in refused.value.errors]


def test_no_fault_of_pydantic_names_a_type_of_python() -> None:
    python = re.compile(
        r"tuple|dict|instance|\bsets?\b|iterable|mapping|\bNone\b|\bstring to\b|unable to parse|boolean"
    )
    never = {
        # what no model of ours asks for
        *("frozen_instance", "set_item_not_hashable", "uuid_type", "is_instance_of"),
    }
    untold = {
        one["type"]
        for one in list_all_errors()
        if python.search(one["message_template_python"]) and one["type"] not in lint._KINDS
    }
    assert untold <= never
