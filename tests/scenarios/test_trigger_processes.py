"""Triggers across processes: one run for one key, callbacks of an owner that is killed, workers that fall silent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from core import clock
from core.engine import Engine
from tests import figures, processes, waiting
from tests.dsl import web
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on
from tests.triggers.rig import DEFINITION, path

pytestmark = pytest.mark.anyio

HANDLER = (EXAMPLES / "smoke_trigger_handler.yaml").read_text()
HERE = Path(__file__).parent


async def test_one_key_is_one_run_whichever_process_asks_with_whatever_parameters(tmp_path: Path) -> None:
    keys, width = 40, 4
    async with engine_on(tmp_path / "home", workers=0) as engine:
        await engine.call("trigger_publish", DEFINITION, ADMIN)
        command = [sys.executable, str(HERE / "key_client.py"), str(tmp_path / "home")]
        processes = [
            await asyncio.create_subprocess_exec(*command, str(seed), str(keys), str(width), stdout=subprocess.PIPE)
            for seed in range(3)
        ]
        with anyio.fail_after(120):
            outputs = await asyncio.gather(*(process.communicate() for process in processes))
        assert (await engine.call("trigger_invocation_list", {}, ADMIN))["total"] == keys
    told: defaultdict[str, list[str]] = defaultdict(list)
    for out, _ in outputs:
        for key, answer in json.loads(out):
            told[key].append(answer)
    assert len(told) == keys
    for answers in told.values():
        # Half of the calls had the parameters of the run that there is, the other half was told of the mismatch.
        assert answers.count("idempotency_mismatch") == 3 * width
        assert len(set(answers)) == 2


OWNER = """
import asyncio, sys
from pathlib import Path
from core.triggers import posting
posting.PAUSES_SECONDS = (0.2,) * 4
sys.path.insert(0, sys.argv[3])
from core import logs
from tests.engines import ADMIN, engine_on

async def main():
    logs.configure("error")  # to stderr: what is told on stdout is read
    async with engine_on(Path(sys.argv[1]), workers=0, egress_allow=("127.0.0.0/8",)) as engine:
        await engine.call("trigger_publish", {"slug": "t", "tenant_id": "tenant-a", "target_job_name": "none"}, ADMIN)
        for n in range(20):
            callback = {"url": f"{sys.argv[2]}{n}", "headers": {"authorization": "Bearer t0ken"}}
            await engine.call("trigger_invoke", {"slug": "t", "callback": callback}, ADMIN)
            print(n, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_what_a_killed_owner_owed_is_posted_by_the_next_one_under_the_same_ids(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with web.serve(web.answer(503)) as down:
        owner = await asyncio.create_subprocess_exec(
            sys.executable, "-c", OWNER, str(home), down.url("/hook/"), str(HERE.parents[1]), stdout=subprocess.PIPE
        )
        with anyio.fail_after(60):
            assert owner.stdout is not None
            for _ in range(20):
                await owner.stdout.readline()
            await waiting.until(lambda: len(down.requests) >= 10)
        owner.send_signal(signal.SIGKILL)
        await owner.wait()
        port, first = down.port, list(down.requests)

    server = None
    got: list[web.Request] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        got.append(web.Request(head[0], headers, await reader.readexactly(int(headers["content-length"]))))
        writer.write(web.answer(204))
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    async with server, engine_on(home, workers=0, egress_allow=("127.0.0.0/8",)) as engine:
        await waiting.until(lambda: _deliveries(engine, "pending"), lambda pending: not pending, seconds=60)
        delivered = await _deliveries(engine, "delivered")
    assert (len(delivered), len(got)) == (20, 20)
    ids = {request.headers["webhook-id"] for request in got}
    assert ids == {one["event_id"] for one in delivered}
    assert {request.headers["webhook-id"] for request in first} <= ids
    assert {request.line.split()[1] for request in got} == {f"/hook/{n}" for n in range(20)}
    assert {request.headers["authorization"] for request in got} == {"Bearer t0ken"}
    bodies = {request.headers["webhook-id"]: request.body for request in got}
    assert all(bodies[request.headers["webhook-id"]] == request.body for request in first)
    stored = b"".join(file.read_bytes() for file in home.iterdir() if file.is_file() and "sluice.db" in file.name)
    assert b"t0ken" not in stored and b"/hook/" not in stored, "addresses and headers are encrypted"


async def _deliveries(engine: Engine, outcome: str) -> list[dict[str, Any]]:
    return list((await engine.call("callback_delivery_list", {"outcome": outcome, "limit": 100}, ADMIN))["items"])


@pytest.mark.parametrize("rounds", [pytest.param(3, id="ci"), pytest.param(200, id="full", marks=pytest.mark.soak)])
async def test_a_worker_that_falls_silent_is_replaced_after_its_lease_and_its_run_ends_once(
    tmp_path: Path, rounds: int, record_property: figures.Recorder
) -> None:
    figures.record(record_property, rounds=rounds)
    beat = 0.2
    lease = beat * 5
    async with engine_on(tmp_path / "home", heartbeat_seconds=beat) as engine:
        await engine.call("trigger_publish", {**DEFINITION, "response_timeout_seconds": 60}, ADMIN)
        await deploy(engine, HANDLER)
        for round in range(rounds):
            (worker,) = (await engine.call("worker_list", {}, ADMIN))["items"]
            stopped = psutil.Process(worker["pid"])
            stopped.suspend()
            since = clock.now_ns()
            with anyio.fail_after(30):
                arguments = {"slug": "smoke_trigger", "params": {"env": f"r{round}"}, "wait_timeout_seconds": 60}
                record = await engine.call("trigger_invoke", arguments, ADMIN)
            assert processes.ended(stopped.pid)
            assert (record["state"], record["attempts"]) == ("succeeded", 2)
            assert path(record) == ["accepted", "dispatched", "redelivered", "succeeded"]
            taken_over = next(event["at_ns"] for event in record["events"] if event["type"] == "redelivered")
            # A beat was last heard at most one beat before the worker was stopped.
            assert lease - beat <= (taken_over - since) / clock.NANOSECONDS <= lease + 2.0
            with contextlib.suppress(psutil.NoSuchProcess):
                stopped.resume()  # it was killed before its work went to another, so there is nobody to write late
            given = {"invocation_id": record["invocation_id"]}
            found = await engine.call("trigger_invocation_get", given, ADMIN)
            assert found == {**record, "next": found["next"]}


STOPPED_OWNER = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.engines import ADMIN, deploy, engine_on
from tests.triggers.rig import DEFINITION
from tests.scenarios.test_trigger_processes import HANDLER
from core import logs

async def main():
    logs.configure("error")  # to stderr: what is told on stdout is read
    async with engine_on(Path(sys.argv[1]), heartbeat_seconds=float(sys.argv[3])) as engine:
        await engine.call("trigger_publish", DEFINITION, ADMIN)
        await deploy(engine, HANDLER)
        while True:
            record = await engine.call("trigger_invoke", {"slug": "smoke_trigger", "params": {"env": "a"}}, ADMIN)
            (worker,) = (await engine.call("worker_list", {}, ADMIN))["items"]
            print(json.dumps([record["state"], record["attempts"], worker["pid"], worker["restarts"]]), flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

asyncio.run(main())
"""


async def test_an_owner_that_stood_still_takes_no_healthy_worker_for_silent(tmp_path: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STOPPED_OWNER, str(tmp_path / "home"), str(HERE.parents[1]), "0.2"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=HERE.parents[1],
    )
    assert owner.stdin is not None and owner.stdout is not None
    try:
        with anyio.fail_after(60):
            first = json.loads(await owner.stdout.readline())
            for _ in range(3):
                owner.send_signal(signal.SIGSTOP)
                await waiting.pause(2.5)  # two and a half leases, in which nobody is there who could listen
                owner.send_signal(signal.SIGCONT)
                await waiting.pause(0.5)  # and a few looks at its workers
                owner.stdin.write(b"\n")
                assert json.loads(await owner.stdout.readline()) == first
    finally:
        owner.kill()
        await owner.wait()
    assert first[:2] == ["succeeded", 1]


async def test_a_worker_that_stood_still_when_its_owner_was_killed_is_ended_by_the_next_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STOPPED_OWNER, str(home), str(HERE.parents[1]), "5"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=HERE.parents[1],
    )
    assert owner.stdin is not None and owner.stdout is not None
    with anyio.fail_after(60):
        try:
            pid = json.loads(await owner.stdout.readline())[2]
            os.kill(pid, signal.SIGSTOP)
        finally:
            owner.kill()
            await owner.wait()
        try:
            async with engine_on(home) as engine:
                assert await engine.fleet.wait(lambda: engine.fleet.workers["local-1"].online, 30)
                await waiting.until(lambda: processes.ended(pid))  # its lock goes a moment before it
                asked = {"slug": "smoke_trigger", "params": {"env": "b"}, "wait_timeout_seconds": 30}
                assert (await engine.call("trigger_invoke", asked, ADMIN))["state"] == "succeeded"
                assert engine.fleet.workers["local-1"].restarts == 0, "the first process has taken its place"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def test_a_worker_that_stutters_within_its_lease_keeps_its_run(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", heartbeat_seconds=0.4) as engine:
        await engine.call("trigger_publish", DEFINITION, ADMIN)
        await deploy(engine, HANDLER)
        (worker,) = (await engine.call("worker_list", {}, ADMIN))["items"]
        stopped = psutil.Process(worker["pid"])
        stopped.suspend()
        arguments = {"slug": "smoke_trigger", "params": {"env": "a"}, "wait_timeout_seconds": 1}
        record = await engine.call("trigger_invoke", arguments, ADMIN)
        assert record["state"] == "dispatched"
        stopped.resume()
        with anyio.fail_after(10):
            given = {"invocation_id": record["invocation_id"], "wait_seconds": 10}
            ended = await engine.call("trigger_invocation_get", given, ADMIN)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 1)
    assert path(ended) == ["accepted", "dispatched", "succeeded"]


async def test_an_attempt_whose_run_has_timed_out_changes_nothing_when_it_wakes_up(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", heartbeat_seconds=1.0) as engine:
        await engine.call("trigger_publish", {**DEFINITION, "response_timeout_seconds": 1}, ADMIN)
        await deploy(engine, HANDLER)
        (worker,) = (await engine.call("worker_list", {}, ADMIN))["items"]
        stopped = psutil.Process(worker["pid"])
        stopped.suspend()
        arguments = {"slug": "smoke_trigger", "params": {"env": "a"}, "wait_timeout_seconds": 10}
        with anyio.fail_after(20):
            record = await engine.call("trigger_invoke", arguments, ADMIN)
            assert record["state"] == "timed_out"
            stopped.resume()
            given = {"invocation_id": record["invocation_id"]}
            after = await waiting.until(
                lambda: engine.call("trigger_invocation_get", given, ADMIN),
                lambda after: path(after)[-1] == "response_refused",
            )
    assert {**after, "events": None} == {**record, "events": None, "next": after["next"]}
    assert path(after) == ["accepted", "dispatched", "timed_out", "response_refused"]
