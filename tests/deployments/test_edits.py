"""Hand edits: found at the deepest place that says it, and kept where someone ignores them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.deployments import edits

DOCUMENTS = st.dictionaries(
    st.sampled_from(["a", "b", "c/d", "~"]),
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "x"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
        max_leaves=6,
    ),
    max_size=4,
)


@pytest.mark.parametrize(
    ("applied", "found", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["/a"]),
        ({"a": 1}, {}, ["/a"]),
        ({}, {"a": 1}, ["/a"]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ["/a/b/1"]),
        ({"a": [1]}, {"a": [1, 2]}, ["/a"]),
        ({"a/b": 1}, {"a/b": 2}, ["/a~1b"]),
        ({"a": 1}, {"a": True}, ["/a"]),
        ({"a": {}}, {"a": []}, ["/a"]),
    ],
)
def test_differences_are_told_at_the_deepest_place(applied: Any, found: Any, expected: list[str]) -> None:
    assert edits.differences(applied, found) == expected


@given(DOCUMENTS, DOCUMENTS)
def test_keeping_every_difference_gives_the_edited_document_and_keeping_none_the_applied_one(
    applied: dict[str, Any], found: dict[str, Any]
) -> None:
    pointers = edits.differences(applied, found)
    assert edits.differences(edits.keep(applied, found, pointers), found) == []
    assert edits.keep(applied, found, []) == applied


@given(DOCUMENTS, DOCUMENTS, st.data())
def test_keeping_some_differences_leaves_exactly_the_others(
    applied: dict[str, Any], found: dict[str, Any], data: st.DataObject
) -> None:
    pointers = edits.differences(applied, found)
    some = [pointer for pointer in pointers if data.draw(st.booleans())]
    kept = edits.keep(applied, found, some)
    assert edits.differences(applied, kept) == some
    assert edits.differences(kept, found) == [pointer for pointer in pointers if pointer not in some]


def test_an_ignored_field_covers_what_lies_below_it_of_its_job_only() -> None:
    ignored = edits.Ignored(["job:a/document/output", "job:b", "job:*/state"])
    assert ignored.covers("a", "document/output") and ignored.covers("a", "document/output/print")
    assert not ignored.covers("a", "document/outputs") and not ignored.covers("a", "document")
    assert not ignored.covers("a", "worker") and not ignored.covers("c", "document/output")
    assert ignored.covers("b", "") and ignored.covers("b", "worker")
    assert ignored.covers("c", "state") and not ignored.covers("c", "")
    assert not edits.NOTHING.covers("b", "state")
