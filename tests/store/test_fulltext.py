"""The full-text index: queries are data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.store.fulltext import FullText

ROWS = [
    ("http-poll", "Collect pages of an API"),
    ("file_tail", "Follow files, AND what is appended"),
    ("naïve", "Ein Café für Überläufer"),
]
INDEX = FullText(("slug", "text"), (8.0, 1.0), ROWS)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("poll", [0]),
        ("http-p", [0]),
        ("API coll", [0]),
        ("tail file", [1]),
        ("cafe uber", [2]),
        ("NAIVE", [2]),
        ("nothing", []),
        ("poll tail", []),
        ("and", [1]),
    ],
)
def test_every_word_begins_a_word_of_the_row(query: str, found: list[int]) -> None:
    assert INDEX.search(query) == found


def test_a_hit_in_a_heavier_column_comes_first() -> None:
    index = FullText(("a", "b"), (1.0, 10.0), [("kafka", "x"), ("x", "kafka"), ("x", "y")])
    assert index.search("kafka") == [1, 0]


@pytest.mark.parametrize(
    "query",
    [
        '"',
        '""',
        "*",
        "^",
        "-poll",
        "NOT",
        "OR OR",
        "NEAR(a b)",
        "slug:poll",
        "{slug}: x",
        "(",
        "'",
        ";--",
        "\0",
    ],
)
def test_nothing_in_a_query_is_an_operator_or_an_error(query: str) -> None:
    assert INDEX.search(query) in ([], [0])


@given(st.text(max_size=60))
def test_any_text_is_a_query(query: str) -> None:
    assert set(INDEX.search(query)) <= {0, 1, 2}
