"""Field selectors: three spellings, one field."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dsl.events import select
from core.dsl.events.select import MISSING
from tests import cases

PATHS = st.lists(st.text("ab~/0", min_size=1, max_size=3), min_size=1, max_size=4).map(tuple)


@cases.table(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        ("a/b", ("a", "b")),
        ("/a/b", ("a", "b")),
        ("/a.b", ("a.b",)),
        ("/a~1b/~0", ("a/b", "~")),
        ("$.a.b", ("a", "b")),
        ("$['a b'][0].c", ("a b", "0", "c")),
    ],
)
def test_every_spelling_is_read(text: str, path: tuple[str, ...]) -> None:
    assert select.parse(text) == path


@cases.table("text", ["", " ", "a..b", ".a", "a.", "$.a[*]", "$..a", "a//b", ".".join("a" * 40)])
def test_what_does_not_name_one_field_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        select.parse(text)


@settings(deadline=None)
@given(PATHS)
def test_a_pointer_names_the_path_it_was_made_from(path: tuple[str, ...]) -> None:
    assert select.parse(select.pointer(path)) == path


@settings(deadline=None)
@given(PATHS, st.integers())
def test_what_is_set_can_be_got_and_removed(path: tuple[str, ...], value: int) -> None:
    event: dict[str, object] = {}
    select.setter(path)(event, value)
    assert select.getter(path)(event) == value
    assert select.remover(path)(event) == value
    assert select.getter(path)(event) is MISSING
    assert select.remover(path)(event) is MISSING


def test_numbers_select_elements_of_arrays() -> None:
    event = {"a": [{"b": 1}, {"b": 2}]}
    assert select.getter(("a", "1", "b"))(event) == 2
    select.setter(("a", "0", "b"))(event, 7)
    assert select.remover(("a", "1"))(event) == {"b": 2}
    assert event == {"a": [{"b": 7}]}
    assert select.getter(("a", "x"))(event) is MISSING


def test_setting_below_something_that_is_not_an_object_is_an_error() -> None:
    with pytest.raises(ValueError, match="/a/b/c"):
        select.setter(("a", "b", "c"))({"a": {"b": 1}}, 2)
