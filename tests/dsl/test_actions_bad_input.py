"""What each action does with fields that are missing, of another type, huge, deep or hostile; the others go on."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import orjson

from core.dsl.component import Event, Run
from tests import cases
from tests.dsl.stub import Stub, run

GOOD: Event = {"_raw": "good"}
MIB = 1024 * 1024


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"d": value}
    return value


def table(path: Path) -> str:
    path.write_text("name,owner\ngood,ada\n")
    return str(path)


# An action on the field `_raw`, and what is in `_raw` of an event that it takes well.
READERS: dict[str, tuple[dict[str, Any], Any]] = {
    "json": ({"json": {}}, '{"a":1}'),
    "csv": ({"csv": {"fields": {"a": "num"}}}, "1"),
    "xml": ({"xml": {}}, "<a/>"),
    "key-value": ({"key-value": {}}, "a=1"),
    "extract": ({"extract": {"pattern": "(?P<a>good)"}}, "good"),
    "expand": ({"expand": {}}, "good"),
    "expand-csv": ({"expand": {"csv": {"fields": ["a"]}}}, "good"),
    "expand-key-value": ({"expand": {"key-value": {}}}, "a=1"),
    "expand-events": ({"expand-events": {"input-field": "_raw"}}, ["good"]),
    "chunk": ({"chunk": {}}, "good"),
    "tokenize": ({"tokenize": {}}, "good"),
    "time": ({"time": {"input-field": "_raw"}}, "2026-05-25T10:00:00Z"),
    "flatten": ({"flatten": {"input-field": "_raw"}}, {"a": {"b": 1}}),
    "convert-num": ({"convert": {"conversions": [{"_raw": "num"}]}}, "1"),
    "convert-bool": ({"convert": {"conversions": [{"_raw": "bool"}]}}, "yes"),
    "convert-json": ({"convert": {"conversions": [{"_raw": "json"}]}}, "[1]"),
    "convert-units": ({"convert": {"units": [{"field": "_raw", "from": "ms", "to": "s"}]}}, "1000"),
}
TAKES_ANYTHING = {"json", "convert-json"}  # of what is not text
MISSING_IS_FINE = {"convert-num", "convert-bool", "convert-json", "convert-units"}
WRONG = {
    "missing": {},
    "null": {"_raw": None},
    "number": {"_raw": 7},
    "truth": {"_raw": True},
    "array": {"_raw": [1]},
    "object": {"_raw": {"a": 1}},
}


def takes(name: str, kind: str) -> bool:
    """Whether this is no fault for this action."""
    if kind == "missing":
        return name in MISSING_IS_FINE
    if name in TAKES_ANYTHING:
        return True
    return (name, kind) in {
        ("expand-events", "array"),
        ("flatten", "object"),
        ("convert-num", "number"),
        ("convert-num", "truth"),
        ("convert-bool", "truth"),
        ("convert-units", "number"),
        *((name, "null") for name in MISSING_IS_FINE),
    }


def test_a_field_of_another_type_leaves_the_event_alone_with_one_warning() -> None:
    with cases.every() as case:
        for name, kind in itertools.product(READERS, WRONG):
            with case(name, kind):
                _leaves_alone(name, kind)


def _leaves_alone(name: str, kind: str) -> None:
    action, good = READERS[name]
    env, firing = Stub(), Run()
    bad = WRONG[kind]
    out = run([dict(bad), {"_raw": good}], action, env=env, firing=firing)
    assert firing.errors == 0
    assert len(out) == 2  # the other one went on, whatever happened
    if takes(name, kind):
        # What is JSON already but no object cannot be promoted: that is a warning of its own.
        assert len(env.lines) == (name == "json" and kind != "object")
        return
    assert out[0] == bad
    ((level, text),) = env.lines
    assert level == "warning"
    assert text.startswith("actions/0 ")
    ((verb, keys),) = action.items()
    quiet = Stub()
    assert run([dict(bad)], {verb: {**keys, "suppress-warnings": True}}, env=quiet) == [bad]
    assert quiet.lines == []


@cases.table("name", ["json", "xml", "key-value", "extract"])
def test_drop_drops_what_cannot_be_read_without_a_word(name: str) -> None:
    ((verb, keys),) = READERS[name][0].items()
    env, firing = Stub(), Run()
    events: list[Event] = [{}, {"_raw": "?"}, {"_raw": READERS[name][1]}]
    assert len(run(events, {verb: {**keys, "drop": True}}, env=env, firing=firing)) == 1
    assert (firing.errors, env.lines) == (0, [])


HOSTILE = {
    "letters": "x" * MIB,
    "digits": "9" * MIB,
    "blanks": " " * MIB,
    "quotes": '"' * MIB,
    "open": '"' + "x" * MIB,
    "pairs": "a=" * (MIB // 2),
    "cells": "," * MIB,
    "arrays": "[" * MIB,
    "objects": '{"a":' * (MIB // 5),
    "elements": "<a>" * (MIB // 3),
    "escapes": "\\" * MIB,
    "mixed": "a=\"\\' " * (MIB // 7),
    "lines": "\n" * MIB,
    "decimal": "0." + "1" * MIB,
    "wide": "\u00e9\u4f60" * (MIB // 2),
    "nul": "\x00" * MIB,
    "surrogates": "\ud800" * 10,
}


def test_a_huge_or_hostile_text_costs_little_and_the_next_event_goes_on() -> None:
    with cases.every() as case:
        for (name, (action, good)), (kind, text) in itertools.product(READERS.items(), HOSTILE.items()):
            env, firing = Stub(), Run()
            with case(name, kind):
                started = time.thread_time()  # of this thread alone: a busy machine is no matter
                out = run([{"_raw": text}, {"_raw": good, "last": True}], action, env=env, firing=firing)
                assert time.thread_time() - started < 5
                assert out[-1]["last"] is True
                assert firing.errors <= 1
                assert all(len(line) < 600 for _, line in env.lines)  # what is told is bounded


def test_on_error_decides_for_every_conversion() -> None:
    kept = {"warn": 2, "default": 2, "drop": 1}
    with cases.every() as case:
        for conversion, policy in itertools.product(("num", "str", "bool", "json", "split"), kept):
            with case(conversion, policy):
                _decides(conversion, policy, kept[policy])


def _decides(conversion: str, policy: str, kept: int) -> None:
    bad: Any = {"a": 1} if conversion != "json" else "{"
    fails = conversion != "str"
    env, firing = Stub(), Run()
    convert = {"convert": {"conversions": [{"field": "v", "conversion": conversion}], "on-error": policy}}
    out = run([{"v": bad}, {"v": "1"}], convert, env=env, firing=firing)
    assert len(out) == (kept if fails else 2)
    assert firing.errors == (1 if fails and policy == "drop" else 0)
    if fails:
        default = {"num": 0, "bool": False, "json": None, "split": []}[conversion]
        assert policy == "drop" or out[0]["v"] == (default if policy == "default" else bad)
        assert bool(env.lines) is (policy != "default")


@cases.table(
    ("action", "left", "told"),
    [
        ({"flatten": {}}, 2, ""),
        ({"assert": {"schema": {"schema-string": '{"required": ["_raw"]}'}}}, 2, ""),
        (
            {"convert": {"conversions": [{"_raw": "str"}]}},
            2,
            "_raw cannot be converted to str: cannot be written as JSON",
        ),
        ({"copy": {"fields": {"_raw": "b"}}}, 1, "cannot be written as JSON: it is nested too deep"),
        ({"add": {"output-fields": {"t": "${_raw}"}}}, 1, "cannot be written as JSON: it is nested too deep"),
        ({"expand-events": {"input-field": "list"}}, 1, "cannot be written as JSON: it is nested too deep"),
        ({"script": "event.n = 1"}, 1, "the event is nested more than 64 deep"),
        ({"filter": {"condition": "type(_raw) == 'table'"}}, 1, "the event is nested more than 64 deep"),
    ],
    ids=["flatten", "assert", "convert", "copy", "add", "expand-events", "script", "filter"],
)
def test_an_event_that_is_nested_1000_deep_is_taken_or_told_of_and_the_next_goes_on(
    action: dict[str, Any], left: int, told: str
) -> None:
    env, firing = Stub(), Run()
    deep = orjson.loads('{"d":' * 1000 + "1" + "}" * 1000)
    events: list[Event] = [{"_raw": deep, "list": [1]}, {"_raw": {"a": 1}, "list": [2]}]
    out = run(events, action, env=env, firing=firing)
    assert len(out) == left
    assert out[-1]["list"] in ([2], 2)
    assert firing.errors == (0 if left == 2 or "filter" in action else 1)
    assert told in (env.lines[0][1] if env.lines else "")


def test_a_long_name_above_many_fields_is_not_written_again_and_again() -> None:
    firing = Run()
    wide = {"k" * MIB: {str(n): n for n in range(1000)}}
    assert run([wide, dict(GOOD)], {"flatten": {}}, firing=firing) == [GOOD]
    assert firing.errors == 1


@cases.table(
    "action",
    [
        {"add": {"output-fields": {"a.b": 1}}},
        {"rename": {"fields": {"_raw": "a.b"}}},
        {"copy": {"fields": {"_raw": "a.b"}}},
        {"json": {"input-field": "text", "output-field": "a.b"}},
        {"csv": {"output-field": "a.b"}},
        {"chunk": {"output-field": "a.b"}},
        {"tokenize": {"output-field": "a.b"}},
        {"time": {"output-field": "a.b"}},
        {"extract": {"pattern": "(good)", "output-fields": ["a.b"]}},
        {"expand-events": {"input-field": "list", "output-field": "a.b"}},
    ],
    ids=lambda action: next(iter(action)),
)
def test_a_place_below_what_is_no_object_refuses_the_event(action: dict[str, Any]) -> None:
    env, firing = Stub(), Run()
    event = {"_raw": "good", "text": "1", "list": [1], "a": "text"}
    fine = {**event, "list": [1], "a": {}}
    (out,) = run([event, fine], action, env=env, firing=firing)
    assert "b" in out["a"]
    assert firing.errors == 1
    assert "cannot set /a/b" in env.lines[0][1]


def test_rename_copy_and_enrich_warn_of_what_is_missing_and_remove_may_refuse_it(tmp_path: Path) -> None:
    env, firing = Stub(), Run()
    enrich = {"lookup-file": table(tmp_path / "t.csv"), "match": {"_raw": "name"}}
    actions = ({"rename": {"fields": {"x": "y"}}}, {"copy": {"fields": {"x": "y"}}}, {"enrich": enrich})
    assert run([{"_raw": "bad"}, {"_raw": "good"}], *actions, env=env) == [
        {"_raw": "bad"},
        {"_raw": "good", "owner": "ada"},
    ]
    assert [text.split(":")[0] for _, text in env.lines] == [
        "actions/0 rename", "actions/1 copy", "actions/2 enrich", "actions/0 rename", "actions/1 copy",
    ]  # fmt: skip
    remove = {"remove": {"fields": ["_raw"], "error-on-missing": True}}
    assert run([{"x": 1}, {"_raw": 1, "y": 1}], remove, firing=firing, env=env) == [{"y": 1}]
    assert firing.last_error == "actions/0 remove: the event has no field _raw; the event is refused"


def test_only_the_first_warnings_are_written_out() -> None:
    env = Stub()
    assert len(run([{} for _ in range(1000)], {"json": {}}, env=env)) == 1000
    assert 5 < len(env.lines) < 20
