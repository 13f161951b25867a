"""Which firings lie in a stretch of time, and what is made up for of those that were missed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.dsl.language import firings
from core.dsl.language.timers import Cron, Interval, Timer

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
NOON = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()) * SECOND


def cron(expression: str, **keys: Any) -> Cron:
    return Cron.model_validate({"expression": expression, **keys})


def interval(duration: str, **keys: Any) -> Interval:
    return Interval.model_validate({"duration": duration, **keys})


def test_by_default_what_was_missed_is_left_out_and_counted() -> None:
    found = firings.missed(cron("@hourly"), NOON - 3 * HOUR, NOON + 60 * SECOND, "w")
    assert found == (3, NOON - 2 * HOUR, NOON, ())


def test_the_last_one_is_made_up_for_within_the_catch_up() -> None:
    timer = cron("@hourly", missed="last")
    assert firings.missed(timer, NOON - 3 * HOUR, NOON + 60 * SECOND, "w").owed == (NOON,)
    assert firings.missed(cron("@daily", missed="last"), NOON - 48 * HOUR, NOON, "w").owed == ()


def test_all_that_lie_within_the_catch_up_are_made_up_for_the_oldest_first() -> None:
    found = firings.missed(cron("@hourly", missed="all", **{"catch-up": "2h"}), NOON - 9 * HOUR, NOON, "w")
    assert found.owed == (NOON - 2 * HOUR, NOON - HOUR, NOON)
    assert (found.left_out, found.first_ns, found.last_ns) == (6, NOON - 8 * HOUR, NOON - 3 * HOUR)


def test_of_thousands_the_newest_hundred_are_made_up_for_and_it_does_not_get_stuck() -> None:
    timer = cron("* * * * * *", missed="all", **{"catch-up": "30d"})
    found = firings.missed(timer, NOON - 24 * HOUR, NOON, "w")
    assert found.owed == tuple(range(NOON - 99 * SECOND, NOON + 1, SECOND))
    assert found.left_out == firings.MOST_COUNTED - 100


def test_an_interval_that_fires_at_its_start_makes_up_for_the_last_one_by_that() -> None:
    for policy in ("skip", "last"):
        found = firings.missed(interval("1h", missed=policy), NOON - 3 * HOUR, NOON, "w")
        assert found == firings.Missed(2, NOON - 2 * HOUR, NOON - HOUR), "the others are told"
    brief = firings.missed(interval("50ms"), NOON - firings.START_NS + 1, NOON, "w")
    assert brief == firings.Missed(), "to be deployed is no outage"
    assert firings.missed(interval("1h", missed="all"), NOON - 3 * HOUR, NOON, "w").owed == (NOON - HOUR,)
    assert firings.missed(interval("1h", immediate=False), NOON - 3 * HOUR, NOON, "w").left_out == 3


def test_windows_that_follow_each_other_are_all_taken_so_that_nothing_is_missed() -> None:
    timer = cron("@hourly", window={"size": "1h", "start-time": "2026-11-01 00:00:00"})
    assert firings.missed(timer, NOON - 9 * HOUR, NOON, "w") == firings.Missed()


def test_a_stretch_has_its_beginning_and_not_its_end() -> None:
    times = firings.within(cron("@hourly"), NOON, NOON + 3 * HOUR, 500, "w")
    assert times == [NOON, NOON + HOUR, NOON + 2 * HOUR]
    late = NOON + 5 * SECOND
    assert firings.within(interval("1h"), late, late + 2 * HOUR, 500, "w") == [late, late + HOUR]
    assert len(firings.within(cron("* * * * * *"), NOON, NOON + 24 * HOUR, 500, "w")) == 501


def test_what_comes_due_in_a_pause_is_made_up_for_only_when_that_is_asked_for() -> None:
    assert firings.paused(cron("@hourly", missed="all"), NOON - 5 * HOUR, NOON, "skip", "w").owed == ()
    assert firings.paused(cron("@hourly"), NOON - 500 * HOUR, NOON, "last", "w").owed == (NOON,)
    assert len(firings.paused(cron("@hourly"), NOON - 500 * HOUR, NOON, "all", "w").owed) == 100


TIMERS = st.sampled_from(
    [
        *(cron("30 2 * * *", **{"time-zone": "Europe/Berlin"}), cron("*/7 * * * *"), cron("*/20 * * * * *")),
        *(cron("0 6 L * *"), cron("@hourly", **{"random-offset": "10m"}), interval("90s", immediate=False)),
    ]
)
POLICIES = st.sampled_from(["skip", "last", "all"])


@given(timer=TIMERS, policy=POLICIES, away=st.integers(1, 40 * 86_400), catch_up=st.integers(10, 30 * 86_400))
def test_each_missed_firing_is_left_out_or_made_up_for_and_none_is_made_up_for_too_late(
    timer: Timer, policy: str, away: int, catch_up: int
) -> None:
    told = timer.model_copy(update={"missed": policy, "catch_up": float(catch_up)})
    since = NOON - away * SECOND
    found = firings.missed(told, since, NOON, "w")
    every = firings.newest(timer, since, NOON, firings.MOST_COUNTED, "w")
    assert found.left_out + len(found.owed) == len(every)
    assert every[found.left_out :] == list(found.owed)
    assert all(since < at <= NOON and NOON - at <= catch_up * SECOND for at in found.owed)
    assert len(found.owed) <= {"skip": 0, "last": 1, "all": 100}[policy]
    if found.left_out:
        assert (found.first_ns, found.last_ns) == (every[0], every[found.left_out - 1])


@given(timer=TIMERS, back=st.integers(1, 20_000), most=st.integers(1, 50))
def test_the_newest_are_the_last_of_all(timer: Timer, back: int, most: int) -> None:
    since = NOON - back * SECOND
    every = firings.newest(timer, since, NOON, 10**9, "w")
    assert firings.newest(timer, since, NOON, most, "w") == every[-most:]
