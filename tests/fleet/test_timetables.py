"""The schedule of a job through a real engine and a real worker: paused, resumed, run now, and what was missed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core import clock
from core.engine import Engine
from core.store import schedules as table
from tests import waiting
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio

NIGHTLY = """
name: nightly
input:
  echo:
    event: '{"for": "${time|scheduled_time_iso}", "from": "${time|start_time_iso}"}'
    json: true
    trigger: {cron: {expression: "30 2 * * *", time-zone: Europe/Berlin, window: 1d, KEYS}}
output: {print: STDOUT}
"""
DAY = 86_400 * clock.NANOSECONDS


def nightly(keys: str = "catch-up: 30d") -> str:
    return NIGHTLY.replace("KEYS", keys)


async def printed(engine: Engine, job: str = "nightly") -> list[str]:
    log = await engine.call("job_log", {"name": job}, ADMIN)
    return [line["text"] for line in log["items"] if line["level"] == "print"]


async def shown(engine: Engine, job: str = "nightly") -> dict[str, Any]:
    return await engine.call("schedule_get", {"name": job}, ADMIN)


async def messages(engine: Engine, type: str) -> list[dict[str, Any]]:
    found = await engine.call("message_search", {"type": type}, ADMIN)
    return found["items"]


async def settle(engine: Engine, ago_ns: int) -> None:
    """As if the engine had last heard of the schedule that long ago."""

    def back(db: Any) -> None:
        (row,) = table.all_rows(db)
        row.settled_ns = clock.now_ns() - ago_ns
        table.record(db, table.Progress({row.key: row}))

    await engine.database.write(back)


async def test_a_schedule_tells_its_next_firings_in_its_zone(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, nightly())
        found = await shown(engine)
        assert (found["state"], found["time_zone"], found["on_time"]) == ("active", "Europe/Berlin", True)
        assert len(found["next"]) == 5
        assert all("T02:30:00.000+0" in at for at in found["next"])
        (listed,) = (await engine.call("schedule_list", {}, ADMIN))["items"]
        assert listed["next"] == found["next"][:1]


async def test_a_job_is_run_now_also_while_it_is_paused_and_its_next_firing_stays(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, nightly())
        before = (await shown(engine))["next"]
        ran = await engine.call("job_run_now", {"name": "nightly", "wait_seconds": 30}, ADMIN)
        assert ran["ended"]["ok"]
        assert (await shown(engine))["next"] == before
        await engine.call("schedule_pause", {"name": "nightly", "reason": "moving"}, ADMIN)
        ran = await engine.call("job_run_now", {"name": "nightly", "wait_seconds": 30}, ADMIN)
        assert ran["ended"]["ok"]
        found = await shown(engine)
        assert (found["state"], found["paused"]["reason"], found["waiting"]) == ("paused", "moving", 0)
        assert len(await waiting.until(lambda: printed(engine), lambda lines: len(lines) == 2)) == 2


async def test_a_pause_lasts_over_a_restart_and_misses_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with engine_on(home) as engine:
        await deploy(
            engine, "name: ticks\ninput: {echo: {event: t, trigger: {interval: 50ms}}}\noutput: {print: STDOUT}"
        )
        await waiting.until(lambda: printed(engine, "ticks"))
        await engine.call("schedule_pause", {"name": "ticks", "reason": "quiet, please"}, ADMIN)
        quiet = (await shown(engine, "ticks"))["last_scheduled"]
    async with engine_on(home) as engine:
        await waiting.until(lambda: engine.fleet.workload_views(tenant="tenant-a")[0].state, lambda s: s == "running")
        found = await shown(engine, "ticks")
        assert (found["state"], found["paused"]["by"], found["next"]) == ("paused", "alice", [])
        assert found["last_scheduled"] is not None and quiet is not None
        resumed = await engine.call("schedule_resume", {"name": "ticks"}, ADMIN)
        assert (resumed["state"], resumed["caught_up"]) == ("active", 0)
        await waiting.until(
            lambda: shown(engine, "ticks"), lambda now: now["last_scheduled"] != found["last_scheduled"]
        )
        assert (await shown(engine, "ticks"))["missed"] == 0
        assert len(await messages(engine, "schedule-paused")) == 1


async def test_what_was_missed_while_the_engine_was_down_is_told(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with engine_on(home) as engine:
        await deploy(engine, nightly())
    async with engine_on(home, workers=0) as engine:
        await settle(engine, 3 * DAY)
    async with engine_on(home) as engine:
        found = await waiting.until(lambda: shown(engine), lambda now: now["missed"])
        assert found["missed"] in (3, 4)  # a night in which clocks change is longer
        assert found["on_time"] is False
        (told,) = await waiting.until(lambda: messages(engine, "schedule-missed"))
        assert told["message_data"]["missed"] == found["missed"]
        assert await printed(engine) == []


@pytest.mark.parametrize(("policy", "runs"), [("last", 1), ("all", 2)])
async def test_what_was_missed_is_made_up_for_within_the_catch_up(tmp_path: Path, policy: str, runs: int) -> None:
    home = tmp_path / "home"
    async with engine_on(home) as engine:
        await deploy(engine, nightly(f"missed: {policy}, catch-up: 49h"))
    async with engine_on(home, workers=0) as engine:
        await settle(engine, 5 * DAY)
    async with engine_on(home) as engine:
        lines = await waiting.until(lambda: printed(engine), lambda lines: len(lines) >= runs)
        assert len(lines) in (runs, runs + (policy == "all"))
        assert all('"for":"20' in line for line in lines)


async def test_a_backfill_runs_for_each_time_one_after_the_other(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, nightly())
        stretch = {"name": "nightly", "since": "2026-10-24T00:00:00Z", "until": "2026-10-27T00:00:00Z"}
        dry = await engine.call("schedule_backfill", {**stretch, "dry_run": True}, ADMIN)
        assert dry["times"] == ["2026-10-24T00:30:00.000Z", "2026-10-25T00:30:00.000Z", "2026-10-26T01:30:00.000Z"]
        assert await printed(engine) == []
        done = await engine.call("schedule_backfill", stretch, ADMIN)
        assert done["count"] == 3
        lines = await waiting.until(lambda: printed(engine), lambda lines: len(lines) == 3)
        assert [line.partition('"for":"')[2][:24] for line in lines] == dry["times"]
        assert '"from":"2026-10-23T00:30:00.000Z"' in lines[0], "the window is the one of that time"
        await waiting.until(lambda: shown(engine), lambda now: now["waiting"] == 0)
