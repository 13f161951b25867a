"""Workers under the owner: they come back, their jobs come back, and what they held goes out again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import psutil
import pytest

from core import errors
from core.engine import Engine
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on, online

pytestmark = pytest.mark.anyio

TICK = """
name: tick
input: {echo: {event: "{}", json: true, trigger: {interval: 50ms}}}
output: {message: {tag: tick}}
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=2) as running:
        yield running


async def _ticks(engine: Engine) -> int:
    page = await engine.call("message_search", {"tag": "tick", "limit": 200}, ADMIN)
    return len(page["items"])


async def _until(engine: Engine, more_than: int) -> None:
    """Wait for further ticks on the notices of the bus."""
    event = anyio.Event()
    forget = engine.subscribe(lambda kind, data: event.set() if kind == "message" else None)
    try:
        while await _ticks(engine) <= more_than:
            await event.wait()
            event = anyio.Event()
    finally:
        forget()


async def test_two_workers_come_online_in_the_default_group(engine: Engine) -> None:
    rows = (await engine.call("worker_list", {"group": "default"}, ADMIN))["items"]
    assert [row["name"] for row in rows] == ["local-1", "local-2"]
    assert len({row["pid"] for row in rows}) == 2
    assert all(psutil.Process(row["pid"]).is_running() for row in rows)


async def test_a_job_on_a_schedule_publishes_and_its_runs_are_told(engine: Engine) -> None:
    with anyio.fail_after(20):
        await deploy(engine, TICK)
        await _until(engine, 2)
        types = {m["message_type"] for m in (await engine.call("message_search", {"job": "tick"}, ADMIN))["items"]}
        assert {"user-generated", "job-run-ended"} <= types and "job-run-started" not in types, "nobody listens to it"
        notices = (await engine.call("job_notifications_recent", {"job": "tick"}, ADMIN))["items"]
        ended = next(n for n in notices if n["message_type"] == "job-run-ended")
    assert ended["message_data"]["ok"] is True
    assert ended["message_data"]["trigger"] == "interval"


async def test_a_killed_worker_comes_back_with_its_jobs(engine: Engine) -> None:
    with anyio.fail_after(30):
        deployed = await deploy(engine, TICK)
        await _until(engine, 0)
        name = deployed["workloads"][0]["worker"]
        before = next(row for row in engine.fleet.worker_rows() if row["name"] == name)
        psutil.Process(before["pid"]).kill()
        assert await engine.fleet.wait(lambda: engine.fleet.workers[name].restarts == 1, 10)
        await online(engine)
        lost = await engine.call("message_search", {"type": "worker-lost"}, replace(ADMIN, tenant="default"))
        assert [m["worker_id"] for m in lost["items"]] == [name]
        await _until(engine, await _ticks(engine))
    after = next(row for row in engine.fleet.worker_rows() if row["name"] == name)
    assert after["pid"] != before["pid"]


async def test_a_run_that_is_under_way_when_its_worker_dies_is_run_again(engine: Engine) -> None:
    definition = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
    with anyio.fail_after(40):
        await engine.call("trigger_publish", definition, ADMIN)
        deployed = await deploy(engine, (EXAMPLES / "smoke_trigger_handler.yaml").read_text())
        worker = engine.fleet.workers[deployed["workloads"][0]["worker"]]
        assert worker.pid is not None
        psutil.Process(worker.pid).suspend()  # it holds the message and does not answer
        arguments = {"slug": "smoke_trigger", "params": {"env": "x"}, "wait_timeout_seconds": 0}
        record = await engine.call("trigger_invoke", arguments, ADMIN)
        assert record["state"] == "dispatched"
        psutil.Process(worker.pid).kill()
        get = {"invocation_id": record["invocation_id"], "wait_seconds": 20}
        ended = await engine.call("trigger_invocation_get", get, ADMIN)
    assert ended["state"] == "succeeded"
    assert ended["attempts"] == 2
    assert "redelivered" in [event["type"] for event in ended["events"]]


async def test_a_silent_worker_is_killed_and_replaced(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=1, heartbeat_seconds=0.05) as engine:
        with anyio.fail_after(20):
            await online(engine)
            pid = engine.fleet.workers["local-1"].pid
            assert pid is not None
            psutil.Process(pid).suspend()
            assert await engine.fleet.wait(lambda: engine.fleet.workers["local-1"].restarts >= 1, 10)
            await online(engine)
    assert not psutil.pid_exists(pid)


async def test_the_figures_of_a_complete_job_do_not_wait_for_a_heartbeat(tmp_path: Path) -> None:
    events = "\\n".join(f"line {number}" for number in range(100))
    once = f'name: once\ninput: {{echo: {{event: "{events}"}}}}\noutput: {{discard: {{}}}}'
    async with engine_on(tmp_path / "home", workers=1, heartbeat_seconds=30.0) as engine:
        with anyio.fail_after(20):
            deployed = await deploy(engine, once)
            assert deployed["workloads"][0]["state"] == "completed"
            shown = await engine.call("job_get", {"name": "once"}, ADMIN)
    metrics = shown["workloads"][0]["metrics"]
    assert (metrics["events_in"], metrics["events_out"], metrics["runs"]) == (100, 100, 1)


async def test_a_failing_job_says_why_restarts_and_disturbs_nobody(engine: Engine) -> None:
    failing = "name: failing\ninput: {exec: {command: 'echo hi', trigger: {interval: 1s}}}\noutput: {discard: {}}"
    with anyio.fail_after(30):
        await deploy(engine, TICK)
        await engine.call("job_put", {"document": failing}, ADMIN)
        await engine.call("job_deploy", {"name": "failing"}, ADMIN)

        def restarted() -> bool:
            return any(one.restarts for one in engine.fleet.workload_views(tenant="tenant-a", job="failing"))

        assert await engine.fleet.wait(restarted, 15)
        shown = await engine.call("job_get", {"name": "failing"}, ADMIN)
        await _until(engine, await _ticks(engine))
        failed = await engine.call("message_search", {"type": "job-failed"}, ADMIN)
    assert any("exec" in line["text"] and line["level"] == "error" for line in shown["log"]), shown["log"]
    assert "exec" in failed["items"][0]["message_data"]["reason"]


async def test_a_job_that_aborts_is_not_restarted_until_it_is_deployed_again(engine: Engine) -> None:
    document = (
        'name: poisoned\ninput: {echo: {event: \'{"kind": "poison"}\', json: true}}\n'
        "actions: [{abort: {condition: 'kind == \"poison\"', message: 'found ${kind}'}}]\noutput: {discard: {}}"
    )
    with anyio.fail_after(30):
        await deploy(engine, TICK)
        await engine.call("job_put", {"document": document}, ADMIN)
        for _ in range(2):
            shown = await engine.call("job_deploy", {"name": "poisoned"}, ADMIN)
            assert [(w["state"], w["reason"]) for w in shown["workloads"]] == [("failed", "found poison")]
            await _until(engine, await _ticks(engine) + 12)  # longer than the first back-off
            there = engine.fleet.workload_views(tenant="tenant-a", job="poisoned")
            assert [(one.state, one.restarts) for one in there] == [("failed", 0)]
        failed = await engine.call("message_search", {"type": "job-failed", "job": "poisoned"}, ADMIN)
    assert len(failed["items"]) == 2


async def test_undeploy_stops_the_job_and_the_bus_forgets_it(engine: Engine) -> None:
    definition = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
    with anyio.fail_after(30):
        await engine.call("trigger_publish", definition, ADMIN)
        await deploy(engine, (EXAMPLES / "smoke_trigger_handler.yaml").read_text(), replicas=2)
        await engine.call("job_undeploy", {"name": "smoke_trigger_handler"}, ADMIN)
        record = await engine.call("trigger_invoke", {"slug": "smoke_trigger", "params": {"env": "x"}}, ADMIN)
        assert record["result"]["error_code"] == "target_unavailable"
        with pytest.raises(errors.NotFound):
            await engine.call("job_undeploy", {"name": "unknown"}, ADMIN)


async def test_a_stopped_engine_leaves_no_process_and_its_jobs_run_again_with_the_next(tmp_path: Path) -> None:
    with anyio.fail_after(40):
        async with engine_on(tmp_path / "home", workers=2) as engine:
            await deploy(engine, TICK)
            await _until(engine, 0)
            pids = [row["pid"] for row in engine.fleet.worker_rows()]
        assert not any(psutil.pid_exists(pid) for pid in pids)
        async with engine_on(tmp_path / "home", workers=2) as engine:
            await _until(engine, await _ticks(engine))
            assert engine.fleet.workload_views(tenant="tenant-a", job="tick")[0].state == "running"


async def test_a_job_that_ran_once_is_not_run_again_by_the_next_owner(tmp_path: Path) -> None:
    once = TICK.replace(", trigger: {interval: 50ms}", "")
    with anyio.fail_after(40):
        async with engine_on(tmp_path / "home") as engine:
            await engine.call("job_put", {"document": once}, ADMIN)
            await engine.call("job_deploy", {"name": "tick"}, ADMIN)
            await engine.fleet.wait(
                lambda: engine.fleet.workload_views(tenant="tenant-a", job="tick")[0].state == "completed", 10
            )
            assert await _ticks(engine) == 1
        async with engine_on(tmp_path / "home") as engine:
            await online(engine)
            await deploy(engine, TICK.replace("tick", "other"))
            assert engine.fleet.workload_views(tenant="tenant-a", job="tick")[0].state == "completed"
            assert await _ticks(engine) == 1


async def test_a_listener_that_fails_disturbs_neither_workers_nor_other_listeners(engine: Engine) -> None:
    heard = anyio.Event()
    engine.subscribe(lambda kind, data: 1 / 0)  # type: ignore[arg-type, return-value]
    engine.subscribe(lambda kind, data: heard.set() if kind == "message" else None)
    with anyio.fail_after(20):
        await deploy(engine, TICK)
        await heard.wait()
        await _until(engine, 1)
    assert [row["restarts"] for row in engine.fleet.worker_rows()] == [0, 0]


async def test_jobs_that_share_a_worker_channel_are_put_on_one_worker(engine: Engine) -> None:
    sender = TICK.replace("name: tick", "name: sender").replace("message: {tag: tick}", "worker-channel: hop")
    reader = "name: reader\ninput: {worker-channel: {channel: hop}}\noutput: {message: {tag: tick}}"
    with anyio.fail_after(30):
        await deploy(engine, "name: other\ninput: {worker-channel: {channel: x}}\noutput: {discard: {}}")
        first = await deploy(engine, sender)
        second = await deploy(engine, reader)
        await _until(engine, 1)
    assert first["workloads"][0]["worker"] == second["workloads"][0]["worker"]


async def test_deploying_a_job_that_ran_once_runs_it_again(engine: Engine) -> None:
    once = TICK.replace(", trigger: {interval: 50ms}", "")
    with anyio.fail_after(30):
        for runs in (1, 2):
            await deploy(engine, once)

            def completed() -> bool:
                return engine.fleet.workload_views(tenant="tenant-a", job="tick")[0].state == "completed"

            assert await engine.fleet.wait(completed, 10)
            await _until(engine, runs - 1)
            assert await _ticks(engine) == runs


@pytest.mark.parametrize("tenant", ["*", "a b", "platform", "../../../tmp/x", "", "x" * 65])
async def test_a_tenant_name_that_is_none_is_refused(engine: Engine, tenant: str) -> None:
    with anyio.fail_after(10), pytest.raises(errors.InvalidParams, match="not the name of a tenant"):
        await engine.call("job_put", {"document": TICK}, replace(ADMIN, tenant=tenant))
