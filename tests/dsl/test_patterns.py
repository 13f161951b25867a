"""Patterns: RE2's answer, in bounded time."""

from __future__ import annotations

import timeit

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dsl.events import patterns
from core.dsl.events.tame import tame
from tests import cases

ATOMS = st.sampled_from(["a", "b", "[ab]", "[^a]", r"\d", r"\w", r"\s", ".", "-", "x?", r"\S"])
PIECES = st.builds("{}{}".format, ATOMS, st.sampled_from(["", "*", "+", "?", "{1,3}"]))
PATTERNS = st.lists(
    PIECES | PIECES.map("({})".format) | st.sampled_from(["^", "$", "(a|b)", "(?P<n>a+)", r"\b"]), max_size=5
)


@settings(deadline=None)
@given(PATTERNS.map("".join), st.text("abx1 -é\v\n", max_size=12))
def test_the_fast_engine_gives_the_answer_of_the_linear_one(text: str, subject: str) -> None:
    try:
        pattern = patterns.compile(text)
    except ValueError:
        return
    found = re2.search(text, subject)
    expected = None if found is None else (found.groups() or (found.group(0),))
    assert pattern.groups(subject) == expected
    assert pattern.matches(subject) is (expected is not None)


@cases.table("text", ["^(a+)+$", "(a|aa)*$", "^(a|a)*b", "a?" * 25 + "a" * 25, "(.*)(.*)(.*)(.*)x", "(x+x+)+y"])
def test_a_pattern_made_to_hang_does_not(text: str) -> None:
    pattern = patterns.compile(text)
    assert min(timeit.repeat(lambda: pattern.matches("a" * 2000 + "!"), number=1, repeat=3)) < 0.1


@cases.table(
    ("text", "told"),
    [
        ("(?=a)b", "look-ahead"),
        ("(?<!a)b", "look-behind"),
        (r"(a)\1", "back-references"),
        ("(", "missing"),
        ("a" * 9000, "at most"),
    ],
)
def test_a_pattern_that_cannot_run_in_linear_time_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        patterns.compile(text)


def test_ordinary_log_patterns_are_tame() -> None:
    for text in (r'^(\S+) (\S+) \[([^\]]*)\] "([^"]*)" (\d+)', r"user=(?P<user>\w+)", "error", r"^\d+$"):
        assert patterns.compile(text).tame


@cases.table(
    "text",
    [
        *("error|warn|fatal", "(a|b)c", "a*b+c?$", "x{3}x", "[^]a]*]", r"\w+\b-", "(?:[ab])x", "a{x}"),
        *(r"(?P<day>\d{4}-\d\d) \S+", "a+(b|cd)", "[a-]*b", ".*$", "^", ""),
    ],
)
def test_a_pattern_that_stops_at_what_it_cannot_match_is_tame(text: str) -> None:
    assert tame(text)


@cases.table(
    "text",
    [
        *("(a+)+", "(ab)*", "(?:a+)*", "a*a", "a?a", r"\d+\w", ".*x", "a*(b|a)", "a*b?a", "a+(b|)"),
        *("|".join(f"{one}x" for one in "abcdefghijklm"), "(a+|b)", "(a|(b|cd))"),
        *("(?i)a", "(?=a)", r"\1", "[[:alpha:]]", r"\pL", r"\x41", "[a--b]", "(?P=n)", "é", r"a\z"),
        *("*a", "a**", "a++", "^*", "{2}", "a{2}{3}", "(", ")", "[", "[]", "[b-a]", r"[\b]", r"[\w-a]", "\\"),
    ],
)
def test_what_may_backtrack_far_or_be_read_in_two_ways_is_not_tame(text: str) -> None:
    assert tame(text) is None
