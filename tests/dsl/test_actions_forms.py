"""The forms that documents of several generations use for one and the same action."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from core.dsl.actions.extract import Extract
from core.dsl.actions.filter import Filter
from core.dsl.actions.time import Time
from core.dsl.component import REGISTRY, Event, Run
from tests import cases
from tests.dsl.stub import Stub, run

ACTIONS = [component for component in REGISTRY if component.kind == "action"]


@cases.table("component", ACTIONS, ids=[component.name for component in ACTIONS])
def test_every_action_has_the_keys_that_all_actions_share(component: Any) -> None:
    assert {"description", "condition", "suppress_warnings"} <= component.model_fields.keys()


@cases.table(
    "convert",
    [
        {"conversions": [{"field": "a", "conversion": "num"}, {"field": "b", "conversion": "json"}]},
        {"conversions": [{"a": "num"}, {"b": "json"}]},
        {"conversions": [{"a": "num", "b": "json"}]},
        {"conversions": {"a": "num", "b": "json"}},
        {"fields": [{"a": "num"}, {"b": "json"}]},
        [{"a": "num"}, {"field": "b", "conversion": "json"}],
    ],
    ids=["explicit", "pairs", "one-map", "map", "older-key", "bare-list"],
)
def test_convert_takes_every_form_of_its_list(convert: Any) -> None:
    assert run([{"a": "1", "b": "1739370000000000001"}], {"convert": convert}) == [{"a": 1, "b": 1739370000000000001}]


@cases.table(
    ("keys", "value", "expected"),
    [
        ({}, "", ""),
        ({}, None, None),
        ({"null-behaviour": "default"}, "", 0),
        ({"null-behavior": "default"}, "  ", 0),
        ({"null-behaviour": "default", "preprocess": ["remove-percent-literal"]}, "%", 0),
        ({"null-behaviour": "default"}, None, 0),
    ],
)
def test_what_is_empty_is_kept_or_becomes_the_default(keys: dict[str, Any], value: Any, expected: Any) -> None:
    action = {"convert": {"conversions": {"v": "num"}, "suppress-warnings": True, **keys}}
    assert run([{"v": value}], action) == [{"v": expected}]


@cases.table(
    ("source", "target", "value", "expected"),
    [
        ("K", "B", "512K", 524288), ("K", "M", "512", 0.5), ("KiB", "K", 3, 3), ("K", "KiB", "2 M", 2048),
        ("KB", "MB", "1500", 1.5), ("s", "ms", "250ms", 250), ("s", "ms", "0.25", 250.0), ("ms", "s", "2 h", 7200),
        ("M", "GB", "1 TB", 1000), ("us", "ms", "1500us", 1.5), ("ms", "s", "10 MB", "10 MB"), ("ms", "s", "x", "x"),
        ("ms", "s", "9" * 100, "9" * 100), ("ms", "s", [], []),
    ],
)  # fmt: skip
def test_a_unit_may_stand_behind_the_number(source: str, target: str, value: Any, expected: Any) -> None:
    unit = {"convert": {"units": [{"field": "v", "from": source, "to": target}], "suppress-warnings": True}}
    (out,) = run([{"v": value}], unit)
    assert (out["v"], type(out["v"])) == (expected, type(expected))


@cases.table(
    ("keys", "expected"),
    [
        ({"pattern": r"(\w+)@(\w+)", "output-pattern": "$2/$1", "output-fields": ["who"]}, {"_raw": "ada@home", "who": "home/ada"}),  # noqa: E501
        ({"pattern": r"(?P<u>\w+)@(?P<h>\w+)", "output-pattern": "${h}: $u $$1 $"}, {"_raw": "home: ada $1 $"}),
        ({"pattern": r"(\w+)@(x)?", "output-pattern": "[$2]$1", "remove": True}, {"_raw": "[]ada"}),
        ({"pattern": r"\w+@", "output-pattern": "<$1>"}, {"_raw": "<ada@>"}),
        ({"pattern": r"(?P<u>\w+)@(\w+)", "output-fields": ["host"]}, {"_raw": "ada@home", "u": "ada", "host": "home"}),
        ({"pattern": r"(?P<u>\w+)@(?P<h>\w+)", "output-fields": ["x", "y"]}, {"_raw": "ada@home", "x": "ada", "y": "home"}),  # noqa: E501
        ({"pattern": r"@", "output-fields": ["at"]}, {"_raw": "ada@home", "at": "@"}),
    ],
)  # fmt: skip
def test_extract_writes_named_groups_listed_ones_or_one_text(keys: dict[str, Any], expected: Event) -> None:
    assert run([{"_raw": "ada@home"}], {"extract": keys}) == [expected]


@cases.table(
    ("keys", "told"),
    [
        ({"pattern": "(a)", "output-pattern": "$2"}, "no group 2"),
        ({"pattern": "(a)", "output-pattern": "${x}"}, "no group x"),
        ({"pattern": "(a)", "output-pattern": "$1", "output-fields": ["x", "y"]}, "at most one field"),
        ({"pattern": "a"}, "give output-fields"),
        ({"pattern": r"(?P<a>a)(b)(c)", "output-fields": ["x"]}, "has 3 groups and output-fields has 1"),
        ({"pattern": "(?=a)", "output-fields": ["x"]}, "look-ahead"),
        ({"pattern": r"(a)\1", "output-fields": ["x"]}, "back-references"),
    ],
)
def test_extract_refuses_what_does_not_fit(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Extract.model_validate(keys)


def test_the_older_key_for_warnings_is_understood() -> None:
    env = Stub()
    assert run([{"_raw": "b"}], {"extract": {"pattern": "(?P<a>a)", "warnings": False}}, env=env) == [{"_raw": "b"}]
    assert env.lines == []


@pytest.mark.parametrize(
    "patterns", [{"a": "^x", "b.c": "1"}, [{"a": "^x"}, {"b.c": "1"}], [{"field": "a", "pattern": "^x"}, {"b.c": "1"}]]
)
def test_filter_takes_patterns_for_several_fields(patterns: Any) -> None:
    events: list[Event] = [{"a": "xy", "b": {"c": 12}}, {"a": "xy"}, {"a": "y", "b": {"c": 1}}, {}]
    assert run([dict(event) for event in events], {"filter": {"patterns": patterns}}) == events[:1]
    assert run([dict(event) for event in events], {"filter": {"patterns": patterns, "exclude": True}}) == events[1:]
    with pytest.raises(ValidationError, match="regular expression"):
        Filter.model_validate({"patterns": {"a": "("}})


def test_add_takes_a_list_of_fields_too() -> None:
    fields = [{"a": 1}, {"b.c": "${a}"}, {"d": None, "e": [True]}]
    assert run([{}], {"add": {"output-fields": fields}}) == [{"a": 1, "b": {"c": "1"}, "d": None, "e": [True]}]


@cases.table(
    ("keys", "value", "expected"),
    [
        # Clocks go back: 02:30 comes twice and means the first. Clocks go forward: 02:30 is skipped.
        ({"input-timezone": "Europe/Berlin"}, "2026-10-25T02:30:00", "2026-10-25T00:30:00.000Z"),
        ({"input-timezone": "Europe/Berlin"}, "2026-10-25T03:30:00", "2026-10-25T02:30:00.000Z"),
        ({"input-timezone": "Europe/Berlin"}, "2026-03-29T02:30:00", "2026-03-29T01:30:00.000Z"),
        ({"output-timezone": "Europe/Berlin"}, "2026-10-25T00:30:00Z", "2026-10-25T02:30:00.000+02:00"),
        ({"output-timezone": "Europe/Berlin"}, "2026-10-25T01:30:00Z", "2026-10-25T02:30:00.000+01:00"),
        ({"output-timezone": "Asia/Kathmandu", "output-format": "%d.%m. %H:%M %z"}, "2026-01-01", "01.01. 05:45 +0545"),
        ({"output-format": "default-iso"}, "20260525T101500Z", "2026-05-25T10:15:00.000Z"),
        ({"output-format": "epoch-msecs"}, "1969-12-31T23:59:59.999Z", -1),
        ({"output-format": "epoch_frac_secs"}, "1970-01-01T00:00:01.5Z", 1.5),
        ({"output-format": "epoch_usecs"}, "1970-01-01T00:00:01.000002Z", 1000002),
        ({"input-formats": "epoch_secs", "output-format": "epoch_nsecs"}, "1700000000.123456789", 1700000000123456789),
        ({"input-format": "epoch_msecs", "output-format": "epoch_secs"}, 1700000000999.0, 1700000000),
        ({"input-formats": ["%d/%m/%Y", "epoch_secs"]}, "31/12/2026", "2026-12-31T00:00:00.000Z"),
        ({"input-formats": ["%d/%m/%Y", "epoch_secs"]}, 0, "1970-01-01T00:00:00.000Z"),
        ({"input-formats": "%Y-%m-%dT%H:%M:%S.%f%z"}, "2026-05-25T10:00:00.25+0200", "2026-05-25T08:00:00.250Z"),
    ],
)  # fmt: skip
def test_time_reads_and_writes_zones_and_formats(keys: dict[str, Any], value: Any, expected: Any) -> None:
    (out,) = run([{"t": value}], {"time": {"input-field": "t", **keys}})
    assert (out["t"], type(out["t"])) == (expected, type(expected))


@cases.table("value", ["2026-13-01", "1e400", float("1e300"), 10**30, True, "9" * 2000, "2026-05-25 " * 50])
def test_what_is_no_time_stays(value: Any) -> None:
    env = Stub()
    action = {"time": {"input-field": "t", "input-formats": ["default_iso", "epoch_secs", "%Y-%m-%d"]}}
    assert run([{"t": value}], action, env=env) == [{"t": value}]
    assert len(env.lines) == 1


@cases.table("name", ["%Q", "%", "%Y %Y", "iso", "unix"])
def test_an_input_format_that_cannot_be_read_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Time.model_validate({"input-field": "t", "input-formats": [name]})


def test_the_present_time_is_written_in_the_older_form_of_the_action() -> None:
    action = {"time": {"output-field": "at", "output-timezone": "UTC", "output-format": "default_iso"}}
    (out,) = run([{}], action)
    assert out["at"].endswith("Z")
    assert run([{"at": out["at"]}], {"time": {"input-field": "at"}}) == [{"at": out["at"]}]


def test_assert_is_understood_in_both_spellings_of_behaviour() -> None:
    schema = {"schema-string": '{"required": ["a"]}'}
    for key in ("behaviour", "behavior"):
        assert run([{}, {"a": 1}], {"assert": {"schema": schema, key: "drop-onfailure"}}) == [{"a": 1}]


@cases.table(
    ("code", "expected"),
    [
        ("event.n = event.n + 1", [{"n": 2, "l": [], "o": {}}]),
        ("event.l[1] = 'x' event.o.k = null", [{"n": 1, "l": ["x"], "o": {"k": None}}]),
        ("return {a = array{}, b = {}}", [{"a": [], "b": {}}]),
        ("if matches(event.s or '', '^x') then return false end", [{"n": 1, "l": [], "o": {}}]),
        ("return false", []),
        ("return {{a = 1}, {b = 2}}", [{"a": 1}, {"b": 2}]),
        ("event.big = 1739370000000000001", [{"n": 1, "l": [], "o": {}, "big": 1739370000000000001}]),
        ("os.exit()", None),
        ("io.open('/etc/passwd')", None),
        ("require('x')", None),
        ("while true do end", None),
        ("local s = 'x' while true do s = s .. s end", None),
        ("event.f = pairs", None),
        ("event.f = 0/0", None),
        ("event = event.l", []),
        ("event = 5", None),
    ],
)
def test_a_script_may_change_the_event_and_nothing_else(code: str, expected: list[Event] | None) -> None:
    firing = Run()
    out = run(
        [{"n": 1, "l": [], "o": {}}, {"n": 5, "s": "x"}],
        {"script": {"code": code, "condition": "s == nil"}},
        firing=firing,
    )
    if expected is None:
        assert (out, firing.errors) == ([{"n": 5, "s": "x"}], 1)
    else:
        assert (out, firing.errors) == ([*expected, {"n": 5, "s": "x"}], 0)


@pytest.mark.parametrize(("kind", "level"), [("alert", "warning"), ("info", "info")])
def test_message_expands_its_text_and_its_tag(kind: str, level: str) -> None:
    env = Stub()
    action = {
        "notification-type": kind,
        "message-content": "${n} of @{job}",
        "tag": "t-${n}",
        "log-event": True,
        "condition": "n > 1",
    }
    assert run([{"n": 1}, {"n": 2}], {"message": action}, env=env) == [{"n": 1}, {"n": 2}]
    (sent,) = env.messages
    assert sent.data == {"notification_type": kind, "content": "2 of handler", "tag": "t-2"}
    assert env.lines == [(level, "2 of handler")]
