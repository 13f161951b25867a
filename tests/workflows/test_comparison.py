"""What differs between two versions, as values and as text."""

from __future__ import annotations

from typing import Any

from core import documents
from core.workflows import comparison

BEFORE = """
kind: workflow
slug: w
version: 1
title: One
wizard: [{field: path, type: path}]
channels: {a: {transport: file-store, with: {path: /x}}, gone: {}}
steps:
  - {id: one, use: "blueprint:echo-source@1.0.0", with: {event: "{}", interval: 5s}, out: channel:a}
  - {id: two, use: "blueprint:file-printer@1.0.0", in: channel:a}
  - {id: old, use: "blueprint:file-printer@1.0.0", in: channel:a}
messages: [{from: one, to: two, tag: t}]
"""
AFTER = """
kind: workflow
slug: w
version: 2
title: Two
wizard: [{field: path, type: path}, {field: word}]
channels: {a: {transport: file-store, with: {path: /y}}}
steps:
  - {id: one, use: "blueprint:echo-source@1.1.0", with: {event: "{}", interval: 9s}, out: channel:a}
  - {id: two, use: "blueprint:file-printer@1.0.0", in: channel:a, replicas: 3}
  - {id: new, use: "blueprint:file-printer@1.0.0", in: channel:a}
messages: []
"""


def data(text: str) -> dict[str, Any]:
    return documents.load(text)[0].data


def told(before: str, after: str) -> list[tuple[str, str, str, tuple[str, ...]]]:
    found = comparison.compare(data(before), data(after))
    return [(one.action, one.kind, one.id, tuple(value.path for value in one.changes)) for one in found]


def test_a_document_does_not_differ_from_itself() -> None:
    assert comparison.compare(data(BEFORE), data(BEFORE)) == []
    assert comparison.text([], "w@1", "w@1") == "w@1 -> w@1: no difference"


def test_every_part_that_differs_is_named_with_what_changed_in_it() -> None:
    assert told(BEFORE, AFTER) == [
        ("changed", "document", "", ("title",)),
        ("changed", "step", "one", ("use", "with.interval")),
        ("changed", "step", "two", ("replicas",)),
        ("removed", "step", "old", ("use", "in")),
        ("added", "step", "new", ("use", "in")),
        ("added", "wizard field", "word", ()),
        ("changed", "channel", "a", ("with.path",)),
        ("removed", "channel", "gone", ()),
        ("removed", "message", "one -> two (t)", ()),
    ]


def test_the_text_shows_before_and_after() -> None:
    text = comparison.text(comparison.compare(data(BEFORE), data(AFTER)), "w@1", "w@2")
    assert text.splitlines()[0] == "w@1 -> w@2: 2 added, 3 removed, 4 changed"
    assert "~ step two\n    replicas: nothing -> 3" in text
    assert '    use: "blueprint:echo-source@1.0.0" -> "blueprint:echo-source@1.1.0"' in text
    assert "- message one -> two (t)" in text


def test_the_version_alone_is_no_difference() -> None:
    assert comparison.compare(data(BEFORE), data(BEFORE.replace("version: 1", "version: 7"))) == []


def test_steps_in_another_order_are_told() -> None:
    lines = BEFORE.splitlines()
    lines[8], lines[9] = lines[9], lines[8]
    assert told(BEFORE, "\n".join(lines)) == [("changed", "order of steps", "", ("order",))]


def test_parameters_of_a_blueprint_are_told_one_by_one() -> None:
    text = "{kind: blueprint, slug: b, parameters: {required: [x], properties: %s}, jobs: [{name: j}]}"
    before = text % "{x: {type: string}, y: {type: string}}"
    after = (text % "{x: {type: integer}, z: {}}").replace("[x]", "[x, z]")
    assert told(before, after) == [
        ("changed", "parameter", "x", ("type",)),
        ("removed", "parameter", "y", ("type",)),
        ("added", "parameter", "z", ()),
        ("changed", "parameters", "", ("parameters.required[1]",)),
    ]


def test_documents_of_odd_shapes_can_be_compared() -> None:
    odd = {
        "kind": "workflow",
        "steps": 7,
        "channels": None,
        "messages": [3],
        "wizard": [{"field": "x"}, {"field": "x"}],
    }
    assert comparison.compare(odd, {"kind": "workflow", "steps": [7], "wizard": "text"})
    assert comparison.compare({}, odd)


def test_a_long_value_is_cut_in_the_text_and_whole_in_the_values() -> None:
    found = comparison.compare({"title": "a"}, {"title": "b" * 1000})
    assert len(str(found[0])) < 300
    assert found[0].to_dict()["changes"][0]["after"] == "b" * 1000


def test_a_credential_is_masked_on_both_sides() -> None:
    found = comparison.compare(
        {"steps": [{"id": "a", "with": {"password": "old"}}]}, {"steps": [{"id": "a", "with": {"password": "new"}}]}
    )
    assert found[0].to_dict()["changes"] == [{"key": "with.password", "before": "***", "after": "***"}]
    assert str(found[0]).endswith('with.password: "***" -> "***" (differs in what is masked)')
