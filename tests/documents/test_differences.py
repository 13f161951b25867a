"""Where two JSON values differ: every path with both sides, bounded, printable, and without credentials."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.documents import differences
from core.documents.differences import SHOWN
from tests import cases

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)


def lines(before: Any, after: Any) -> list[str]:
    return [line for one in differences.between(before, after) for line in one.lines()]


@cases.table(
    ("before", "after", "said"),
    [
        ({"a": {"b-c": "alpha-"}}, {"a": {"b-c": "gamma-"}}, ['a.b-c: "alpha-" -> "gamma-"']),
        ({"a": 1}, {"a": True}, ["a: 1 -> true"]),
        ({"a": 1}, {"a": 1.0}, ["a: 1 -> 1.0"]),
        ({}, {"a": None}, ["a: nothing -> null"]),
        ({"a": [1]}, {}, ["a: [1] -> nothing"]),
        ({"a.b": 1}, {"a.b": 2}, ['"a.b": 1 -> 2']),
        ({"a": [{"x": 1}, {"y": 2}]}, {"a": [{"x": 1}, {"y": 3}]}, ["a[1].y: 2 -> 3"]),
        ({"a": [1, 2, 3]}, {"a": [0, 1, 2, 3]}, ["a[0]: nothing -> 0"]),
        ({"a": [1, 2, 3]}, {"a": [1, 3]}, ["a[1]: 2 -> nothing"]),
        ({"a": "x\ny\nz"}, {"a": "x\nY\nz"}, ["a:", "  - y", "  + Y"]),
        ({"a": "x\n"}, {"a": "x"}, ['a: "x\\n" -> "x"']),
    ],
)
def test_each_value_that_differs_is_one_line_with_both_sides(before: Any, after: Any, said: list[str]) -> None:
    assert lines(before, after) == said


def test_of_two_long_values_the_part_is_shown_in_which_they_differ() -> None:
    (line,) = lines({"a": "x" * 500 + "old" + "y" * 500}, {"a": "x" * 500 + "new" + "y" * 500})
    assert "xold" in line and "xnew" in line and len(line) < 2 * SHOWN + 20
    said = lines({"a": "first\n" + "x" * 500 + "old"}, {"a": "first\n" + "x" * 500 + "new"})
    assert said[1].endswith("xold") and said[2].endswith("xnew")


def test_a_text_of_many_lines_is_cut() -> None:
    said = lines({"a": "\n".join("abcdefghijklmnopqrstuvwxyz")}, {"a": "\n".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ")})
    assert len(said) == 2 + differences.TEXT_LINES and said[-1] == "  ... and 40 more lines"


@cases.table("key", ["secret-key", "password", "api_key", "security-token", "credentials", "access-key"])
def test_a_credential_that_is_written_in_a_document_is_not_repeated(key: str) -> None:
    before, after = {"s3": {key: "hunter2-old"}}, {"s3": {key: "hunter2-new"}}
    (line,) = lines(before, after)
    assert "hunter2" not in line and "s3" in line and "differs in what is masked" in line
    (into,) = lines(before, {"s3": {key: "${secret|aws}"}})
    assert "hunter2" not in into and "${secret|aws}" in into
    (nested,) = lines({key: {"inner": ["hunter2"]}}, {})
    assert "hunter2" not in nested


def test_the_password_of_an_address_is_not_repeated() -> None:
    (line,) = lines({"url": "https://me:hunter2@a.example/x"}, {"url": "https://me:hunter3@b.example/x"})
    assert "hunter" not in line and "a.example" in line and "b.example" in line


@given(VALUES, VALUES)
def test_two_values_differ_exactly_when_a_difference_is_named(before: Any, after: Any) -> None:
    found = list(differences.between(before, after))
    assert (found == []) == differences.same(before, after)


@given(VALUES)
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    assert list(differences.between(value, value)) == []


@given(VALUES, VALUES)
def test_lines_are_printable_and_bounded(before: Any, after: Any) -> None:
    for one in differences.between({"k": before}, {"k": after}):
        said = one.lines()
        assert len(said) <= 2 + differences.TEXT_LINES
        assert all(line.isprintable() and len(line) <= len(one.path) + 2 * SHOWN + 60 for line in said)
