"""kill -9 of the owner and of workers that hold leases: what was told is kept, what was leased comes again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import anyio
import anyio.lowlevel
import psutil
import pytest

from core.model.kv import Depth, Namespace
from tests import waiting
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio

CLIENT = Path(__file__).with_name("kv_client.py")
PUSH = """
name: push
input: {{files: {{path: {source}, mode: batch, json: true}}}}
actions:
  - worker-kv: {{namespace: work, operation: {{push: {{}}}}}}
output: {{discard: {{}}}}
"""
HOLD = """
name: hold
input: {worker-kv: {namespace: work, operation: {pop-batch: {size: 20, lease-ms: 1500}}}}
output: {worker-channel: {channel: nobody-reads}}
"""
WORK = """
name: work
input:
  worker-kv: {{namespace: work, operation: {{pop-batch: {{size: 20, lease-ms: 30000, attempt-field: attempt}}}}}}
output: {{file: {{path: {out}}}}}
"""
DEDUPE = """
name: once
input: {{files: {{path: {source}, mode: batch, json: true}}}}
actions:
  - dedupe: {{fields: [n], namespace: seen}}
output: {{file: {{path: {out}}}}}
"""


async def test_what_the_store_has_told_survives_the_death_of_its_owner(tmp_path: Path) -> None:
    home, ledger = tmp_path / "home", tmp_path / "ledger"
    with anyio.fail_after(60):
        for attempt in range(3):
            before = waiting.size(ledger)
            command = [sys.executable, str(CLIENT), str(home), str(attempt * 1_000_000)]
            process = subprocess.Popen(command)  # noqa: ASYNC220
            try:
                await waiting.until(lambda: waiting.size(ledger), lambda size, most=before + 2000: size >= most)
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
        told = set(ledger.read_text().split())
        async with engine_on(home, workers=0) as engine:
            space = Namespace(engine.kv, "tenant-a:crash")
            kept: set[str] = set()
            after, more = "", True
            while more:
                page = await space.list(after=after)
                kept |= {entry.key for entry in page.entries}
                after, more = page.entries[-1].key, page.more
            queued: Counter[str] = Counter()
            while (lease := await space.pop_batch(1000)) is not None:
                queued.update(item.value for item in lease.items)
            members = set(await space.members("all"))
    assert len(told) > 1000
    assert told <= kept
    assert told <= queued.keys()
    assert set(queued.values()) == {1}
    assert {str(int(n) % 500) for n in told} <= members


def _numbers(path: Path, count: int) -> None:
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(count)))


def _seen(path: Path) -> Counter[int]:
    lines = path.read_text().split("\n") if path.exists() else [""]
    return Counter(json.loads(line)["n"] for line in lines if line.endswith("}"))


async def test_what_a_killed_worker_had_leased_comes_again_and_nothing_is_lost(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    _numbers(source, 2000)
    with anyio.fail_after(60):
        async with engine_on(tmp_path / "home", workers=1) as engine:
            await deploy(engine, PUSH.format(source=source))
            space = Namespace(engine.kv, "tenant-a:work")
            await waiting.until(space.depth, lambda depth: depth.ready == 2000)
            worker = engine.fleet.workers["local-1"]
            held = []
            for deaths in (1, 2):
                await deploy(engine, HOLD)
                await waiting.until(space.depth, lambda depth: depth.leased)
                assert worker.pid is not None
                psutil.Process(worker.pid).kill()
                held.append((await space.depth()).leased)
                await engine.call("job_undeploy", {"name": "hold"}, ADMIN)
                assert await engine.fleet.wait(lambda deaths=deaths: worker.restarts == deaths, 20)
            await deploy(engine, WORK.format(out=out))
            await waiting.until(space.depth, lambda depth: depth == Depth(0, 0, 0))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert min(held) >= 20
    assert sum(line["attempt"] > 1 for line in lines) >= max(held)
    assert sorted(line["n"] for line in lines) == list(range(2000))


async def test_deduplication_loses_nothing_when_its_worker_is_killed(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    _numbers(source, 12_000)
    with source.open("a") as more:
        more.write("".join(f'{{"n": {n}}}\n' for n in range(12_000)))
    with anyio.fail_after(60):
        async with engine_on(tmp_path / "home", workers=1) as engine:
            await engine.call("job_put", {"document": DEDUPE.format(source=source, out=out)}, ADMIN)
            await engine.call("job_deploy", {"name": "once", "wait_seconds": 0}, ADMIN)
            worker = engine.fleet.workers["local-1"]
            size = 0
            for deaths in range(1, 4):
                size = 20_000 + await waiting.until(lambda: waiting.size(out), lambda now, size=size: now > size)
                assert worker.pid is not None
                psutil.Process(worker.pid).kill()
                assert await engine.fleet.wait(lambda deaths=deaths: worker.restarts == deaths, 20)
                assert await engine.fleet.wait(lambda: worker.pid is not None and worker.connected, 20)

            def completed() -> bool:
                there = engine.fleet.workload_views(tenant="tenant-a", job="once")
                return all(one.state == "completed" for one in there)

            assert await engine.fleet.wait(completed, 40)
    seen = _seen(out)
    assert set(seen) == set(range(12_000))
    # Twice is only what was on its way in the moment of a death.
    assert sum(seen.values()) < 24_000
