"""How many records are handed on together follows what the job takes for them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.dsl.inputs.pace import SLOW_SECONDS, Pace

MOST = 500


@given(st.floats(1e-5, 10))
def test_it_comes_to_what_is_worked_off_in_two_seconds(seconds_each: float) -> None:
    pace = Pace(MOST)
    for _ in range(20):
        pace.took(pace.size, pace.size * seconds_each)
    assert pace.size == 1 or pace.size * seconds_each <= SLOW_SECONDS
    assert pace.size == MOST or 2 * pace.size * seconds_each > SLOW_SECONDS / 6, "and not to much less"


def test_a_few_records_that_are_quick_say_nothing_of_many() -> None:
    pace = Pace(MOST)
    before = pace.size
    pace.took(1, 0.0001)
    assert pace.size == before
