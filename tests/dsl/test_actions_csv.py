"""csv: rows of streams and of documents, held against Python's own csv module."""

from __future__ import annotations

import csv
import io
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.dsl.actions.csv import Csv
from core.dsl.component import Event, Run
from core.dsl.language.compile import compile_job
from tests import cases
from tests.dsl.stub import Stub, document, run, through


def raw(*lines: str) -> list[Event]:
    return [{"_raw": line} for line in lines]


def parse(*lines: str, **keys: Any) -> list[Event]:
    return run(raw(*lines), {"csv": {"remove": True, **keys}})


@cases.table(
    ("keys", "line", "expected"),
    [
        ({}, "a,b", {"column1": "a", "column2": "b"}),
        ({"fields": ["x", "y"]}, "a,b\r\n", {"x": "a", "y": "b"}),
        ({"fields": {"x": "num", "y": "bool"}}, "12,yes", {"x": 12, "y": True}),
        ({"fields": [{"x": "num"}, {"y": "json"}]}, '1.5,"{""a"":[1]}"', {"x": 1.5, "y": {"a": [1]}}),
        ({"fields": {"x": "split", "y": "num"}}, "a b,", {"x": ["a", "b"], "y": None}),
        (
            {"autoconvert": True},
            "7,true,null,007,x",
            dict(
                zip(("column1", "column2", "column3", "column4", "column5"), (7, True, None, "007", "x"), strict=True)
            ),
        ),
        ({"autoconvert": True, "fields": {"x": "str"}}, "7", {"x": "7"}),
        ({"auto-convert": True}, "7", {"column1": 7}),
        ({"delim": "\t"}, "a\tb", {"column1": "a", "column2": "b"}),
        ({"delim": "\\t"}, "a\tb", {"column1": "a", "column2": "b"}),
        ({"delim": "semicolon"}, "a;b", {"column1": "a", "column2": "b"}),
        ({}, '"a,b","say ""hi"""', {"column1": "a,b", "column2": 'say "hi"'}),
        ({}, '"two\nlines",x', {"column1": "two\nlines", "column2": "x"}),
        ({"quote": "'"}, "'a,b',\"", {"column1": "a,b", "column2": '"'}),
        ({"quote": ""}, '"a,b"', {"column1": '"a', "column2": 'b"'}),
        ({"fields": ["x", "y"], "output-field": "row"}, "a,b", {"row": {"x": "a", "y": "b"}}),
        ({}, 'a"b,c', {"column1": 'a"b', "column2": "c"}),
    ],
)
def test_a_line_becomes_fields(keys: dict[str, Any], line: str, expected: Event) -> None:
    assert parse(line, **keys) == [expected]


def test_the_first_line_of_a_run_names_the_fields_and_may_come_again() -> None:
    lines = ("host,port", "db,5432", "host,port", "web,80")
    assert parse(*lines, header=True, fields={"port": "num"}) == [
        {"host": "db", "port": 5432},
        {"host": "web", "port": 80},
    ]


def test_a_header_lasts_from_batch_to_batch_and_ends_with_the_run_and_with_the_document() -> None:
    process = partial(through, compile_job(document({"csv": {"header": True, "remove": True}}), Stub()))
    first, second = Run("1"), Run("2")
    assert process(raw("a,b", "1,2"), first) == [{"a": "1", "b": "2"}]
    assert process(raw("x,y"), second) == []  # runs may take turns
    assert process(raw("3,4"), first) == [{"a": "3", "b": "4"}]
    assert process(raw("5,6"), second) == [{"x": "5", "y": "6"}]
    first.documents += 1
    assert process(raw("c", "7"), first) == [{"c": "7"}]


def test_a_trace_which_shows_each_event_with_a_run_of_its_own_knows_the_header() -> None:
    (step,) = compile_job(document({"csv": {"header": True, "remove": True}}), Stub()).steps
    assert step.process(raw("a,b"), Run("trace")) == []
    assert step.process(raw("1,2"), Run("trace")) == [{"a": "1", "b": "2"}]


def test_a_text_of_several_lines_is_a_document_with_its_own_header() -> None:
    events = [{"_raw": "\ufeffa,b\n1,2\n\n3,4\n", "file": ["x"]}, {"_raw": "c,a\r\n5,6\r\n"}]
    out = run(events, {"csv": {"header": True, "remove": True}})
    assert out == [{"a": "1", "b": "2", "file": ["x"]}, {"a": "3", "b": "4", "file": ["x"]}, {"c": "5", "a": "6"}]
    out[0]["file"].append("y")
    assert out[1]["file"] == ["x"]


def test_names_that_are_empty_or_come_twice_get_a_number() -> None:
    env = Stub()
    out = run(raw("a, ,a", "1,2,3"), {"csv": {"header": True, "remove": True, "fields": {"z": "num"}}}, env=env)
    assert out == [{"a": "1", "column2": "2", "column3": "3"}]
    assert [text.split(": ")[1] for _, text in env.lines] == [
        "the header has two columns 'a'; the second is called column3",
        "the header has no column z",
    ]


@cases.table(
    ("keys", "told"),
    [
        ({"delim": "ab"}, "one character"),
        ({"delim": "\n"}, "one character"),
        ({"delim": '"'}, "must differ"),
        ({"quote": "''"}, "at most 1"),
        ({"fields": {"a": "float"}}, "'num'"),
    ],
)
def test_what_cannot_be_a_delimiter_a_quote_or_a_type_is_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Csv.model_validate(keys)


cells = st.text(st.sampled_from('ab1,;"\n\r \t\u00e9'), max_size=6)


@given(
    st.lists(st.lists(cells, min_size=1, max_size=4), min_size=1, max_size=4), st.sampled_from(",;\t"), st.booleans()
)
def test_what_the_csv_module_writes_is_read_like_the_csv_module_reads_it(
    rows: list[list[str]], delim: str, every: bool
) -> None:
    out = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=delim, quoting=quoting, lineterminator="\n").writerows(rows)
    text = out.getvalue()
    reference = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delim, strict=True) if row]
    expected = [{f"column{n}": cell for n, cell in enumerate(row, 1)} for row in reference]
    assert parse(text, delim=delim) == (expected or raw(text))  # a text without a row stays


@given(st.text(st.sampled_from('a1,"\n\r '), max_size=12))
def test_any_text_is_read_like_the_csv_module_or_left_alone_with_a_warning(text: str) -> None:
    env = Stub()
    out = run(raw(text), {"csv": {"remove": True}}, env=env)
    try:
        reference = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error:
        reference = []
    if not reference:
        assert (out, len(env.lines)) == (raw(text), 1)
    else:
        assert out == [{f"column{n}": cell for n, cell in enumerate(row, 1)} for row in reference]
