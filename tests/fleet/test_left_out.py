"""Firings that were not made, and what kept each of them."""

from __future__ import annotations

from core.fleet import left_out
from core.fleet.left_out import NOTHING_RUNS_IT, OTHER_WORK, RUN_UNDER_WAY, STOOD_STILL, LeftOut
from core.model.states import RunState

SECOND = 1_000_000_000
TIMES = [one * SECOND for one in range(10, 15)]


def test_what_came_due_during_a_run_was_skipped_and_what_came_due_after_it_was_missed() -> None:
    during = LeftOut(RunState.SKIPPED, RUN_UNDER_WAY, 2, 10 * SECOND, 11 * SECOND)
    for found, why in (
        (left_out.of_firing(TIMES, 11 * SECOND, 15 * SECOND), STOOD_STILL),
        (left_out.of_outage(TIMES, 11 * SECOND), NOTHING_RUNS_IT),
    ):
        assert found == [during, LeftOut(RunState.MISSED, why, 3, 12 * SECOND, 14 * SECOND)]


def test_with_a_run_under_way_all_the_time_nothing_was_missed_and_without_one_nothing_skipped() -> None:
    for found in (left_out.of_firing(TIMES, 20 * SECOND, 20 * SECOND), left_out.of_outage(TIMES, 20 * SECOND)):
        assert [(one.state, one.count) for one in found] == [(RunState.SKIPPED, 5)]
    for found in (left_out.of_firing(TIMES, 0, 15 * SECOND), left_out.of_outage(TIMES, 0)):
        assert [(one.state, one.count) for one in found] == [(RunState.MISSED, 5)]


def test_a_worker_that_is_a_little_late_did_not_stand_still() -> None:
    times = [10 * SECOND, 10 * SECOND + SECOND // 4]
    (found,) = left_out.of_firing(times, 9 * SECOND, 10 * SECOND + SECOND // 2)
    assert (found.state, found.reason, found.count) == (RunState.SKIPPED, OTHER_WORK, 2)


def test_nothing_was_left_out_where_no_time_was() -> None:
    assert left_out.of_firing([], 0, 0) == left_out.of_outage([], 0) == left_out.of_run([]) == []
