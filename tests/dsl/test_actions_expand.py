"""expand and expand-events: one event to several that share nothing."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from core.dsl.actions import copies
from core.dsl.actions.expand import Expand
from core.dsl.component import Event, Run
from tests.dsl.stub import Stub, run

ORDER: Event = {"id": 7, "tags": ["x"], "items": [{"sku": "tea", "id": 1}, "milk", None]}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, [{"id": 7, "tags": ["x"], "items": item} for item in ({"sku": "tea", "id": 1}, "milk", None)]),
        (
            {"output-field": "line.item", "index-field": "line.no", "keep-fields": False},
            [
                {"line": {"item": {"sku": "tea", "id": 1}, "no": 0}},
                {"line": {"item": "milk", "no": 1}},
                {"line": {"item": None, "no": 2}},
            ],
        ),
        (
            {"merge": True, "output-field": "item"},
            [
                {"id": 1, "tags": ["x"], "sku": "tea"},
                {"id": 7, "tags": ["x"], "item": "milk"},
                {"id": 7, "tags": ["x"], "item": None},
            ],
        ),
        ({"merge": True, "keep-fields": False}, [{"sku": "tea", "id": 1}, {"items": "milk"}, {"items": None}]),
    ],
)
def test_each_element_of_an_array_becomes_an_event(keys: dict[str, Any], expected: list[Event]) -> None:
    event = {**ORDER, "tags": ["x"], "items": [{"sku": "tea", "id": 1}, "milk", None]}
    assert run([event], {"expand-events": {"input-field": "items", **keys}}) == expected


def test_an_empty_array_gives_no_event_and_what_is_no_array_stays() -> None:
    env = Stub()
    events: list[Event] = [{"a": {"b": []}}, {"a": {"b": "x"}}, {}, {"a": {"b": [1]}}]
    assert run(events, {"expand-events": {"input-field": "a.b"}}, env=env) == [{"a": {"b": "x"}}, {}, {"a": {"b": 1}}]
    assert [text.split("events: ")[1] for _, text in env.lines] == [
        "a.b is a text and not an array",
        "a.b is missing",
    ]


def test_new_events_share_nothing_that_can_be_changed() -> None:
    add = {"add": {"output-fields": {"tags.0": "mine", "deep.x": 1}, "overwrite": True, "condition": "items == 1"}}
    out = run([{"items": [1, 2], "tags": ["y"], "deep": {}}], {"expand-events": {"input-field": "items"}}, add)
    assert out == [{"items": 1, "tags": ["mine"], "deep": {"x": 1}}, {"items": 2, "tags": ["y"], "deep": {}}]


def test_copies_that_would_not_fit_in_memory_refuse_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MAX_BYTES", 1000)
    monkeypatch.setattr(copies, "MAX_EVENTS", 50)
    env, firing = Stub(), Run()
    events: list[Event] = [{"i": [0] * 40, "big": ["x" * 100]}, {"i": [0] * 51}, {"i": [1]}]
    assert run(events, {"expand-events": {"input-field": "i"}}, env=env, firing=firing) == [{"i": 1}]
    assert firing.errors == 2
    assert "40 copies of this event would take more than 1000 bytes" in env.lines[0][1]
    assert "this would become 51 events" in env.lines[1][1]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, [{"t": "a b"}, {"t": "c=1"}]),
        ({"delim": " "}, [{"t": "a"}, {"t": "b,,"}, {"t": "c=1"}]),
        (
            {"events": {"output-field": "part"}},
            [{"t": " a b,, c=1", "part": "a b"}, {"t": " a b,, c=1", "part": "c=1"}],
        ),
        (
            {"events": {"output-field": "part", "index-field": "n"}, "remove": True},
            [{"part": "a b", "n": 0}, {"part": "c=1", "n": 1}],
        ),
        ({"csv": {"fields": ["x", "y", "z"]}, "remove": True}, [{"x": " a b", "y": "", "z": " c=1"}]),
        ({"key-value": {"autoconvert": True}, "delim": ",", "remove": True}, [{"c": 1}]),
    ],
)
def test_a_separated_text_becomes_events_or_fields(keys: dict[str, Any], expected: list[Event]) -> None:
    assert run([{"t": " a b,, c=1"}], {"expand": {"input-field": "t", "suppress-warnings": True, **keys}}) == expected


def test_a_header_of_expand_lasts_like_that_of_csv() -> None:
    events: list[Event] = [{"_raw": "a;b"}, {"_raw": "1;2"}]
    assert run(events, {"expand": {"delim": ";", "csv": {"header": True}, "remove": True}}) == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"csv": {}, "events": {}}, "give one of"),
        ({"csv": {}, "delim": "ab"}, "one character"),
        ({"delim": ""}, "at least 1"),
    ],
)
def test_expand_refuses_what_does_not_go_together(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Expand.model_validate(keys)
