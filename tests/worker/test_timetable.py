from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dsl.language import window
from core.dsl.language.timers import Cron, Interval
from core.model.schedule import Cause
from core.worker.timetable import Now, Timetable

SECOND = 1_000_000_000
NOON = window.parse("2026-11-24 12:00:00")


class Clock:
    """Both clocks of a machine, as values that the test moves."""

    def __init__(self) -> None:
        self.monotonic_ns, self.wall_ns = 1000 * SECOND, NOON

    def now(self) -> Now:
        return Now(self.monotonic_ns, self.wall_ns)

    def go(self, seconds: float) -> Now:
        self.monotonic_ns += round(seconds * SECOND)
        self.wall_ns += round(seconds * SECOND)
        return self.now()


def interval(**keys: Any) -> Interval:
    return Interval.model_validate({"duration": "60s", **keys})


def test_an_interval_fires_at_once_and_then_at_equal_distances() -> None:
    clock = Clock()
    table = Timetable(interval(), "w", clock.now())
    assert table.wait(clock.now()) == 0
    assert table.fire(clock.now()) == (Cause.SCHEDULE, NOON, None, 0, 0)
    assert table.wait(clock.go(10)) == pytest.approx(50)
    assert table.wait(clock.go(50)) <= 0
    table.fire(clock.now())
    assert table.wait(clock.go(2)) == pytest.approx(58)


def test_without_block_a_firing_that_a_long_run_has_missed_is_made_up_for_once() -> None:
    clock = Clock()
    table = Timetable(interval(), "w", clock.now())
    table.wait(clock.now())
    table.fire(clock.now())
    assert table.wait(clock.go(200)) <= 0, "the firings at 60, 120 and 180 came due"
    assert table.fire(clock.now()) == (Cause.SCHEDULE, NOON + 180 * SECOND, None, 2, 0)
    assert table.wait(clock.go(1)) == pytest.approx(39), "the next one is in step again, at 240"


def test_with_block_missed_firings_are_left_out() -> None:
    clock = Clock()
    table = Timetable(interval(block=True), "w", clock.now())
    table.wait(clock.now())
    table.fire(clock.now())
    assert table.wait(clock.go(200)) == pytest.approx(40)
    assert table.wait(clock.go(40.5)) <= 0, "a wake-up that is a little late is no miss"
    assert table.fire(clock.now()) == (Cause.SCHEDULE, NOON + 240 * SECOND, None, 3, 0)


def test_an_interval_does_not_care_how_the_wall_clock_jumps() -> None:
    clock = Clock()
    table = Timetable(interval(), "w", clock.now())
    table.wait(clock.now())
    table.fire(clock.now())
    clock.wall_ns -= 86400 * SECOND
    assert table.wait(clock.go(10)) == pytest.approx(50)
    clock.wall_ns += 10 * 86400 * SECOND
    assert table.wait(clock.go(10)) == pytest.approx(40)


def test_cron_follows_a_clock_that_is_set_while_it_waits() -> None:
    clock = Clock()
    table = Timetable(Cron.model_validate("@hourly"), "w", clock.now())
    assert table.wait(clock.now()) == pytest.approx(3600)
    clock.wall_ns -= 1800 * SECOND  # set back before anything was due
    assert table.wait(clock.now()) == pytest.approx(1800)
    clock.wall_ns += 7200 * SECOND  # set forward over two firings: one is made up for
    assert table.wait(clock.now()) <= 0
    table.fire(clock.now())
    assert table.wait(clock.now()) == pytest.approx(1800)


def test_a_cron_firing_says_which_time_it_is_for_and_how_many_it_stands_for() -> None:
    clock = Clock()
    table = Timetable(Cron.model_validate("* * * * *"), "w", clock.now())
    assert table.wait(clock.now()) == pytest.approx(60)
    assert table.wait(clock.go(60.2)) <= 0
    assert table.fire(clock.now()) == (Cause.SCHEDULE, NOON + 60 * SECOND, None, 0, 0)
    assert table.wait(clock.go(190)) <= 0, "a run of 190 s"
    assert table.fire(clock.now()) == (Cause.SCHEDULE, NOON + 240 * SECOND, None, 2, 0)
    assert table.wait(clock.now()) == pytest.approx(49.8)


@given(late=st.integers(0, 999_999_999), second=st.integers(0, 10_000_000))
def test_the_time_of_a_cron_firing_is_the_second_that_its_expression_names(late: int, second: int) -> None:
    clock = Clock()
    clock.wall_ns += second * SECOND
    table = Timetable(Cron.model_validate("* * * * * *"), "w", clock.now())
    table.wait(clock.now())
    clock.wall_ns += SECOND + late
    assert table.wait(clock.now()) <= 0
    assert table.fire(clock.now()).scheduled_ns == NOON + (second + 1) * SECOND


@given(steps=st.lists(st.integers(1, 5_000_000_000), min_size=2, max_size=30), cut=st.integers(0, 50_000_000))
def test_the_times_of_an_interval_are_at_equal_distances_however_late_its_runs_begin(
    steps: list[int], cut: int
) -> None:
    clock = Clock()
    table = Timetable(interval(duration="0.7s"), "w", clock.now())
    fired = []
    for number, step in enumerate(steps):
        clock.monotonic_ns += step
        clock.wall_ns += step
        now = clock.now()._replace(wall_ns=clock.wall_ns + number % 2 * cut)  # read a little later than the other one
        if table.wait(now) <= 0:
            fired.append(table.fire(now).scheduled_ns)
    assert all((at - NOON) % (7 * SECOND // 10) == 0 for at in fired)
    assert all(a < b for a, b in itertools.pairwise(fired))


def test_an_interval_names_its_times_by_the_clock_of_the_wall_also_after_that_was_set() -> None:
    clock = Clock()
    table = Timetable(interval(), "w", clock.now())
    table.wait(clock.now())
    table.fire(clock.now())
    clock.wall_ns += 86_400 * SECOND
    table.wait(clock.go(61))
    assert table.fire(clock.now()).scheduled_ns == NOON + 86_460 * SECOND


@pytest.mark.parametrize("keys", [{"duration": "10s"}, {"expression": "*/10 * * * * *", "window": "10s"}])
def test_the_window_of_a_firing_that_begins_late_is_the_one_of_its_time(keys: dict[str, Any]) -> None:
    clock = Clock()
    timer = (Cron if "expression" in keys else Interval).model_validate({"window": {}, **keys})
    table = Timetable(timer, "w", clock.now())
    spans = []
    for late in (0.0, 7.3, 2.0, 9.9, 0.1):
        clock.go(max(0.0, table.wait(clock.now())))
        clock.go(late)
        table.wait(clock.now())
        spans.append(table.fire(clock.now()).span)
    assert all(a.end_ns == b.start_ns for a, b in itertools.pairwise(spans) if a and b), "nothing falls between two"
    assert all(span is not None and (span.end_ns - NOON) % (10 * SECOND) == 0 for span in spans)


def test_what_was_missed_is_made_up_for_in_its_order_with_its_window_and_then_the_timetable_goes_on() -> None:
    clock = Clock()
    timer = Cron.model_validate({"expression": "@hourly", "missed": "all", "catch-up": "90m", "window": "1h"})
    clock.go(600)
    table = Timetable(timer, "w", clock.now(), since_ns=NOON - 4 * 3600 * SECOND)
    assert table.missed == (2, NOON - 3 * 3600 * SECOND, NOON - 2 * 3600 * SECOND, table.missed.owed)
    seen = []
    while table.wait(clock.now()) <= 0:
        seen.append(table.fire(clock.now()))
    due = [NOON - 3600 * SECOND, NOON]
    assert [one.scheduled_ns for one in seen] == due
    assert [one.span for one in seen] == [(at - 3600 * SECOND, at) for at in due]
    assert {one.cause for one in seen} == {Cause.CATCH_UP}
    assert table.wait(clock.now()) == pytest.approx(3000)


def test_after_a_pause_the_next_time_is_the_next_one_from_then_on() -> None:
    clock = Clock()
    table = Timetable(Cron.model_validate("@hourly"), "w", clock.now())
    table.wait(clock.now())
    table.resume(clock.go(5 * 3600 + 60))
    assert table.wait(clock.now()) == pytest.approx(3540)


def test_what_somebody_asks_for_leaves_the_plan_as_it_is() -> None:
    clock = Clock()
    table = Timetable(Cron.model_validate("@hourly"), "w", clock.now())
    table.wait(clock.now())
    assert table.ordered(7, Cause.MANUAL, NOON) == (Cause.MANUAL, NOON, None, 0, 7)
    assert table.wait(clock.go(60)) == pytest.approx(3540)


@pytest.mark.parametrize("keys", [{"duration": "10s"}, {"expression": "*/10 * * * * *"}])
def test_start_and_end_bound_every_firing(keys: dict[str, str]) -> None:
    clock = Clock()
    kind = Cron if "expression" in keys else Interval
    timer = kind.model_validate({**keys, "start": "2026-11-24T12:05:00", "end": "2026-11-24T12:05:30"})
    table = Timetable(timer, "w", clock.now())
    fired: list[int] = []
    while (wait := table.wait(clock.now())) < 86_400 and len(fired) < 10:
        clock.go(max(0.0, wait))
        fired.append(table.fire(clock.now()).scheduled_ns)
    assert [(at - NOON) // SECOND for at in fired] == [300, 310, 320, 330]


def test_windows_that_follow_each_other_wait_until_they_are_over() -> None:
    clock = Clock()
    timer = Cron.model_validate(
        {"expression": "0 * * * * *", "window": {"size": "1h", "offset": "5m", "start-time": "2026-11-24 12:00:00"}}
    )
    table = Timetable(timer, "w", clock.now())
    assert table.wait(clock.now()) == pytest.approx(3900)
    clock.go(3900)
    assert table.wait(clock.now()) <= 0
    span = table.fire(clock.now()).span
    assert span == (NOON, NOON + 3600 * SECOND)
    assert span is not None
    table.succeeded(span, clock.now())
    assert table.wait(clock.now()) == pytest.approx(3600)


def test_windows_that_are_behind_follow_each_other_at_once() -> None:
    clock = Clock()
    timer = interval(window={"start-time": "2026-11-24 11:50:00", "size": "1m"}, duration="1h")
    table = Timetable(timer, "w", clock.now(), mark_ns=NOON - 180 * SECOND)
    starts = []
    while table.wait(clock.now()) <= 0:
        span = table.fire(clock.now()).span
        assert span is not None
        starts.append(span.start_ns)
        table.succeeded(span, clock.now())
    assert starts == [NOON - 180 * SECOND, NOON - 120 * SECOND, NOON - 60 * SECOND]
    assert table.wait(clock.go(120)) == pytest.approx(3600 - 120), "in step with the interval again"
    assert table.lag_seconds(clock.now()) == pytest.approx(60)


def test_a_window_whose_run_failed_is_taken_again() -> None:
    clock = Clock()
    timer = interval(window={"tracked": "/mark"})
    table = Timetable(timer, "w", clock.now())
    table.wait(clock.now())
    first = table.fire(clock.now()).span
    clock.go(61)
    table.wait(clock.now())
    assert table.fire(clock.now()).span == first


@given(
    steps=st.lists(st.tuples(st.floats(0, 500), st.booleans()), min_size=1, max_size=60),
    size=st.integers(1, 300),
    offset=st.integers(0, 100),
    every=st.integers(1, 300),
    jump=st.integers(-100_000, 100_000),
)
def test_whatever_the_runs_and_clocks_do_successful_windows_have_no_gap_and_no_overlap(
    steps: list[tuple[float, bool]], size: int, offset: int, every: int, jump: int
) -> None:
    clock = Clock()
    timer = Interval.model_validate(
        {"duration": f"{every}s", "window": {"size": f"{size}s", "offset": f"{offset}s", "tracked": "/mark"}}
    )
    table = Timetable(timer, "w", clock.now())
    done = []
    for number, (seconds, ok) in enumerate(steps):
        if number == len(steps) // 2:
            clock.wall_ns += jump * SECOND
        now = clock.go(seconds)
        if table.wait(now) > 0:
            continue
        span = table.fire(now).span
        assert span is not None
        assert span.end_ns + offset * SECOND <= now.wall_ns, "a window is over before it is taken"
        if ok:
            table.succeeded(span, now)
            done.append(span)
    assert all(a.end_ns == b.start_ns for a, b in itertools.pairwise(done))


@given(
    every=st.integers(1, 100),
    runs=st.lists(st.floats(0, 1000), min_size=1, max_size=30),
    block=st.booleans(),
    offset=st.integers(0, 50),
)
def test_an_interval_never_waits_longer_than_its_distance_and_never_fires_twice_for_one_time(
    every: int, runs: list[float], block: bool, offset: int
) -> None:
    clock = Clock()
    timer = Interval.model_validate({"duration": f"{every}s", "block": block, "random-offset": f"{offset}s"})
    table = Timetable(timer, "w", clock.now())
    clock.go(max(0.0, table.wait(clock.now())))
    assert table.wait(clock.now()) <= 0
    table.fire(clock.now())
    first, fired = clock.now().monotonic, 1
    for seconds in runs:
        wait = table.wait(clock.go(seconds))
        assert wait <= every + 1e-6
        if block:
            assert wait > 0 or seconds == 0 or abs((clock.now().monotonic - first) % every) < 1e-3
        clock.go(max(0.0, wait) + 1e-6)
        assert table.wait(clock.now()) <= 0
        table.fire(clock.now())
        fired += 1
        assert fired <= (clock.now().monotonic - first) / every + 2 + len(runs) * (not block)
