"""The full-text index: words are data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.store.fulltext import FullText
from tests import cases

ROWS = [
    ("http-poll", "Collect pages of an API"),
    ("file_tail", "Follow files, AND what is appended"),
    ("naïve", "Ein Café für Überläufer"),
]
INDEX = FullText(("slug", "text"), (8.0, 1.0), ROWS)


@cases.table(
    ("words", "found"),
    [
        (["poll"], {0}),
        (["http-p"], {0}),
        (["coll"], {0}),
        (["page", "file"], {0, 1}),
        (["uber"], {2}),
        (["NAIVE"], {2}),
        (["nothing"], set()),
        (["and"], {1}),
        (["following"], {1}),
        (["tail file"], set()),
        ([], set()),
    ],
)
def test_a_word_stands_for_its_stem_and_for_what_begins_with_it(words: list[str], found: set[int]) -> None:
    assert set(INDEX.score(words)) == found


def test_whole_words_are_found_by_their_stem_alone() -> None:
    assert set(INDEX.score(["collects"], whole=True)) == {0}
    assert INDEX.score(["coll"], whole=True) == {}


def test_a_hit_in_a_heavier_column_and_of_the_whole_word_scores_more() -> None:
    index = FullText(("a", "b"), (1.0, 10.0), [("kafka", "x"), ("x", "kafka"), ("x", "kafkaesque"), *[("y", "y")] * 9])
    scores = index.score(["kafka"])
    assert scores[1] > scores[0] and scores[1] > scores[2]
    assert min(scores.values()) > 0


@cases.table(
    "word",
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
def test_nothing_in_a_word_is_an_operator_or_an_error(word: str) -> None:
    assert set(INDEX.score([word])) in (set(), {0})


@given(st.lists(st.text(max_size=60), max_size=3), st.booleans())
def test_any_texts_are_words(words: list[str], whole: bool) -> None:
    assert set(INDEX.score(words, whole=whole)) <= {0, 1, 2}
