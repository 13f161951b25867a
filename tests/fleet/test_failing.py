"""A workload that failed is well again when it has come through, and not when it is merely up again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fleet.failing import SETTLED_SECONDS, START_SECONDS, Failure, after_state

S = SETTLED_SECONDS
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["assigned", "starting", "running", "failed", "completed"]),
        st.floats(0, 2 * S, allow_nan=False),
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
)


def told(*steps: tuple[str, float]) -> Failure | None:
    """What stands after these states, each with its time."""
    failure = None
    for state, at in steps:
        failure = after_state(failure, state, "no such file", False, at)
    return failure


def test_it_stands_while_the_job_is_up_again_for_a_short_time_only() -> None:
    failure = None
    for turn in range(20):  # up for less than the settled time, again and again
        start = turn * S
        for state, at in (("starting", start), ("running", start), ("failed", start + S - 1)):
            failure = after_state(failure, state, "no such file", False, at)
            assert (turn == 0 and state != "failed") or (failure is not None and failure.stands(at))
            assert failure is None or failure.reason == "no such file"


def test_it_is_over_when_the_job_has_been_up_for_the_settled_time() -> None:
    failure = told(("failed", 0), ("starting", 1), ("running", 2))
    assert failure is not None
    assert failure.stands(2 + S - 0.01) and not failure.stands(2 + S)


def test_a_job_that_takes_its_time_to_fail_again_is_up_for_longer_before_it_is_well() -> None:
    steps = [("failed", 0.0), ("running", 1.0), ("failed", 1 + 1.5 * S), ("running", 2 + 1.5 * S)]
    failure = told(*steps)
    assert failure is not None and failure.stands(2 + 4.4 * S) and not failure.stands(2 + 4.5 * S)
    long_after = told(*steps[:2], ("failed", 1 + START_SECONDS), ("running", 2 + START_SECONDS))
    assert long_after is not None and not long_after.stands(2 + START_SECONDS + S)


@pytest.mark.parametrize("state", ["assigned", "starting"])
def test_the_settled_time_begins_anew_when_the_job_goes_down(state: str) -> None:
    failure = told(("failed", 0), ("running", 1), (state, 2), ("running", 3))
    assert failure is not None and failure.stands(1 + S) and not failure.stands(3 + S)


def test_a_failed_run_of_a_schedule_is_only_made_up_for_by_a_run() -> None:
    failure = after_state(None, "failed", "no such file", True, 0)
    failure = after_state(failure, "running", "", True, 1)
    assert failure is not None and failure.stands(1000 * S)


def test_what_is_complete_is_well() -> None:
    assert told(("failed", 0), ("running", 1), ("completed", 2)) is None


@given(STEPS)
def test_a_failure_stands_until_the_job_was_up_without_a_break_or_is_complete(
    steps: Sequence[tuple[str, float, bool]],
) -> None:
    now, failure = 0.0, None
    failed, up_since, needs, waits_for_run = False, None, S, False  # the rule once more, over the whole story
    for state, seconds, of_run in steps:
        now += seconds
        if failed and not waits_for_run and up_since is not None and now - up_since >= needs:
            failed = False
        failure = after_state(failure, state, state, of_run, now)
        if state == "failed":
            up = 0.0 if up_since is None else now - up_since
            needs = max(S, 2 * up) if up < START_SECONDS else S
            failed, up_since, waits_for_run = True, None, of_run
        elif state == "completed" or not failed:
            failed, up_since = False, None
        else:
            up_since = (up_since if up_since is not None else now) if state == "running" else None
        assert (failure is not None and failure.stands(now)) == failed
        assert failure is None or not failed or failure.reason == "failed"
