"""Schedules on record: what a timetable does and what people say of it do not overwrite each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlite_utils

from core.model.schedule import Order, Schedule
from core.store import migrations, schedules
from core.store.schedules import Progress

KEPT = Schedule("t", "nightly", "cron 0 30 2 * * * UTC", 100, last_ns=90, missed=2)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite_utils.Database]:
    database = sqlite_utils.Database(tmp_path / "sluice.db")
    migrations.migrate(database)
    yield database
    database.close()


def test_a_home_of_before_has_no_schedules_and_no_orders(tmp_path: Path) -> None:
    db = sqlite_utils.Database(tmp_path / "sluice.db")
    migrations.STEPS.apply(db, stop_before="m0032_schedules")
    migrations.migrate(db)
    assert (schedules.all_rows(db), schedules.orders(db)) == ([], [])
    db.close()


def test_what_a_timetable_does_ends_no_pause(db: sqlite_utils.Database) -> None:
    schedules.record(db, Progress({KEPT.key: KEPT}))
    paused = dataclasses.replace(KEPT, paused_at_ns=110, paused_by="ada", pause_reason="moving", paused_until_ns=500)
    schedules.pause(db, paused)
    later = dataclasses.replace(KEPT, settled_ns=120, last_ns=120, skipped=1)
    schedules.record(db, Progress({KEPT.key: later}))
    assert schedules.all_rows(db) == [dataclasses.replace(paused, settled_ns=120, last_ns=120, skipped=1)]


def test_a_pause_takes_back_nothing_that_a_timetable_did(db: sqlite_utils.Database) -> None:
    schedules.record(db, Progress({KEPT.key: dataclasses.replace(KEPT, missed=5)}))
    schedules.pause(db, dataclasses.replace(KEPT, paused_at_ns=110))
    (kept,) = schedules.all_rows(db)
    assert (kept.missed, kept.paused) == (5, True)


def test_an_order_stays_until_its_run_has_ended_or_its_schedule_is_gone(db: sqlite_utils.Database) -> None:
    ordered = [Order(n, "t", "nightly", "backfill", n * 10, "ada") for n in (1, 2, 3)]
    schedules.order(db, ordered)
    schedules.record(db, Progress(orders_done=[1]))
    assert schedules.orders(db) == ordered[1:]
    schedules.record(db, Progress(gone={("t", "nightly")}))
    assert schedules.orders(db) == []


def test_what_could_not_be_written_goes_before_what_came_later() -> None:
    early = Progress({KEPT.key: KEPT, ("t", "other"): dataclasses.replace(KEPT, job="other")}, orders_done=[1])
    late = Progress({KEPT.key: dataclasses.replace(KEPT, missed=9)}, {("t", "other")}, [2])
    both = early.then(late)
    assert (both.schedules[KEPT.key].missed, both.gone, both.orders_done) == (9, {("t", "other")}, [1, 2])
    assert ("t", "other") not in both.schedules
    assert not Progress({}, {KEPT.key}).then(Progress({KEPT.key: KEPT})).gone
