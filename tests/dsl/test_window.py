from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.dsl.language import window
from core.dsl.language.schedule import Trigger
from core.dsl.language.timers import Cron, Interval
from core.dsl.language.window import Window

SECOND = 1_000_000_000
NOON = window.parse("2026-11-24 12:00:00")


def test_a_window_without_a_start_ends_at_the_firing_and_the_offset_shifts_both_ends_back() -> None:
    plain = Window.model_validate({"size": "1h"})
    assert plain.sliding(NOON) == (NOON - 3600 * SECOND, NOON)
    assert not plain.sequenced
    late = Window.model_validate({"size": "1h", "offset": "5m"})
    assert late.sliding(NOON) == (NOON - 3900 * SECOND, NOON - 300 * SECOND)


def test_the_size_defaults_to_the_interval() -> None:
    interval = Interval.model_validate({"duration": "10m", "window": {"offset": "1m"}})
    assert interval.window is not None
    assert interval.window.size == 600


@pytest.mark.parametrize(
    "body",
    [
        {"size": "1h", "start-time": "2026-11-24 12:00:00"},
        {"size": "1h", "start_time": "2026-11-24 12:00:00"},
        {"size": "1h", "start": {"start-time": "2026-11-24 12:00:00"}},
        {"size": "1h", "start": "2026-11-24 12:00:00"},
    ],
)
def test_every_form_of_a_start_is_read_and_in_the_published_schema(body: dict[str, Any]) -> None:
    cron = Cron.model_validate({"expression": "@hourly", "window": body})
    assert cron.window is not None
    assert cron.window.sequenced
    assert cron.window.first_mark(0) == NOON
    schema = jsonschema.Draft202012Validator(Trigger.model_json_schema())
    assert schema.is_valid({"cron": {"expression": "@hourly", "window": body}})


def test_a_tracked_window_without_a_place_begins_so_that_one_whole_window_is_over() -> None:
    tracked = Window.model_validate({"size": "1m", "offset": "10s", "tracked": "/var/mark"})
    now = NOON + 70 * SECOND + 123
    mark = tracked.first_mark(now)
    assert mark == NOON
    assert tracked.ready_ns(mark) <= now


@pytest.mark.parametrize(
    "text", ["2026-11-24", "2026-11-24T12:00:00", "2026-13-01 00:00:00", "2026-11-24 12:00:00.x", "now", ""]
)
def test_a_time_in_another_form_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM-DD HH:MM:SS"):
        window.parse(text)


def test_a_wrong_start_time_is_told_when_the_document_is_checked() -> None:
    with pytest.raises(ValidationError, match="YYYY-MM-DD HH:MM:SS"):
        Window.model_validate({"size": "1h", "start": {"start-time": "24.11.2026"}})


@given(st.integers(0, 4_000_000_000 * SECOND))
def test_a_rendered_time_is_read_back_to_the_nanosecond(ns: int) -> None:
    assert window.parse(window.render(ns)) == ns
