"""Cron in the time of a place, above all in the two nights of a year in which its clocks change."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import clock
from core.dsl.language import cron
from tests import cases

SECOND = clock.NANOSECONDS


class Night(NamedTuple):
    """A night in which the clocks of a place change: at `at` (UTC), from one offset to another."""

    zone: str
    at: str
    gap: int
    """Minutes that are left out; negative: that come twice."""


SPRING = [
    Night("Europe/Berlin", "2026-03-29T01:00", 60),
    Night("America/New_York", "2026-03-08T07:00", 60),
    Night("Australia/Lord_Howe", "2026-10-03T15:30", 30),
    Night("America/Havana", "2025-03-09T05:00", 60),
]
AUTUMN = [
    Night("Europe/Berlin", "2026-10-25T01:00", -60),
    Night("America/New_York", "2026-11-01T06:00", -60),
    Night("Australia/Lord_Howe", "2026-04-04T15:00", -30),
    Night("America/Havana", "2025-11-02T05:00", -60),  # a year whose rules do not change any more
]


def told(expression: str, zone: str, since: datetime, count: int = 3) -> list[str]:
    found = cron.times(cron.fields_of(expression), cron.zone_of(zone), clock.from_datetime(since))
    place = ZoneInfo(zone)
    return [f"{datetime.fromtimestamp(at // SECOND, place):%d %H:%M:%S %z}" for at in itertools.islice(found, count)]


def change(night: Night) -> datetime:
    return datetime.fromisoformat(night.at).replace(tzinfo=UTC)


def between(expression: str, night: Night, before: timedelta, after: timedelta) -> list[datetime]:
    """The firings around the change of a night, as times of its place."""
    zone, at = cron.zone_of(night.zone), change(night)
    end = clock.from_datetime(at + after)
    found = cron.times(cron.fields_of(expression), zone, clock.from_datetime(at - before))
    return [datetime.fromtimestamp(one // SECOND, zone) for one in itertools.takewhile(lambda one: one <= end, found)]


@cases.table("night", [*SPRING, *AUTUMN], ids=lambda night: f"{night.zone} {night.gap}")
def test_the_nights_are_what_they_are_taken_for(night: Night) -> None:
    at, place = change(night), ZoneInfo(night.zone)
    before, after = (at - timedelta(minutes=1)).astimezone(place), (at + timedelta(minutes=1)).astimezone(place)
    assert after.utcoffset() - before.utcoffset() == timedelta(minutes=night.gap)  # type: ignore[operator]


@cases.table("night", SPRING, ids=lambda night: night.zone)
def test_a_time_in_the_gap_fires_once_when_the_gap_ends(night: Night) -> None:
    end = change(night).astimezone(ZoneInfo(night.zone))
    inside = end - timedelta(minutes=night.gap / 2)  # a time of the wall that no clock shows
    for seconds in ("", "0 ", "30 "):
        found = between(
            f"{seconds}{inside.minute} {inside.hour} * * *", night, timedelta(hours=20), timedelta(hours=20)
        )
        assert [one.replace(second=0) for one in found] == [end]


@cases.table("night", SPRING, ids=lambda night: night.zone)
def test_two_times_in_the_gap_come_together(night: Night) -> None:
    end = change(night).astimezone(ZoneInfo(night.zone))
    minutes = sorted({(end - timedelta(minutes=back)).minute for back in (10, 20)})
    hour = (end - timedelta(minutes=10)).hour
    listed = ",".join(map(str, minutes))
    assert between(f"{listed} {hour} * * *", night, timedelta(hours=20), timedelta(hours=20)) == [end]


@cases.table("night", AUTUMN, ids=lambda night: night.zone)
def test_a_time_that_comes_twice_fires_the_first_time(night: Night) -> None:
    first = (change(night) + timedelta(minutes=night.gap / 2)).astimezone(ZoneInfo(night.zone))
    found = between(f"{first.minute} {first.hour} * * *", night, timedelta(hours=20), timedelta(hours=20))
    assert [one.astimezone(UTC) for one in found] == [first.astimezone(UTC)]


@cases.table("night", AUTUMN, ids=lambda night: night.zone)
def test_whoever_looks_between_the_two_passes_finds_no_time_of_the_first(night: Night) -> None:
    """A worker that starts then, or thinks its plan over, must not fire for a time that has passed."""
    second = change(night) + timedelta(minutes=1)
    first = (change(night) + timedelta(minutes=night.gap / 2)).astimezone(ZoneInfo(night.zone))
    (found,) = itertools.islice(
        cron.times(
            cron.fields_of(f"{first.minute} {first.hour} * * *"), cron.zone_of(night.zone), clock.from_datetime(second)
        ),
        1,
    )
    assert found - clock.from_datetime(second) > 20 * 3600 * SECOND


@cases.table("night", [*SPRING, *AUTUMN], ids=lambda night: f"{night.zone} {night.gap}")
def test_every_quarter_of_an_hour_is_every_quarter_of_an_hour_that_there_is(night: Night) -> None:
    found = between("*/15 * * * *", night, timedelta(hours=3), timedelta(hours=3))
    assert len(found) == 24
    assert {(b.timestamp() - a.timestamp()) for a, b in itertools.pairwise(found)} == {900}


def test_the_rules_in_words() -> None:
    march, october = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)
    berlin = "Europe/Berlin"
    assert told("30 2 * * *", berlin, march, 2) == ["29 03:00:00 +0200", "30 02:30:00 +0200"]
    assert told("0,30 2 * * *", berlin, march, 2) == ["29 03:00:00 +0200", "30 02:00:00 +0200"]
    assert told("*/20 2 * * *", berlin, march, 1) == ["30 02:00:00 +0200"]
    assert told("30 2 * * *", berlin, october, 2) == ["25 02:30:00 +0200", "26 02:30:00 +0100"]
    assert told("30 2-3 * * *", berlin, october, 2) == ["25 02:30:00 +0200", "25 03:30:00 +0100"]
    assert told("*/30 2 * * *", berlin, october, 4) == [
        *("25 02:00:00 +0200", "25 02:30:00 +0200", "25 02:00:00 +0100", "25 02:30:00 +0100")
    ]


def test_a_day_and_a_weekday_are_either_unless_one_begins_with_a_star() -> None:
    monday = datetime(2026, 6, 1, tzinfo=UTC) - timedelta(seconds=1)  # the first is a Monday
    assert [one[:2] for one in told("0 6 3 * MON", "UTC", monday, 4)] == ["01", "03", "08", "15"]
    assert [one[:2] for one in told("0 6 * * 1", "UTC", monday, 3)] == ["01", "08", "15"]
    assert [one[:2] for one in told("0 6 */2 * 1", "UTC", monday, 3)] == ["01", "15", "29"]
    assert told("0 6 * * 0", "UTC", monday, 2) == told("0 6 * * 7", "UTC", monday, 2)


@cases.table("expression", ["0 0 15W * *", "0 0 ? * *", "@reboot", "TZ=UTC 0 0 * * *", "0 0 30 2 *", "a b c d e"])
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"cron expression|never comes true|shortcut"):
        cron.fields_of(expression)


@cases.table(
    ("expression", "why"),
    [
        ("30 2 31 2 *", "never comes true: none of its months has such a day"),
        ("0 0 31 4,6 *", "never comes true: none of its months has such a day"),
        ("0 0 x 2 *", "cannot read the day-of-month"),
        ("0 0 31 13 *", "month 13 is not from 1 to 12"),
    ],
)
def test_a_day_that_its_months_lack_is_told_apart_from_one_that_cannot_be_read(expression: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        cron.fields_of(expression)


@cases.table("name", ["localtime", "posixrules", "right/Europe/Berlin", "posix/Europe/Berlin", "nowhere"])
def test_a_zone_that_is_another_one_on_the_next_machine_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"there is no time zone {name}"):
        cron.zone_of(name)


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana"])
FIXED = st.tuples(st.integers(0, 59), st.integers(0, 59), st.integers(0, 23)).map(
    lambda t: f"{t[0]} {t[1]} {t[2]} * * *"
)
ANY = FIXED | st.sampled_from(
    ["*/10 * * * *", "0 * * * *", "15,45 */3 * * *", "*/20 2 * * *", "0 0 L * *", "30 1 * * SUN"]
)
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)).map(
    lambda at: clock.from_datetime(at.replace(tzinfo=UTC))
)


def test_no_time_is_left_out_after_a_night_in_which_clocks_are_set_back_by_half_an_hour() -> None:
    place = cron.zone_of("Australia/Lord_Howe")
    since = clock.from_datetime(datetime(2025, 4, 5, 12, 0, tzinfo=UTC))
    found = itertools.islice(cron.times("0 15,45 */3 * * *", place, since), 4)
    local = [datetime.fromtimestamp(at // clock.NANOSECONDS, place).strftime("%H:%M") for at in found]
    assert local == ["00:15", "00:45", "03:15", "03:45"]


@given(expression=ANY, zone=ZONES, since=MOMENTS)
def test_times_ascend_and_are_the_same_wherever_one_begins_to_look(expression: str, zone: str, since: int) -> None:
    fields, place = cron.fields_of(expression), cron.zone_of(zone)
    found = list(itertools.islice(cron.times(fields, place, since), 8))
    assert found[0] > since
    assert all(a < b for a, b in itertools.pairwise(found))
    for before, after in itertools.pairwise([since, *found]):
        middle = (before + after) // 2
        assert next(cron.times(fields, place, before)) == after
        assert next(cron.times(fields, place, middle)) == after


@given(expression=FIXED, zone=ZONES, since=MOMENTS)
def test_a_time_of_the_day_fires_once_on_each_day(expression: str, zone: str, since: int) -> None:
    """The rule for both nights: each day of the place has one firing, no more and no fewer."""
    place = cron.zone_of(zone)
    found = list(itertools.islice(cron.times(cron.fields_of(expression), place, since), 12))
    days = [datetime.fromtimestamp(at // SECOND, place).date() for at in found]
    assert [b - a for a, b in itertools.pairwise(days)] == [timedelta(days=1)] * 11
