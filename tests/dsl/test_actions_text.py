"""chunk and tokenize: long texts to pieces and to words."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.dsl.actions import chunk
from core.dsl.actions.chunk import Chunk
from core.dsl.component import Event, Run
from core.dsl.events import patterns
from tests import cases
from tests.dsl.stub import Stub, run

TEXT = 'First one. "Second!" Third?\n\nNew e.g. this\none.\n \nLast 3.5'


def pieces(text: str, **keys: Any) -> list[str]:
    (out,) = run([{"_raw": text}], {"chunk": keys})
    found: list[str] = out["chunks"]
    return found


@cases.table(
    ("keys", "text", "expected"),
    [
        ({"size": 4}, "abcdefghij", ["abcd", "efgh", "ij"]),
        ({"size": 4, "overlap": 2}, "abcdefgh", ["abcd", "cdef", "efgh"]),
        ({"size": 4, "overlap": 1}, "abcdefg", ["abcd", "defg"]),
        ({"size": 3}, "a      b", ["a", "b"]),
        ({}, "", []),
        ({}, "x" * 1500, ["x" * 1000, "x" * 500]),
        ({"by": "tokens", "size": 3}, "one, two (three)", ["one, two", "(three)"]),
        ({"by": "tokens", "size": 2, "overlap": 1}, "a b c", ["a b", "b c"]),
        (
            {"by": "sentences", "size": 1},
            TEXT,
            ["First one.", '"Second!"', "Third?", "New e.g.", "this\none.", "Last 3.5"],
        ),
        ({"by": "sentences", "size": 2, "overlap": 1}, "A. B. C.", ["A. B.", "B. C."]),
        (
            {"by": "sentences", "size": 1},
            "\u4f60\u597d\u3002\u518d\u89c1\u3002",
            ["\u4f60\u597d\u3002", "\u518d\u89c1\u3002"],
        ),
        ({"by": "paragraphs"}, TEXT, ['First one. "Second!" Third?', "New e.g. this\none.", "Last 3.5"]),
        ({"by": "paragraphs", "size": 2}, TEXT, ['First one. "Second!" Third?\n\nNew e.g. this\none.', "Last 3.5"]),
        ({"by": "paragraphs"}, "\n\n \n", []),
    ],
)
def test_a_text_is_cut(keys: dict[str, Any], text: str, expected: list[str]) -> None:
    assert pieces(text, **keys) == expected


def test_pieces_may_become_events() -> None:
    keys = {"input-field": "body", "output-field": "piece", "size": 2, "output": "events", "index-field": "n"}
    assert run([{"body": "abc", "k": [1]}], {"chunk": {**keys, "remove": True}}) == [
        {"k": [1], "piece": "ab", "n": 0},
        {"k": [1], "piece": "c", "n": 1},
    ]
    assert run([{"body": "", "k": [1]}], {"chunk": keys}) == []


@settings(deadline=None)
@given(st.text(st.sampled_from("ab. \n"), max_size=40), st.integers(1, 6), st.data())
def test_pieces_without_overlap_hold_every_character_once(text: str, size: int, data: st.DataObject) -> None:
    by = data.draw(st.sampled_from(["characters", "tokens", "sentences", "paragraphs"]))
    assert "".join("".join(pieces(text, by=by, size=size)).split()) == "".join(text.split())


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Z", "C"]), max_size=30), st.integers(2, 6), st.data())
def test_every_piece_shares_its_beginning_with_the_one_before_it(text: str, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    found = pieces(text, size=size, overlap=overlap)
    assert all(before[-overlap:] == after[:overlap] for before, after in itertools.pairwise(found) if overlap)
    assert all(len(piece) == size for piece in found[:-1])


def test_too_many_pieces_refuse_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk, "MAX_EVENTS", 10)
    monkeypatch.setattr(chunk, "MAX_CHARACTERS", 30)
    env, firing = Stub(), Run()
    action = {"chunk": {"input-field": "t", "size": 5, "overlap": 4}}
    assert len(run([{"t": "x" * 30}, {"t": "x" * 12}, {"t": "xx"}], action, env=env, firing=firing)) == 1
    assert firing.errors == 2
    with pytest.raises(ValidationError, match="overlap must be smaller than size"):
        Chunk.model_validate({"by": "sentences", "overlap": 5})


@cases.table(
    ("keys", "text", "expected"),
    [
        ({}, "The cat, the d\u00f6g_1!", ["The", "cat", "the", "d\u00f6g_1"]),
        ({"lower": True}, "The CAT", ["the", "cat"]),
        ({"stop-words": ["The", "and"]}, "the Cat AND dog", ["Cat", "dog"]),
        ({"count": True, "lower": True}, "a b B", {"b": 2, "a": 1}),
        ({"pattern": r"#(\w+)"}, "no #yes and #this", ["yes", "this"]),
        ({"pattern": r"[a-z]*"}, "ab 1 c", ["ab", "c"]),
        ({"pattern": r"\p{Lu}+"}, "\u00c4B c", ["\u00c4B"]),
        ({}, "", []),
    ],
)
def test_a_text_becomes_words(keys: dict[str, Any], text: str, expected: Any) -> None:
    assert run([{"_raw": text}], {"tokenize": {**keys, "remove": True}}) == [{"tokens": expected}]


def test_a_pattern_that_looks_far_ahead_for_every_token_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "MAX_SEARCH_SECONDS", 0.05)
    env, firing = Stub(), Run()
    started = time.thread_time()
    events: list[Event] = [{"_raw": "a" * 1_000_000}, {"_raw": "aab"}]
    assert run(events, {"tokenize": {"pattern": "a[^b]*b|a"}}, env=env, firing=firing)[0]["tokens"] == ["aab"]
    assert (firing.errors, "takes too long" in env.lines[0][1]) == (1, True)
    assert time.thread_time() - started < 5


@cases.table("by", ["characters", "tokens", "sentences", "paragraphs"])
@cases.table("text", ["." * 2**20, "\n" * 2**20, " " * 2**20, ".\n" * 2**19, "a." * 2**19, '."' * 2**19])
def test_hostile_texts_are_cut_in_time_in_proportion(by: str, text: str) -> None:
    started = time.thread_time()
    run([{"_raw": text}], {"chunk": {"by": by, "size": 1000}})
    assert time.thread_time() - started < 5
