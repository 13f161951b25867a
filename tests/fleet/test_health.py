"""The rule of conditions: which health follows from what is seen, since when, and which failures are one series."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.fleet.health import of_workload
from core.model.condition import Condition, Health, after
from core.model.states import WorkloadState

SEEN = st.tuples(
    st.sampled_from(list(WorkloadState)), st.sampled_from(["", "why"]), st.booleans(), st.integers(0, 3), st.booleans()
)


def seen(
    before: Condition | None, state: str, now: int, *, reason: str = "", failing: str | None = None, worker: str = "w"
) -> Condition:
    health, why = of_workload(before, "v1", state, reason, failing, worker)
    return after(before, health, why, now, version="v1", failed=state == WorkloadState.FAILED)


def test_what_fails_again_and_again_is_failing_since_the_first_time() -> None:
    one = seen(None, "starting", 1)
    assert (one.health, one.since_ns) == (Health.PROGRESSING, 1)
    for now in (2, 6, 9):
        one = seen(one, "failed", now, reason="no such file", failing="no such file")
        one = seen(one, "starting", now + 1, failing="no such file")
        one = seen(one, "running", now + 1, failing="no such file")
    assert (one.health, one.since_ns, one.reason) == (Health.FAILING, 2, "no such file")
    assert (one.failures, one.first_failed_at_ns, one.last_failed_at_ns) == (3, 2, 9)
    well = seen(one, "running", 20)
    assert (well.health, well.since_ns, well.failures) == (Health.HEALTHY, 20, 3), "the bad time stays on record"
    again = seen(well, "failed", 30, reason="full", failing="full")
    assert (again.since_ns, again.failures, again.first_failed_at_ns) == (30, 1, 30)


def test_what_fails_keeps_failing_while_its_worker_or_the_engine_is_away() -> None:
    one = seen(None, "failed", 1, reason="no such file", failing="no such file")
    one = seen(one, "assigned", 5, reason="worker w is gone")
    one = seen(one, "starting", 6)
    assert (one.health, one.since_ns, one.reason) == (Health.FAILING, 1, "no such file")


def test_what_is_down_is_down_until_it_is_up() -> None:
    one = seen(None, "running", 1)
    one = seen(one, "assigned", 5, reason="worker w is gone")
    assert (one.health, one.since_ns, one.reason) == (Health.DOWN, 5, "worker w is gone")
    one = seen(seen(one, "assigned", 6), "starting", 7)
    assert (one.health, one.since_ns, one.reason) == (Health.DOWN, 5, "worker w is gone")
    assert seen(one, "running", 8).since_ns == 8
    assert seen(None, "assigned", 1, worker="").health is Health.DOWN


def test_another_version_begins_anew() -> None:
    one = seen(None, "failed", 1, failing="x")
    health, why = of_workload(one, "v2", "assigned", "", None, "w")
    two = after(one, health, why, 2, version="v2")
    assert (two.health, two.since_ns, two.failures) == (Health.PROGRESSING, 2, 0)


@given(st.lists(SEEN, max_size=30))
def test_since_moves_with_the_health_alone_and_never_back(
    story: list[tuple[WorkloadState, str, bool, int, bool]],
) -> None:
    one: Condition | None = None
    now = 1_000
    for state, reason, placed, step, back in story:
        now += -step if back else step
        two = seen(one, state, now, reason=reason, worker="w" if placed else "")
        if one is not None:
            assert two.since_ns >= one.since_ns
            assert (two.since_ns == one.since_ns) or two.health is not one.health
        assert two.failures == 0 or 0 < two.first_failed_at_ns <= two.last_failed_at_ns
        one = two
