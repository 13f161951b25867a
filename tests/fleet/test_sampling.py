"""Series of workloads: differences, rings, rates."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import clock, errors
from core.fleet import sampling
from core.fleet.sampling import Sampler, Totals
from core.store import series
from core.store.series import Amounts, Subject
from tests import waiting
from tests.engines import ADMIN, USER, deploy, engine_on

pytestmark = pytest.mark.anyio
LOAD = Subject("acme", "load#0", "load", "etl")
HOUR = 1_000_000_800  # an hour begins here
TICK = """
name: ticker
input: {echo: {trigger: {interval: {duration: 50ms}}, event: tick}}
output: {discard: {}}
"""


def figures(events: int, lag: float = 0.0) -> Iterator[tuple[Subject, dict[str, float]]]:
    yield LOAD, {"events_in": events, "lag_seconds": lag}


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30))
def test_what_is_noted_is_what_was_done_since_the_first_look(grown: list[int]) -> None:
    totals, total, noted = Totals(), 0, 0
    totals.since_last(figures(7))
    for number in grown:
        total += number
        noted += totals.since_last(figures(7 + total))[LOAD][0].events_in
    assert noted == total


def test_totals_that_begin_anew_are_counted_from_zero() -> None:
    totals = Totals()
    totals.since_last(figures(100))
    assert totals.since_last(figures(5))[LOAD][0] == Amounts(events_in=5)


def test_a_tenant_is_the_sum_of_its_workloads_and_lags_like_the_worst() -> None:
    totals = Totals()
    other = Subject("acme", "load#1", "load", "etl")
    for events in (0, 10):
        done = totals.since_last([(LOAD, {"events_in": events, "lag_seconds": 3.0}), (other, {"events_in": events})])
    assert done[Subject("acme")] == (Amounts(events_in=20), 3.0)


def test_workloads_that_are_too_many_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "MOST_WORKLOADS", 1)
    totals = Totals()
    totals.since_last([(LOAD, {}), (Subject("acme", "other#0"), {}), (Subject("acme", "third#0"), {})])
    assert totals.left_out == 2


def test_slots_add_up_in_every_ring_and_are_written_over(tmp_path: Path) -> None:
    with contextlib.closing(series.connect(tmp_path / "series.db")) as db:
        for number in range(1, 13):  # two minutes
            series.add(db, HOUR + 10 * number, 10.0, {LOAD: (Amounts(events_in=number), float(number % 4))})
        (subject,) = series.find(db, "acme", "etl")
        tens = series.read(db, [subject], 0, HOUR, HOUR + 120)
        assert [slot.amounts.events_in for slot in tens] == list(range(1, 13))
        minutes = series.read(db, [subject], 1, HOUR, HOUR + 120)
        assert [(slot.start, slot.covered, slot.amounts.events_in, slot.lag_seconds) for slot in minutes] == [
            (HOUR, 60.0, 21, 3.0),
            (HOUR + 60, 60.0, 57, 3.0),
        ]
        series.add(
            db, HOUR + 3610, 10.0, {LOAD: (Amounts(events_in=99), 0.0)}
        )  # the place of the first slot, an hour later
        assert [slot.start for slot in series.read(db, [subject], 0, HOUR, HOUR + 20)] == [HOUR + 10]
        assert series.read(db, [subject], 0, HOUR + 3600, HOUR + 3610)[0].amounts.events_in == 99
        assert series.forget(db, HOUR + 3611) == 1
        assert series.find(db, "acme", "load") == []


def test_what_nobody_saw_is_a_gap_and_a_rate_is_of_what_was_seen() -> None:
    slots = [series.Slot(HOUR, 5.0, 1.0, Amounts(events_in=10)), series.Slot(HOUR + 20, 10.0, 0.0, Amounts())]
    found = sampling.rates(slots, 10, HOUR, HOUR + 30)
    assert found["events_in"] == [2.0, None, 0.0]
    assert found["lag_seconds"] == [1.0, None, 0.0]


@pytest.mark.parametrize(
    ("back", "points", "ring", "step"),
    [
        *((600, 61, 10, 10), (3600, 61, 10, 60), (3600, 500, 10, 10), (86_400, 100, 60, 900), (86_400, 500, 60, 180)),
        *((7 * 86_400, 100, 300, 6300), (90 * 86_400, 500, 3600, 5 * 3600), (400 * 86_400, 500, 3600, 20 * 3600)),
    ],
)
def test_the_finest_ring_that_reaches_back_is_read_and_its_slots_put_together(
    back: int, points: int, ring: int, step: int
) -> None:
    now = HOUR + 1230
    found = series.grid_for(now - back, now, now, points)
    assert (series.RINGS[found.ring].step, found.step) == (ring, step)


@given(back=st.integers(0, 90 * 86_400), points=st.integers(1, 500), length=st.integers(0, 90 * 86_400))
def test_a_stretch_is_covered_from_its_begin_to_its_end_by_no_more_points_than_were_asked_for(
    back: int, points: int, length: int
) -> None:
    now = HOUR + 1230
    since, until = now - back, min(now, now - back + length)
    ring, step, first = series.grid_for(since, until, now, points)
    assert step % series.RINGS[ring].step == 0
    assert first <= since < first + step
    assert len(range(first, until, step)) <= points
    assert points == 1 or first % step == 0, "the same time is in the same point at each look"


def test_slots_that_are_put_together_add_up() -> None:
    slots = [series.Slot(HOUR + 60 * at, 60.0, float(at), Amounts(events_in=60 * at)) for at in range(1, 5) if at != 3]
    found = sampling.rates(slots, 120, HOUR, HOUR + 300)
    assert found["events_in"] == [1.0, 2.0, 4.0], "also the one that is not over"
    assert found["lag_seconds"] == [1.0, 2.0, 4.0]


async def test_a_job_that_runs_has_a_series(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, TICK)
        await waiting.until(lambda: any(told.get("events_in", 0) > 3 for _, told in engine.fleet.figures()))
        at = clock.now_ns() // clock.NANOSECONDS

        async def noted() -> dict[str, Any] | None:
            await engine.sampler.sample(at - 10)  # the loop of the engine looks as well, and notes it in a slot of now
            found = await engine.call("series_get", {"of": "ticker", "since": "2m"}, USER)
            return found if any(found["rates"]["events_in"]) else None

        found = await waiting.until(noted)
        assert found is not None
        assert found["step_seconds"] == 10
        whole = await engine.call("series_get", {"since": "2m"}, ADMIN)
        assert any(rate for rate in whole["rates"]["events_in"])
        with pytest.raises(errors.NotFound, match="nothing"):
            await engine.call("series_get", {"of": "nothing"}, ADMIN)


async def test_a_file_that_cannot_be_used_fails_the_look_and_nothing_else(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path / "missing" / "series.db", lambda: figures(1))
    with pytest.raises(OSError, match="missing"):
        await sampler.sample(HOUR)
    (tmp_path / "missing").mkdir()
    await sampler.sample(HOUR)
    sampler.close()
