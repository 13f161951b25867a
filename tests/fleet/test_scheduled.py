"""Whether a job runs at its times, and what is measured of its schedule."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from core.dsl.language.timers import Cron, Interval
from core.fleet import scheduled
from core.fleet.scheduled import LATE_NS, Scheduled
from core.model.schedule import Schedule

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
NOON = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()) * SECOND


def hourly(**keys: Any) -> Scheduled:
    timer = Cron.model_validate({"expression": "@hourly", "time-zone": "Asia/Tokyo", **keys})
    return Scheduled(timer, "t/j#0", 0, "", 1)


def at_noon(**values: Any) -> Schedule:
    return Schedule("t", "j", "x", **{"settled_ns": NOON, "last_ns": NOON, **values})


def test_who_ran_at_the_last_time_is_on_time_until_the_next_one_is_late() -> None:
    assert scheduled.punctuality(at_noon(), hourly(), NOON + HOUR + LATE_NS, under_way=False).on_time is True
    late = scheduled.punctuality(at_noon(), hourly(), NOON + HOUR + LATE_NS + 1, under_way=False)
    assert (late.on_time, late.code, late.since_ns) == (False, "late", NOON + HOUR)
    assert "2026-11-24T13:00" in late.message


@pytest.mark.parametrize("overlap", ["wait-one", "skip", "cancel"])
def test_a_run_that_hangs_makes_the_firing_late_that_it_holds_up(overlap: str) -> None:
    timer = hourly(overlap=overlap)
    due = NOON + HOUR
    for now, on_time in ((due - 1, True), (due + LATE_NS, True), (due + LATE_NS + 1, False), (due + 9 * HOUR, False)):
        found = scheduled.punctuality(at_noon(), timer, now, under_way=True)
        assert found.on_time is on_time, now
    assert (found.code, found.since_ns) == ("late", due)
    assert "2026-11-24T13:00" in found.message and "a run is still under way" in found.message


def test_the_next_firing_is_the_oldest_one_that_was_not_made() -> None:
    def following(now: int, *, under_way: bool) -> float:
        return scheduled.figures(at_noon(), hourly(), now, under_way=under_way)["next"]

    assert following(NOON + 1, under_way=False) == (NOON + HOUR) / SECOND
    for under_way in (True, False):
        assert following(NOON + 5 * HOUR, under_way=under_way) == (NOON + HOUR) / SECOND


def test_firings_that_a_run_keeps_from_being_made_are_counted_while_it_lasts() -> None:
    now = NOON + 3 * HOUR + 1
    due = [NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR]
    assert scheduled.overlapped(at_noon(), hourly(), now) == due[:-1], "the last one waits for the end of the run"
    assert scheduled.overlapped(at_noon(), hourly(overlap="skip"), now) == due
    assert scheduled.overlapped(at_noon(paused_at_ns=NOON), hourly(), now) == []


def test_a_miss_stands_until_a_firing_runs_in_its_time() -> None:
    missed = at_noon(missed=5, missed_since=2, missed_at_ns=NOON - HOUR)
    found = scheduled.punctuality(missed, hourly(), NOON, under_way=False)
    assert (found.on_time, found.code, found.missed, found.since_ns) == (False, "missed", 2, NOON - HOUR)
    assert "2 firings were missed" in found.message
    assert scheduled.punctuality(at_noon(missed=5), hourly(), NOON, under_way=False).on_time is True


def test_of_what_is_paused_it_cannot_be_known() -> None:
    paused = at_noon(paused_at_ns=NOON, paused_by="ada", missed_since=1)
    found = scheduled.punctuality(paused, hourly(), NOON + 99 * HOUR, under_way=False)
    assert (found.on_time, found.code) == (None, "paused")
    assert scheduled.upcoming(paused, hourly(), NOON, 5) == []
    assert scheduled.figures(paused, hourly(), NOON, under_way=False)["paused"] == 1


def test_windows_that_follow_each_other_are_never_late() -> None:
    sequence = hourly(window={"size": "1h", "start-time": "2026-11-01 00:00:00"})
    assert scheduled.punctuality(at_noon(), sequence, NOON + 99 * HOUR, under_way=False).on_time is True


def test_a_run_that_hangs_makes_the_next_of_such_windows_late_once_it_is_over() -> None:
    sequence = hourly(window={"size": "6h", "offset": "5m", "start-time": "2026-11-01 00:00:00"})
    over = NOON + 7 * HOUR + LATE_NS  # the firing of 13:00, with its window and its offset
    assert scheduled.punctuality(at_noon(), sequence, over + LATE_NS, under_way=True).on_time is True
    assert scheduled.punctuality(at_noon(), sequence, over + LATE_NS + 1, under_way=True).code == "late"


def test_after_its_end_nothing_is_due_and_nothing_late() -> None:
    over = hourly(end="2026-11-24T12:30:00Z")
    assert scheduled.upcoming(at_noon(), over, NOON, 1) == []
    assert scheduled.punctuality(at_noon(), over, NOON + 99 * HOUR, under_way=False).on_time is True


def test_the_next_times_are_told_in_the_zone_and_those_of_an_interval_from_the_last() -> None:
    told = scheduled.brief(at_noon(), hourly(), NOON + 60 * SECOND)
    assert told == {
        "next": "2026-11-24T22:00:00.000+09:00",
        "last": "2026-11-24T21:00:00.000+09:00",
        "paused": False,
    }
    each = Scheduled(Interval.model_validate("10m"), "t/j#0", 0, "", 1)
    assert scheduled.upcoming(at_noon(), each, NOON + 601 * SECOND, 2) == [NOON + 1200 * SECOND, NOON + 1800 * SECOND]


def test_only_where_a_restart_needs_it_is_each_run_written_at_once() -> None:
    def lazily(timer: Any) -> bool:
        return Scheduled(timer, "t/j#0", 0, "", 1).kept_lazily

    assert lazily(hourly(window={"size": "1h", "start-time": "2026-11-01 00:00:00"}).timer)
    assert not lazily(Interval.model_validate("10m"))
    assert not lazily(Interval.model_validate({"duration": "10m", "missed": "all"}))
    assert not lazily(Interval.model_validate({"duration": "10m", "immediate": False}))
    assert not lazily(hourly().timer)
