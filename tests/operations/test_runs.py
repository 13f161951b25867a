"""Runs of jobs on real workers: what is on record of them, and one that hangs is ended."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.engine import Engine
from tests import waiting
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio

ONCE = "name: once\ninput: {echo: {event: a}}\noutput: {print: STDOUT}\n"
HANGS = """
name: hangs
input: {echo: {event: '{"n": 1}', json: true, trigger: {interval: {duration: 1h}}}}
output: {http-post: {url: "http://127.0.0.1:PORT/", timeout: 5m}}
"""


async def listed(engine: Engine, job: str) -> list[dict[str, Any]]:
    return list((await engine.call("run_list", {"job": job}, ADMIN))["items"])


async def test_what_jobs_ran_is_on_record_with_the_lines_that_they_wrote_meanwhile(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, ONCE)
        (run,) = await waiting.until(lambda: listed(engine, "once"))
        assert (run["state"], run["cause"], run["events_in"], run["events_out"]) == ("succeeded", "once", 1, 1)
        assert (run["worker"], run["workload"], run["version"]) == ("local-1", "tenant-a/once#0", "1")
        (call,) = (await engine.call("run_get", {"run_id": run["run_id"]}, ADMIN))["next"]
        found = await waiting.until(
            lambda: engine.call(call["call"], call["arguments"], ADMIN), lambda found: found["items"]
        )
        assert [line["text"] for line in found["items"]] == ['{"_raw":"a"}']
        messages = await engine.call("message_search", {"type": "job-run-ended", "job": "once"}, ADMIN)
        assert [one["message_data"]["run_id"] for one in messages["items"]] == [run["run_id"]]


async def test_a_firing_that_hangs_is_ended_and_its_job_stays(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, engine_on(tmp_path / "home", egress_allow=("127.0.0.0/8",)) as engine:
        await deploy(engine, HANGS.replace("PORT", str(port)))
        with anyio.fail_after(30):
            await asked.wait()
            (run,) = await waiting.until(lambda: listed(engine, "hangs"))
            assert (run["state"], run["ended_at"]) == ("running", None)
            given = {"run_id": run["run_id"], "reason": "it hangs"}
            ended = await engine.call("run_cancel", given, ADMIN)
        assert (ended["state"], ended["confirmed"], ended["by"]) == ("canceled", True, "alice")
        (workload,) = (await engine.call("job_get", {"name": "hangs"}, ADMIN))["workloads"]
        assert (workload["state"], workload["restarts"], workload["failing"]) == ("running", 0, "")
        assert [one["state"] for one in await listed(engine, "hangs")] == ["canceled"]


async def test_a_slow_run_is_ended_by_the_next_firing_where_the_schedule_says_so(tmp_path: Path) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    document = HANGS.replace("duration: 1h", "duration: 1500ms, overlap: cancel")
    document = document.replace("PORT", str(server.sockets[0].getsockname()[1]))
    async with server, engine_on(tmp_path / "home", egress_allow=("127.0.0.0/8",)) as engine:
        await deploy(engine, document)
        found = await waiting.until(
            lambda: listed(engine, "hangs"), lambda found: sum(one["state"] == "canceled" for one in found) > 1
        )
        ended = [one for one in found if one["state"] == "canceled"]
        assert {(one["by"], one["cause"], one["confirmed"]) for one in ended} == {("schedule", "schedule", True)}
        assert ended[0]["scheduled_for"] != ended[1]["scheduled_for"]
        (workload,) = (await engine.call("job_get", {"name": "hangs"}, ADMIN))["workloads"]
        assert (workload["state"], workload["restarts"], workload["failing"]) == ("running", 0, "")


async def test_a_database_from_before_keeps_runs_from_now_on(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home"):
        pass
    with sqlite3.connect(tmp_path / "home" / "sluice.db") as older:
        older.execute("DROP TABLE runs")
        older.execute("DROP TABLE run_minutes")
        older.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0033_job_runs'")
    older.close()
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, ONCE)
        await waiting.until(lambda: listed(engine, "once"))


LATER = "name: later\ninput: {echo: {event: a, trigger: {cron: '0 0 1 1 *'}}}\noutput: {print: STDOUT}\n"


async def test_a_run_that_somebody_asked_for_says_who(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, LATER)
        with anyio.fail_after(30):
            await engine.call("job_run_now", {"name": "later", "wait_seconds": 20}, ADMIN)
        (run,) = await waiting.until(lambda: listed(engine, "later"))
        assert (run["state"], run["cause"], run["by"], run["events_out"]) == ("succeeded", "manual", "alice", 1)
