"""The table at the end of `make soak`."""

from __future__ import annotations

from typing import Any

import pytest

from tests import figures


class Report:
    """A report of pytest, as far as the table reads it."""

    def __init__(self, name: str, marks: list[str], outcome: str = "passed", seconds: float = 1.0, **counts: int):
        self.nodeid, self.outcome, self.duration = name, outcome, seconds
        self.keywords: dict[str, Any] = dict.fromkeys(marks, 1)
        self.user_properties: list[tuple[str, Any]] = list(counts.items())


def test_each_long_proof_has_a_line_and_the_last_ones_are_sums() -> None:
    lines = figures.table(
        [
            Report("b", ["soak"], "failed", 3661.4, kills=3000, lost=2),
            Report("a", ["soak"], seconds=10, cuts=5000, lost=0, other=7),
            Report("p", ["hypothesis"], seconds=2),
            Report("short", [], kills=5),
        ]
    )
    assert [line.split() for line in lines[1:3]] == [
        ["a", "5,000", "0", "10"],
        ["b", "(failed)", "3,000", "2", "3,661"],
    ]
    assert lines[3].split() == ["all", "of", "them", "3,000", "5,000", "2", "3,671"]
    assert lines[4].startswith("1 properties, each with ") and lines[4].endswith(" 2")
    assert len({len(line) for line in lines}) == 1, "columns are aligned"


def test_the_suite_has_no_table() -> None:
    assert figures.table([Report("short", [], kills=5), Report("p", ["hypothesis"])]) == []


def test_a_count_of_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AssertionError, match="kils"):
        figures.record(lambda name, count: None, kils=5)
