"""How many records are handed on together follows what the job takes for them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.dsl.inputs.pace import MOST_SECONDS, Pace

MOST = 500


@given(st.floats(1e-5, 1.0))
def test_it_comes_to_what_is_worked_off_in_some_seconds(seconds_each: float) -> None:
    pace, seconds = Pace(MOST), []
    for _ in range(40):
        seconds.append(pace.size * seconds_each)
        pace.took(pace.size, seconds[-1])
    assert max(seconds[-10:]) <= max(2 * MOST_SECONDS, 3 * seconds_each)
    assert pace.size == MOST or max(seconds[-10:]) > MOST_SECONDS / 2, "and it is no less than that"


def test_what_is_sent_with_one_call_is_handed_on_together() -> None:
    pace, sizes = Pace(MOST), []
    for _ in range(20):
        sizes.append(pace.size)
        calls = -(-pace.size // 100)
        pace.took(pace.size, 1.5 * -(-calls // 4))  # calls of 100 records, four at a time
    assert min(sizes[-10:]) > 300


def test_a_few_records_that_are_quick_say_nothing_of_many() -> None:
    pace = Pace(MOST)
    before = pace.size
    pace.took(1, 0.0001)
    assert pace.size == before
