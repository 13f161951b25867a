"""What each action does to an event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.dsl.actions.assert_ import Assert
from core.dsl.actions.convert import Convert
from core.dsl.actions.extract import Extract
from core.dsl.actions.filter import Filter
from core.dsl.actions.time import Time
from core.dsl.component import Limits, Run
from core.dsl.language.action import JobAborted
from core.errors import InvalidDocument
from tests import cases
from tests.dsl.stub import Stub, run
from tests.filepolicies import only


def one(event: dict[str, Any], *actions: Any, env: Stub | None = None) -> dict[str, Any]:
    (out,) = run([event], *actions, env=env)
    return out


def test_add_keeps_what_is_there_unless_told_to_overwrite() -> None:
    fields = {"a": "new", "n.deep": 2, "other": {"x": ["${a}"]}}
    assert one({"a": None, "n": {"deep": 1}}, {"add": {"output-fields": fields}}) == {
        "a": None, "n": {"deep": 1}, "other": {"x": ["null"]},
    }  # fmt: skip
    over = {"add": {"output-fields": fields, "overwrite": True}}
    assert one({"a": None, "n": {"deep": 1}}, over) == {"a": "new", "n": {"deep": 2}, "other": {"x": ["new"]}}


def test_add_makes_fresh_values_for_every_event() -> None:
    first, second = run([{}, {}], {"add": {"output-fields": {"list": []}}})
    first["list"].append(1)
    assert second["list"] == []


@cases.table(
    "fields", [[{"a": "b.c"}], [{"old": "a", "new": "b.c"}], {"a": "b.c"}, [{"/a": "/b/c"}], {"old": "a", "new": "b.c"}]
)
def test_rename_and_copy_take_every_form_of_pairs(fields: Any) -> None:
    assert one({"a": 1}, {"rename": {"fields": fields}}) == {"b": {"c": 1}}
    assert one({"a": [1]}, {"copy": {"fields": fields}}) == {"a": [1], "b": {"c": [1]}}


def test_a_copy_shares_nothing_with_its_original() -> None:
    out = one({"a": {"x": [1]}}, {"copy": {"fields": {"a": "b"}}}, {"add": {"output-fields": {"b.y": 2}}})
    assert out == {"a": {"x": [1]}, "b": {"x": [1], "y": 2}}


def test_remove_takes_nested_fields_and_array_elements() -> None:
    remove = {"remove": {"fields": ["a.b", "l.0", "/x.y", "no"]}}
    assert one({"a": {"b": 1, "c": 2}, "l": [1, 2], "x.y": 1}, remove) == {
        "a": {"c": 2}, "l": [2],
    }  # fmt: skip


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
def test_json_and_num_keep_every_digit_of_64_bit_integers(number: int) -> None:
    for conversion in ("json", "num"):
        out = one({"n": str(number)}, {"convert": {"conversions": [{"field": "n", "conversion": conversion}]}})
        assert out == {"n": number}
        assert type(out["n"]) is int


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"])), lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text("ab"), v, max_size=3), max_leaves=6))  # fmt: skip  # noqa: E501
def test_convert_json_undoes_what_a_template_does(value: Any) -> None:
    add = {"add": {"output-fields": {"copy": "${v}"}}}
    out = one(
        {"v": value if not isinstance(value, str) else json.dumps(value)},
        add,
        {"convert": {"conversions": [{"copy": "json"}]}},
    )
    assert out["copy"] == value


@cases.table(
    ("conversion", "value", "expected"),
    [
        ("num", "12", 12), ("num", "-3.5", -3.5), ("num", " 7 ", 7), ("num", "1e3", 1000.0), ("num", True, 1),
        ("num", "99999999999999999999", 1e20), ("num", "007", 7),
        ("str", 12, "12"), ("str", {"a": 1}, '{"a":1}'), ("str", True, "true"), ("str", "x", "x"),
        ("bool", "Yes", True), ("bool", "off", False), ("bool", 1, True), ("bool", "0", False),
        ("json", '{"a":[1]}', {"a": [1]}), ("json", "null", None), ("json", [1], [1]), ("json", '"x"', "x"),
        ("split", "a, b,c", ["a", "b", "c"]), ("split", "a b\tc", ["a", "b", "c"]), ("split", "", []),
        ("split", 3, [3]),
    ],
)  # fmt: skip
def test_conversions(conversion: str, value: Any, expected: Any) -> None:
    out = one({"v": value}, {"convert": {"conversions": [{"field": "v", "conversion": conversion}]}})["v"]
    assert out == expected
    assert type(out) is type(expected)


@cases.table("text", ["", "1_000", "nan", "inf", "1e999", "12a", "--1"])
def test_what_is_no_number_stays_text_with_a_warning(text: str) -> None:
    env = Stub()
    assert one({"v": text}, {"convert": {"conversions": [{"v": "num"}]}}, env=env) == {"v": text}
    assert "v cannot be converted to num" in env.lines[0][1]


def test_on_error_may_take_the_default_or_drop_the_event() -> None:
    def convert(policy: str) -> list[Any]:
        return run([{"v": "x"}, {"v": "1"}], {"convert": {"conversions": [{"v": "num"}], "on-error": policy}})

    assert convert("default") == [{"v": 0}, {"v": 1}]
    assert convert("drop") == [{"v": 1}]


def test_null_is_kept_or_becomes_the_default() -> None:
    keep = {"convert": {"conversions": [{"v": "num"}]}}
    assert one({"v": None}, keep) == {"v": None}
    assert one({"v": None}, {"convert": {**keep["convert"], "null-behaviour": "default"}}) == {"v": 0}
    assert one({}, keep) == {}


@cases.table(
    ("options", "text", "expected"),
    [
        ({"format": "currency"}, "$1,234.50", 1234.5),
        ({"format": "currency"}, "(12.00)", -12.0),
        ({"format": "percent"}, "12 %", 0.12),
        ({"format": "comma-number"}, "1,234,567", 1234567),
        ({"preprocess": ["trim", "remove-thousands-separator"]}, " 1,234 ", 1234),
        ({"preprocess": ["remove-currency-literal"]}, "EUR 5.25", 5.25),
        ({"preprocess": ["remove-percent-literal"]}, "7%", 7),
        ({"preprocess": ["strip-whitespace"]}, "1 000", 1000),
    ],
)
def test_formats_and_preprocessing_of_numbers(options: dict[str, Any], text: str, expected: float) -> None:
    assert one({"v": text}, {"convert": {"conversions": [{"v": "num"}], **options}}) == {"v": expected}


@cases.table(
    ("value", "source", "target", "expected"),
    [
        (1500, "ms", "s", 1.5), (2000, "ms", "s", 2), ("3", "MiB", "KiB", 3072), (1, "GB", "MB", 1000),
        (1739370000000000000, "ns", "s", 1739370000), (1.5, "h", "m", 90.0),
    ],
)  # fmt: skip
def test_units(value: Any, source: str, target: str, expected: Any) -> None:
    out = one({"v": value}, {"convert": {"units": [{"field": "v", "from": source, "to": target}]}})["v"]
    assert (out, type(out)) == (expected, type(expected))


def test_units_of_two_sorts_are_refused() -> None:
    with pytest.raises(ValidationError, match="do not measure the same"):
        Convert.model_validate({"units": [{"field": "a", "from": "ms", "to": "KB"}]})


def test_auto_converts_only_what_is_clear() -> None:
    event = {
        "n": "12",
        "f": "1.5",
        "b": "true",
        "nil": "null",
        "o": '{"a":1}',
        "zip": "00712",
        "phone": "+49",
        "t": "{x",
        "k": 3,
    }
    assert one(event, {"convert": {"auto": True}}) == {
        "n": 12, "f": 1.5, "b": True, "nil": None, "o": {"a": 1}, "zip": "00712", "phone": "+49", "t": "{x", "k": 3,
    }  # fmt: skip


def test_filter_by_field() -> None:
    events = [{"p": "/api/x"}, {"p": "/web"}, {"p": 7}, {}, {"p": True}]
    assert run(list(events), {"filter": {"field": "p", "pattern": "^/api"}}) == [events[0]]
    assert run(list(events), {"filter": {"field": "p", "values": ["/web", 7, 1]}}) == [events[1], events[2]]
    assert run(list(events), {"filter": {"field": "p", "pattern": "^/", "exclude": True}}) == events[2:]
    with pytest.raises(ValidationError, match="needs a condition"):
        Filter.model_validate({})


def test_extract_writes_groups_and_says_when_nothing_matched() -> None:
    env = Stub()
    extract = {"pattern": r"^(\S+) (\d+)?$", "output-fields": ["a.name", "n"], "remove": True}
    assert run([{"_raw": "x 12"}, {"_raw": "y "}, {"_raw": "zz"}], {"extract": extract}, env=env) == [
        {"a": {"name": "x"}, "n": "12"}, {"a": {"name": "y"}}, {"_raw": "zz"},
    ]  # fmt: skip
    assert "_raw does not match" in env.lines[0][1]
    named = {"extract": {"pattern": "(?P<k>[a-z]+)=(?P<v>[a-z]+)", "input-field": "t", "drop": True}}
    assert run([{"t": "a=b"}, {"t": "ab"}, {"t": 5}], named) == [{"t": "a=b", "k": "a", "v": "b"}]
    with pytest.raises(ValidationError, match="1 group and output-fields has 2"):
        Extract.model_validate({"pattern": "(a)", "output-fields": ["x", "y"]})


def test_json_promotes_or_keeps() -> None:
    assert one({"_raw": '{"a": 1739370000000000001, "b": null}'}, {"json": {"remove": True}}) == {
        "a": 1739370000000000001,
        "b": None,
    }
    assert one({"t": "[1]"}, {"json": {"input-field": "t", "output-field": "t"}}) == {"t": [1]}
    env = Stub()
    assert run([{"_raw": "no"}, {"_raw": "[1]"}, {}], {"json": {}}, env=env) == [{"_raw": "no"}, {"_raw": "[1]"}, {}]
    assert len(env.lines) == 3
    assert run([{"_raw": "no"}], {"json": {"drop": True}}) == []


def test_flatten_names_fields_by_their_path() -> None:
    event = {"a": {"b": {"c": 1}, "d": []}, "e": {}, "f": 2}
    assert one(event, {"flatten": {}}) == {"a.b.c": 1, "a.d": [], "e": {}, "f": 2}
    assert one({"a": {"b": {"c": 1}}}, {"flatten": {"input-field": "a", "separator": "_"}}) == {"a": {"b_c": 1}}


@cases.table(
    ("options", "value", "expected"),
    [
        ({}, "2026-05-25T12:00:00.5+02:00", "2026-05-25T10:00:00.500Z"),
        ({"input-timezone": "Europe/Berlin"}, "2026-05-25 12:00:00", "2026-05-25T10:00:00.000Z"),
        ({"output-format": "epoch_secs"}, "2026-05-25T10:00:00Z", 1779703200),
        ({"input-formats": ["epoch_nsecs"], "output-format": "epoch_nsecs"}, 1739370000000000001, 1739370000000000001),
        ({"input-formats": ["epoch_secs"], "output-format": "%Y/%m/%d"}, "0", "1970/01/01"),
        (
            {"input-formats": ["%d/%b/%Y:%H:%M:%S %z", "default_iso"]},
            "25/May/2026:10:00:00 +0000",
            "2026-05-25T10:00:00.000Z",
        ),
        ({"output-timezone": "America/New_York"}, "2026-05-25T10:00:00Z", "2026-05-25T06:00:00.000-04:00"),
    ],
)
def test_times(options: dict[str, Any], value: Any, expected: Any) -> None:
    assert one({"t": value}, {"time": {"input-field": "t", **options}}) == {"t": expected}


def test_a_time_that_cannot_be_read_is_kept_or_refused() -> None:
    assert run([{"t": "soon"}, {}], {"time": {"input-field": "t"}}) == [{"t": "soon"}, {}]
    assert (
        run(
            [{"t": "soon"}, {"t": 10**30}],
            {"time": {"input-field": "t", "input-formats": ["epoch_secs"], "drop": True}},
        )
        == []
    )
    assert one({}, {"time": {"output-field": "now"}})["now"].endswith("Z")
    with pytest.raises(ValidationError, match="not a time zone"):
        Time.model_validate({"output-timezone": "Mars/Base"})


def test_script_changes_drops_and_splits() -> None:
    code = "if event.n == 1 then return false end if event.n == 2 then return {{a = 1}, {a = 2}} end event.n = count()"
    assert run([{"n": 1}, {"n": 2}, {"n": 9, "nil": None}], {"script": code}) == [
        {"a": 1},
        {"a": 2},
        {"n": 3, "nil": None},
    ]
    env, firing = Stub(), Run()
    assert run([{}, {"ok": 1}], {"script": "if not event.ok then error('no') end"}, env=env, firing=firing) == [
        {"ok": 1}
    ]
    assert (firing.errors, "actions/0 script" in env.lines[0][1]) == (1, True)
    assert run([{}], {"script": "return 5"}) == []


SCHEMA = '{"properties": {"id": {"type": "integer"}}, "required": ["id"]}'


@cases.table(
    ("behaviour", "aborts", "refuses"),
    [
        ("drop-onfailure", False, True),
        ("drop-on-failure", False, True),
        ({"drop-onfailure": {}}, False, True),
        ({"no-warnings": "drop-onfailure"}, False, False),
        ("abort-on-failure", True, False),
        ({"abort-on-failure": None}, True, False),
        ({"no-warnings": "abort-on-failure"}, True, False),
    ],
)
def test_assert_refuses_or_aborts_in_every_spelling(behaviour: Any, aborts: bool, refuses: bool) -> None:
    env, firing = Stub(), Run()
    action = {"assert": {"schema": {"schema-string": SCHEMA}, "behaviour": behaviour}}
    events: list[dict[str, Any]] = [{"id": 1}, {"id": "x"}]
    if aborts:
        with pytest.raises(JobAborted, match="/id"):
            run(events, action, env=env)
    else:
        assert run(events, action, env=env, firing=firing) == [{"id": 1}]
    assert (firing.failed, bool(env.lines)) == (int(refuses), refuses)


@cases.table("schema", ["{", "[]", '{"type": "nonsense"}', '{"$ref": "http://127.0.0.1:9/x"}', '{"pattern": "(?=a)"}'])
def test_assert_refuses_what_is_no_local_schema(schema: str) -> None:
    with pytest.raises(ValidationError, match="not a JSON Schema"):
        Assert.model_validate({"schema": {"schema-string": schema}})


def test_assert_reads_a_schema_file_under_the_path_rules(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(SCHEMA)
    action = {"assert": {"schema": {"schema-file": str(tmp_path / "s.json")}}}
    allowed = Stub(limits=Limits(files=only(tmp_path)))
    assert run([{"id": 1}, {}], action, env=allowed) == [{"id": 1}]
    with pytest.raises(InvalidDocument, match="cannot be used"):
        run([{}], action, env=Stub(limits=Limits(files=only(tmp_path / "other"))))


def test_message_tells_people_and_passes_the_event_on() -> None:
    env = Stub()
    action = {"message": {"notification-type": "alert", "message-content": "disk ${d}", "log-event": True, "tag": "t"}}
    assert run([{"d": 9}], action, env=env) == [{"d": 9}]
    (sent,) = env.messages
    assert (sent.type, sent.tag) == ("user-alert", "")
    assert sent.data == {"notification_type": "alert", "content": "disk 9", "tag": "t"}
    assert env.lines == [("warning", "disk 9")]
