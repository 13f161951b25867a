"""Time as values: ids that only grow, ends that a clock which is set does not bring on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core import clock


@given(st.lists(st.integers(0, 2**60), max_size=50))
def test_ids_only_grow_whatever_the_clock_says(times: list[int]) -> None:
    wall = iter(times)
    ids = clock.Ids(now=lambda: next(wall))
    made = [ids.next() for _ in times]
    assert made == sorted(set(made))


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(-(10**9), 10**9)), max_size=50))
def test_age_never_runs_ahead_of_the_time_that_has_passed(steps: list[tuple[int, int]]) -> None:
    """Of each step the first number is time that passes, the second by how much the wall clock is set, in ms."""
    passed, set_by, start = 0, 0, 10**18
    age = clock.Age(lambda: start + (passed + set_by) * 1_000_000, lambda: passed)
    for more, jump in steps:
        passed, set_by = passed + more, set_by + jump
        assert age.now_ns() == start + (passed + min(set_by, 0)) * 1_000_000


def test_the_time_since_the_start_of_the_machine_moves_on_and_names_its_boot() -> None:
    first = clock.since_boot_ms()
    assert 0 < first <= clock.since_boot_ms() and clock.boot_id() == clock.boot_id()
