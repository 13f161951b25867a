from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core import clock
from core.dsl.language import duration
from core.dsl.language.schedule import Clocks, MessageFilter, Trigger
from core.dsl.language.timers import Cron, Interval
from core.dsl.language.window import Span
from core.model.message import Filter
from tests import cases

SECOND = clock.NANOSECONDS


def at(text: str) -> int:
    return clock.from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


@cases.table(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("1h 30m", 5400),
        ("1h30m", 5400),
        ("1.5s", 1.5),
    ],
)
def test_a_duration_is_one_or_more_numbers_with_units(text: str, seconds: float) -> None:
    assert duration.parse(text) == seconds


@cases.table("text", ["", "5", "5 minutes", "-1s", "s", "1e3s", "1s;", "9" * 70 + "s"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="as in 500ms"):
        duration.parse(text)


@pytest.mark.parametrize("form", ["60s", {"duration": "60s"}, {"duration": {"value": "60s"}}])
def test_an_interval_may_be_a_scalar_or_an_object(form: Any) -> None:
    assert Trigger.model_validate({"interval": form}).interval == Interval.model_validate("60s")


@pytest.mark.parametrize("key", ["random-offset", "random_offset"])
def test_both_spellings_of_random_offset_are_read(key: str) -> None:
    trigger = Trigger.model_validate({"interval": {"duration": "60s", key: "5s"}})
    assert trigger.interval is not None
    assert trigger.interval.random_offset == 5


def test_two_spellings_of_one_key_at_once_are_refused() -> None:
    with pytest.raises(ValidationError, match="two spellings of one key"):
        Interval.model_validate({"duration": "1m", "random-offset": "1s", "random_offset": "1s"})


@pytest.mark.parametrize("expression", ["0 * * *", "0 0 * * * * *", ""])
def test_a_cron_expression_has_five_fields_or_six(expression: str) -> None:
    with pytest.raises(ValidationError, match="five fields"):
        Cron.model_validate(expression)


def test_five_fields_mean_second_0() -> None:
    assert Cron.model_validate("*/5 * * * *").fields == Cron.model_validate("0 */5 * * * *").fields


@cases.table("expression", ["@noon", "61 * * * * *", "0 0 0 31 2 *", "x * * * * *"])
def test_a_cron_expression_that_means_nothing_is_refused(expression: str) -> None:
    with pytest.raises(ValidationError):
        Cron.model_validate(expression)


def test_cron_counts_seconds_first_and_in_utc() -> None:
    cron = Cron.model_validate("*/10 30 9 * * *")
    now = at("2026-11-24T09:30:05")
    assert cron.next_fire(now, None, now, "w") == at("2026-11-24T09:30:10")
    late = at("2026-11-24T09:31:00")
    assert cron.next_fire(now, None, late, "w") == at("2026-11-25T09:30:00")


@pytest.mark.parametrize(("shortcut", "next_"), [("@hourly", "2026-11-24T10:00:00"), ("@daily", "2026-11-25T00:00:00")])
def test_cron_shortcuts_mean_the_full_hour_and_midnight(shortcut: str, next_: str) -> None:
    now = at("2026-11-24T09:30:05")
    assert Cron.model_validate(shortcut).next_fire(now, None, now, "w") == at(next_)


def test_cron_with_immediate_fires_at_the_start_and_then_by_the_clock() -> None:
    cron = Cron.model_validate({"expression": "@hourly", "immediate": True})
    start = at("2026-11-24T09:30:00")
    assert cron.next_fire(start, None, start, "w") == start
    assert cron.next_fire(start, start, start + SECOND, "w") == at("2026-11-24T10:00:00")


def test_a_cron_firing_is_not_repeated_when_the_clock_steps_back_a_little() -> None:
    cron = Cron.model_validate("0 * * * * *")
    fired = at("2026-11-24T10:00:00")
    assert cron.next_fire(fired, fired, fired - 5 * SECOND, "w") == at("2026-11-24T10:01:00")


def test_a_clock_that_jumps_back_a_day_does_not_silence_cron_for_a_day() -> None:
    cron = Cron.model_validate("0 * * * * *")
    fired = at("2026-11-24T10:00:00")
    now = at("2026-11-23T10:00:30")
    assert cron.next_fire(fired, fired, now, "w") == at("2026-11-23T10:01:00")


def test_an_interval_fires_at_once_and_then_at_equal_distances_from_the_start() -> None:
    interval = Interval.model_validate("10s")
    assert interval.next_fire(100, None, 100, "w") == 100
    assert interval.next_fire(100, 100, 3 * SECOND, "w") == 100 + 10 * SECOND
    assert interval.next_fire(100, 100 + 10 * SECOND, 11 * SECOND, "w") == 100 + 20 * SECOND


def test_an_interval_skips_firings_that_a_slow_run_has_missed() -> None:
    assert Interval.model_validate("10s").next_fire(7, 7 + 10 * SECOND, 47 * SECOND, "w") == 7 + 50 * SECOND


@given(
    every=st.floats(0.001, 1e5),
    started=st.integers(0, 10**18),
    last_steps=st.integers(0, 1000),
    late=st.integers(0, 10**15),
    offset=st.floats(0, 100),
)
def test_the_next_interval_firing_is_after_the_last_and_never_two_intervals_ahead_of_now(
    every: float, started: int, last_steps: int, late: int, offset: float
) -> None:
    interval = Interval(**{"duration": every, "random-offset": offset})
    first = interval.next_fire(started, None, started, "w")
    last = first + last_steps * interval.every_ns
    now = last + late
    due = interval.next_fire(started, last, now, "w")
    assert last < due <= now + interval.every_ns
    assert (due - first) % interval.every_ns == 0, "no firing drifts, however long it has gone on"


def test_a_random_offset_is_kept_by_a_workload_and_differs_between_workloads() -> None:
    interval = Interval.model_validate({"duration": "1h", "random-offset": "10m"})
    offsets = [interval.next_fire(0, None, 0, f"job.{n}") for n in range(20)]
    assert offsets == [interval.next_fire(0, None, 0, f"job.{n}") for n in range(20)]
    assert len(set(offsets)) == 20
    assert all(0 <= offset < 600 * SECOND for offset in offsets)


def test_a_message_trigger_becomes_a_filter_of_the_bus() -> None:
    trigger = Trigger.model_validate(
        {"message": {"filter-kind": "user", "filter-type": ["user-generated"], "filter-tag": "smoke.invoke"}}
    )
    assert trigger.message is not None
    assert trigger.timer is None
    assert trigger.message.filter() == Filter("user", ("user-generated",), "smoke.invoke")


def test_the_older_words_for_the_sources_of_messages_are_read() -> None:
    trigger = Trigger.model_validate({"message": {"filter-source": ["server", "agent", "pipe"]}})
    assert trigger.message is not None
    assert trigger.message.filter().sources == ("server", "worker", "job")


@cases.table(
    ("body", "told"),
    [
        ({}, "exactly one"),
        ({"interval": "1s", "cron": "@hourly"}, "exactly one"),
        ({"message": {"filter-kind": "robot"}}, "there is no kind robot"),
        ({"message": {"filter-source": ["moon"]}}, "there is no source moon"),
        ({"cron": {"expression": "@hourly", "window": {"offset": "1m"}}}, "needs a size"),
        ({"interval": {"duration": "1m", "window": {"size": "0s"}}}, "at least 1ms"),
        ({"interval": {"duration": "1m", "window": {"start-time": "yesterday"}}}, "YYYY-MM-DD HH:MM:SS"),
        ({"interval": {"duration": "1m", "window": {"tracked": "/a", "start": {"tracked": "/b"}}}}, "either"),
        ({"interval": "0s"}, "at least 1ms"),
        ({"interval": 60}, "with a unit"),
        ({"cron": {"expression": "@hourly", "time-zone": "Berlin"}}, "there is no time zone Berlin"),
        ({"cron": {"expression": "@hourly", "time-zone": "../UTC"}}, "there is no time zone"),
        ({"cron": {"expression": "@hourly", "catch-up": "9s"}}, "10"),
        ({"cron": {"expression": "@hourly", "catch-up": "31d"}}, "2592000"),
        ({"cron": {"expression": "@hourly", "pause-on-failure": 0}}, "1"),
        ({"cron": {"expression": "@hourly", "missed": "some"}}, "'skip', 'last' or 'all'"),
        ({"interval": {"duration": "1m", "overlap": "wait-one", "block": True}}, "keep one of the two"),
        ({"interval": {"duration": "1h", "overlap": "cancel", "window": {"tracked": "/a"}}}, "taken to their end"),
        ({"interval": {"duration": "1m", "time-zone": "UTC"}}, "time-zone"),
        ({"interval": {"duration": "1m", "start": "soon"}}, "is not a time"),
        ({"interval": {"duration": "1m", "start": "2026-02-01", "end": "2026-01-01"}}, "start lies before end"),
    ],
)
def test_a_wrong_trigger_says_what_is_wrong(body: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Trigger.model_validate(body)


@pytest.mark.parametrize(
    "body", [{"interval": "5m"}, {"interval": {"duration": "5m", "random_offset": "1s"}}, {"cron": "@daily"}]
)
def test_the_published_schema_accepts_the_forms_that_the_model_accepts(body: dict[str, Any]) -> None:
    assert jsonschema.Draft202012Validator(Trigger.model_json_schema()).is_valid(body)


def test_the_clocks_of_a_run_are_seconds_milliseconds_and_iso_times() -> None:
    clocks = Clocks(1_739_370_000_123_000_000)
    assert clocks.get("now_time_secs") == 1_739_370_000
    assert clocks.get("start_time_ms") == 1_739_370_000_123
    assert clocks.get("end_time_iso") == clock.iso(1_739_370_000_123_000_000)
    assert clocks.get("nonsense", "?") == "?"


def test_the_clocks_of_a_window_are_its_two_ends() -> None:
    second = 1_000_000_000
    clocks = Clocks(100 * second, Span(10 * second, 70 * second))
    assert (clocks.get("now_time_secs"), clocks.get("start_time_secs"), clocks.get("end_time_secs")) == (100, 10, 70)
    assert clocks.get("start_time_iso") == "1970-01-01T00:00:10.000Z"


@pytest.mark.parametrize("plural", [False, True])
def test_every_filter_takes_one_value_or_several(plural: bool) -> None:
    keys = {"kind": "user", "type": "user-alert", "tag": "t", "source": "job", "job": "j", "worker": "w"}
    body = {f"filter-{key}{'s' * plural}": [value] if plural else value for key, value in keys.items()}
    one = Filter("user", ("user-alert",), "t", ("job",), "j", "w")
    assert MessageFilter.model_validate(body).filter() == one
    several = MessageFilter.model_validate({"filter-tag": ["a", "b"], "filter-kind": ["user", "system"]})
    assert several.filter() == Filter(("user", "system"), (), ("a", "b"))
    assert MessageFilter.model_validate({"filter-tag": ""}).filter() == Filter()
