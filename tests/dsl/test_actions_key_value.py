"""key-value: pairs of a text, held against a parser that looks at one character after another."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.dsl.actions.key_value import KeyValue
from tests import cases
from tests.dsl.stub import Stub, run


def parse(text: str, env: Stub | None = None, **keys: Any) -> dict[str, Any]:
    (out,) = run([{"_raw": text}], {"key-value": {"remove": True, **keys}}, env=env)
    return out


@cases.table(
    ("keys", "text", "expected"),
    [
        ({}, "a=1 b=x=y  c=", {"a": "1", "b": "x=y", "c": ""}),
        (
            {"autoconvert": True},
            'a=1 b=true c=null d=007 e=x f={"k":1}',
            {"a": 1, "b": True, "c": None, "d": "007", "e": "x", "f": {"k": 1}},
        ),
        ({"delim": ",", "key-value-delim": ":"}, "a: 1, b : two words", {"a": "1", "b": "two words"}),
        ({"delim": "; "}, "a=1; b=2;3", {"a": "1", "b": "2;3"}),
        ({"delim": "\n"}, "a=1 x\nb=2\n\n", {"a": "1 x", "b": "2"}),
        ({}, 'm="two words" n=\'it is "so"\' e="a\\"b\\\\"', {"m": "two words", "n": 'it is "so"', "e": 'a"b\\'}),
        ({}, '"my key"=1 b=2', {"my key": "1", "b": "2"}),
        ({"delim": ","}, 'a = " x, y " , b=2', {"a": " x, y ", "b": "2"}),
        ({"quotes": False}, 'm="two" b=2', {"m": '"two"', "b": "2"}),
        ({}, 'a="open b=2', {"a": '"open', "b": "2"}),
        ({}, 'a="x"y b=2', {"a": '"x"y', "b": "2"}),
        ({"multiple": "last"}, "t=a t=b u=1", {"t": "b", "u": "1"}),
        ({"multiple": "first"}, "t=a t=b u=1", {"t": "a", "u": "1"}),
        ({"multiple": "array"}, "t=a t=b t=c u=1", {"t": ["a", "b", "c"], "u": "1"}),
        ({"multiple": "array", "autoconvert": True}, "t=[1] t=2", {"t": [[1], 2]}),
        ({"output-field": "kv.found"}, "a=1", {"kv": {"found": {"a": "1"}}}),
    ],
)
def test_pairs_become_fields(keys: dict[str, Any], text: str, expected: dict[str, Any]) -> None:
    assert parse(text, **keys) == expected


def test_what_is_no_pair_is_left_out_with_a_warning() -> None:
    env = Stub()
    assert parse("GET a=1 =5", env) == {"a": "1"}
    assert env.lines == [("warning", "actions/0 key-value: left out '=5', which has no '='")]
    assert run([{"_raw": "no pair"}], {"key-value": {}}, env=env) == [{"_raw": "no pair"}]
    assert run([{"_raw": "no pair"}], {"key-value": {"drop": True}}, env=env) == []
    assert len(env.lines) == 2


def test_equal_delimiters_are_refused() -> None:
    with pytest.raises(ValidationError, match="must differ"):
        KeyValue.model_validate({"delim": "="})


def slow(text: str, delim: str, between: str) -> dict[str, str]:
    """The same for one-character delimiters, one character after another."""

    def blanks(at: int) -> int:
        while at < len(text) and text[at].isspace() and text[at] != delim:
            at += 1
        return at

    def quoted(at: int) -> tuple[str | None, int]:
        if at >= len(text) or text[at] not in "\"'":
            return None, at
        sign, out = text[at], ""
        at += 1
        while at < len(text):
            if text[at] == "\\" and at + 1 < len(text):
                out += text[at + 1]
                at += 2
            elif text[at] == "\\":
                return None, at
            elif text[at] == sign:
                return out, at + 1
            else:
                out += text[at]
                at += 1
        return None, at

    def until(at: int, signs: str) -> int:
        while at < len(text) and text[at] not in signs:
            at += 1
        return at

    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        at = blanks(at)
        key, end = quoted(at)
        if key is None or blanks(end) >= len(text) or text[blanks(end)] != between:
            end = until(at, delim + between)
            key = text[at:end].strip() or None
        else:
            end = blanks(end)
        if end >= len(text) or text[end] == delim or key is None:
            at = until(end, delim) + 1
            continue
        value, after = quoted(blanks(end + 1))
        after = blanks(after)
        if value is None or (after < len(text) and text[after] != delim):
            after = until(end + 1, delim)
            value = text[end + 1 : after].strip()
        found[key] = value
        at = after + 1
    return found


@given(st.text(st.sampled_from("ab= ,\"'\\"), max_size=16), st.sampled_from(" ,"))
def test_any_text_is_read_like_the_reference_reads_it(text: str, delim: str) -> None:
    expected = slow(text, delim, "=")
    assert parse(text, delim=delim) == (expected or {"_raw": text})


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=8), min_size=1, max_size=4))
def test_pairs_that_are_quoted_come_back_as_they_were(pairs: dict[str, str]) -> None:
    def quote(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = " ".join(f"{quote(key)}={quote(value)}" for key, value in pairs.items())
    assert parse(text) == pairs
