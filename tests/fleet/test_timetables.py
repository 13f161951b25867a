"""The schedule of a job through a real engine and a real worker: paused, resumed, run now, and what was missed."""

from __future__ import annotations

import os
import signal
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from core import clock, errors
from core.engine import Engine
from core.fleet import scheduled as known_of
from core.fleet import timetables
from core.model import run
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


async def test_a_schedule_shows_the_last_ten_runs_of_its_job(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, nightly())
        assert (await shown(engine))["runs"] == []
        for _ in range(11):
            await engine.call("job_run_now", {"name": "nightly", "wait_seconds": 30}, ADMIN)

        async def written() -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = (await engine.call("run_list", {"job": "nightly"}, ADMIN))["items"]
            return items

        listed = await waiting.until(written, lambda items: len(items) == 11)
        runs = (await shown(engine))["runs"]
        assert [one["run_id"] for one in runs] == [one["run_id"] for one in listed[:10]]
        for run, item in zip(runs, listed, strict=False):
            assert (run["state"], run["cause"], run["reason"]) == ("succeeded", "manual", "")
            assert all(item[key] == value for key, value in run.items())


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


async def test_what_somebody_asked_for_is_run_by_the_next_engine(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with engine_on(home) as engine:
        await deploy(engine, nightly())
    async with engine_on(home, workers=0) as engine:
        stretch = {"name": "nightly", "since": "2026-10-24T00:00:00Z", "until": "2026-10-26T00:00:00Z"}
        assert (await engine.call("schedule_backfill", stretch, ADMIN))["count"] == 2
        assert (await shown(engine))["waiting"] == 2
        with pytest.raises(errors.Busy):
            await engine.call("schedule_backfill", stretch, ADMIN)
    async with engine_on(home) as engine:
        await waiting.until(lambda: printed(engine), lambda lines: len(lines) == 2)
        await waiting.until(lambda: shown(engine), lambda now: now["waiting"] == 0)
        assert await engine.database.read(table.orders) == []


async def test_what_came_due_while_its_worker_was_away_is_missed(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        each = 'name: each\ninput: {echo: {event: t, trigger: {cron: "* * * * * *"}}}\noutput: {print: STDOUT}'
        await deploy(engine, each)
        await waiting.until(lambda: printed(engine, "each"))
        pid = engine.fleet.workers["local-1"].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await waiting.pause(3.5)  # it stands still while three firings come due, and then dies
        os.kill(pid, signal.SIGKILL)
        await waiting.until(lambda: shown(engine, "each"), lambda now: now["missed"] >= 2)  # the last may be on time
        await waiting.until(lambda: messages(engine, "schedule-missed"))
        await waiting.until(lambda: shown(engine, "each"), lambda now: now["on_time"])


EACH = """
name: each
input: {exec: {command: COMMAND, trigger: {cron: {expression: "* * * * * *", overlap: OVERLAP}}}}
output: {print: STDOUT}
"""


def each(command: str, overlap: str = "wait-one") -> str:
    return EACH.replace("COMMAND", command).replace("OVERLAP", overlap)


async def left_out(engine: Engine, state: str, after: str = "") -> list[dict[str, Any]]:
    found = (await engine.call("run_list", {"job": "each", "state": state}, ADMIN))["items"]
    return [one for one in found if one["scheduled_for"] > after]


async def first(engine: Engine) -> str:
    """Which time the first run is for: before it, the job came up."""
    return (await waiting.until(lambda: shown(engine, "each"), lambda now: now["last_scheduled"]))["last_scheduled"]


async def test_firings_that_came_due_while_the_worker_stood_still_are_missed_and_not_skipped(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", allow_exec=True) as engine:
        await deploy(engine, each('["true"]'))
        begun = await first(engine)
        await waiting.until(lambda: shown(engine, "each"), lambda now: now["last_run"])  # none is under way
        pid = engine.fleet.workers["local-1"].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            await waiting.pause(3.5)  # it stands still while three firings come due
        finally:
            os.kill(pid, signal.SIGCONT)
        missed = await waiting.until(lambda: left_out(engine, "missed", begun))
        assert missed[0]["reason"] == "its worker stood still when its time came"
        assert await left_out(engine, "skipped") == []
        assert (await shown(engine, "each"))["missed"] >= missed[0]["count"]
        assert (await messages(engine, "schedule-missed"))[0]["message_data"]["reason"] == missed[0]["reason"]


@pytest.mark.parametrize("overlap", ["wait-one", "skip"])
async def test_firings_that_came_due_during_a_run_that_its_worker_did_not_survive_are_skipped(
    tmp_path: Path, overlap: str
) -> None:
    async with engine_on(tmp_path / "home", allow_exec=True) as engine:
        await deploy(engine, each('[sleep, "600"]', overlap))
        begun = await first(engine)
        await waiting.until(lambda: shown(engine, "each"), lambda now: now["skipped"] >= 3)
        pid, killed = engine.fleet.workers["local-1"].pid, clock.iso(clock.now_ns())
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        skipped = await waiting.until(lambda: left_out(engine, "skipped"))
        assert skipped[0]["reason"] == "a run was under way when its time came"
        assert skipped[0]["count"] >= 3
        assert await left_out(engine, "missed", begun) == await left_out(engine, "missed", killed)


async def test_what_came_due_during_a_run_stays_skipped_when_its_engine_is_killed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with engine_on(home, allow_exec=True) as engine:
        await deploy(engine, each('[sleep, "600"]'))
        await first(engine)
        begun = await waiting.until(lambda: left_out(engine, "running"))
    now = clock.now_ns()
    killed, came_due = now - 20 * clock.NANOSECONDS, now - 50 * clock.NANOSECONDS
    with sqlite3.connect(home / "sluice.db") as db:  # as a kill leaves it
        db.execute("UPDATE schedules SET settled_ns = ?, skipped = 0, missed = 0, missed_since = 0", (came_due,))
        ids = (came_due, run.parse_id(begun[0]["run_id"]))
        changed = db.execute("UPDATE runs SET state = 'running', ended_ns = 0, started_ns = ? WHERE id = ?", ids)
        assert changed.rowcount == 1
    os.utime(home / "engine.lock", ns=(killed, killed))
    async with engine_on(home, allow_exec=True) as engine:
        found = await waiting.until(lambda: shown(engine, "each"), lambda now: now["missed"])
        until_now = (clock.now_ns() - killed) / clock.NANOSECONDS
        assert 29 <= found["skipped"] <= 31 and 18 <= found["missed"] <= until_now + 1, "of 30 seconds, and of the rest"
        (ended,) = await left_out(engine, "failed")
        assert ended["ended_at"] == clock.iso(killed), "when the engine was alive for the last time"


async def test_an_interval_counts_what_it_missed_in_an_outage(tmp_path: Path) -> None:
    home = tmp_path / "home"
    job = "name: each\ninput: {echo: {event: t, trigger: {interval: 1h}}}\noutput: {print: STDOUT}"
    async with engine_on(home) as engine:
        await deploy(engine, job)
        await first(engine)
    async with engine_on(home, workers=0) as engine:
        await settle(engine, DAY)
    async with engine_on(home) as engine:
        found = await waiting.until(lambda: shown(engine, "each"), lambda now: now["missed"])
        assert found["missed"] == 23, "and the last one is made up for by the run at its start"
        (told,) = await waiting.until(lambda: messages(engine, "schedule-missed"))
        assert told["message_data"]["missed"] == 23
        await waiting.until(lambda: shown(engine, "each"), lambda now: now["on_time"])


HANGING = """
name: hanging
input: {exec: {command: [sleep, "600"], timeout: 1d, trigger: {cron: "* * * * * *"}}}
output: {print: STDOUT}
"""


async def test_a_run_that_hangs_is_told_by_the_schedule_that_it_holds_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_of, "LATE_NS", 2 * clock.NANOSECONDS)
    monkeypatch.setattr(timetables, "LATE_NS", 2 * clock.NANOSECONDS)
    monkeypatch.setattr(timetables, "LOOK_SECONDS", 0.1)
    async with engine_on(tmp_path / "home", allow_exec=True) as engine:
        await deploy(engine, HANGING)
        found = await waiting.until(lambda: shown(engine, "hanging"), lambda now: now["skipped"] >= 3)
        assert found["last_run"] is None, "it is counted while the run lasts"
        found = await waiting.until(lambda: shown(engine, "hanging"), lambda now: now["on_time"] is False)
        assert "a run is still under way" in found["reason"]
        (figures,) = (await engine.call("job_metrics", {}, ADMIN))["items"]
        due = datetime.fromisoformat(found["last_scheduled"]).timestamp() + 1
        assert figures["schedule"]["next"] == due, "it does not move past the firing that was not made"

        async def condition() -> str:
            job = await engine.call("job_get", {"name": "hanging"}, ADMIN)
            return {one["type"]: one["status"] for one in job["workloads"][0]["conditions"]}["OnSchedule"]

        assert await waiting.until(condition, lambda status: status == "false") == "false"


async def test_a_schedule_whose_runs_fail_pauses_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    failing = (
        "name: failing\ninput: {echo: {event: t, trigger: {interval: {duration: 50ms, pause-on-failure: 2}}}}\n"
        f"output: {{file: {tmp_path}/file/out}}"
    )
    async with engine_on(tmp_path / "home") as engine:
        put = await engine.call("job_put", {"document": failing}, ADMIN)
        await engine.call("job_deploy", {"name": put["name"], "wait_seconds": 0}, ADMIN)
        found = await waiting.until(lambda: shown(engine, "failing"), lambda now: now["state"] == "paused")
        assert (found["paused"]["by"], found["failures"]) == ("sluice", 2)
        assert found["paused"]["reason"] == "2 runs in a row failed"
        resumed = await engine.call("schedule_resume", {"name": "failing"}, ADMIN)
        assert (resumed["state"], resumed["failures"]) == ("active", 0)
        again = await waiting.until(lambda: shown(engine, "failing"), lambda now: now["state"] == "paused")
        assert again["failures"] == 2


async def test_a_schedule_whose_events_are_all_refused_pauses_itself_and_has_no_success(tmp_path: Path) -> None:
    refusing = (
        "name: refusing\ninput: {echo: {event: t, trigger: {interval: {duration: 50ms, pause-on-failure: 3}}}}\n"
        'actions: [{script: {code: "event.x = nil + 1"}}]\noutput: {print: STDOUT}'
    )
    async with engine_on(tmp_path / "home") as engine:
        put = await engine.call("job_put", {"document": refusing}, ADMIN)
        await engine.call("job_deploy", {"name": put["name"], "wait_seconds": 0}, ADMIN)
        found = await waiting.until(lambda: shown(engine, "refusing"), lambda now: now["state"] == "paused")
        assert (found["failures"], found["last_success_at"], found["last_run"]["ok"]) == (3, None, False)
        (run, *_) = found["runs"]
        assert run["state"] == "failed" and "nil" in run["reason"]
        letters = await engine.call("dead_letter_list", {"job": "refusing"}, ADMIN)
        assert letters["total"] == 3


async def test_a_pause_ends_by_itself_when_it_was_to(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, nightly())
        with pytest.raises(errors.InvalidParams):
            past = {"name": "nightly", "until": "2026-01-01T00:00:00Z"}
            await engine.call("schedule_pause", past, ADMIN)
        paused = await engine.call("schedule_pause", {"name": "nightly", "until": "1s"}, ADMIN)
        assert paused["paused"]["until"] is not None
        found = await waiting.until(lambda: shown(engine), lambda now: now["state"] == "active")
        assert found["missed"] == 0
        (told,) = await waiting.until(lambda: messages(engine, "schedule-resumed"))
        assert told["message_data"]["by"] == "sluice"


async def test_a_pause_outlives_the_deployment_of_its_job_and_ends_when_somebody_says_so(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, nightly())
        await engine.call("schedule_pause", {"name": "nightly"}, ADMIN)
        await engine.call("job_undeploy", {"name": "nightly"}, ADMIN)
        assert (await shown(engine))["state"] == "not_deployed"
        with pytest.raises(errors.NotFound, match="not deployed"):
            await engine.call("job_run_now", {"name": "nightly"}, ADMIN)
        await deploy(engine, nightly("missed: last"))
        assert (await shown(engine))["state"] == "paused"
        await engine.call("schedule_resume", {"name": "nightly"}, ADMIN)
        await engine.call("job_undeploy", {"name": "nightly"}, ADMIN)
        with pytest.raises(errors.NotFound, match="runs by a schedule"):
            await shown(engine)


async def test_other_times_begin_anew_and_miss_nothing(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, nightly())
        kept = engine.fleet.timetables.get("tenant-a", "nightly")
        assert kept is not None
        kept.settled_ns -= 5 * DAY
        await deploy(engine, nightly("overlap: skip, start: 2026-01-01").replace("30 2 * * *", "*/5 * * * *"))
        found = await shown(engine)
        assert (found["missed"], found["settings"]["overlap"]) == (0, "skip")


async def test_windows_that_follow_each_other_are_neither_run_now_nor_again(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, nightly().replace("window: 1d", 'window: {size: 1d, start-time: "2099-01-01 00:00:00"}'))
        with pytest.raises(errors.InvalidParams, match="follow each other"):
            await engine.call("job_run_now", {"name": "nightly"}, ADMIN)


async def test_jobs_tell_their_schedule_where_they_are_shown(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, nightly())
        next_ = (await shown(engine))["next"][0]
        assert (await engine.call("job_get", {"name": "nightly"}, ADMIN))["schedule"]["next"] == next_
        (listed,) = (await engine.call("job_list", {}, ADMIN))["items"]
        assert listed["schedule"]["next"] == next_
        (figures,) = (await engine.call("job_metrics", {}, ADMIN))["items"]
        assert clock.iso_in(int(figures["schedule"]["next"] * 1e9), ZoneInfo("Europe/Berlin")) == next_
