"""A worker that is killed while it reads Kafka: what its output had not accepted comes again, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import anyio
import pytest

from core.dsl.component import Limits
from tests import brokers, waiting
from tests.dsl.rig import Worker
from tests.dsl.test_kill import ROOT, numbers_in, size_of

pytestmark = pytest.mark.anyio
COUNT = 20_000
KILLS = 1


async def test_nothing_is_lost_of_kafka_when_the_worker_is_killed(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "writer", Limits(egress_allow=brokers.LOOPBACK))
    (tmp_path / "out").mkdir()
    lines = "".join(f'{{"n":{n},"pad":"{"x" * 100}"}}\n' for n in range(COUNT))
    with brokers.mock(3) as cluster, anyio.fail_after(60):
        sink = {"kafka": {"bootstrap-servers": cluster, "topic": "t", "key": "${n}", "partitioner": "crc32"}}
        assert (await worker.write(lines, sink)).ok
        source = {"kafka": {"bootstrap-servers": cluster, "topics": ["t"], "json": True, "session-timeout": "4s"}}
        target = {"file": {"path": str(tmp_path / "out" / "all.jsonl")}}
        sizes = [len(lines) // 2]
        for kill in range(KILLS + 1):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.dsl.crash_child", str(tmp_path / "state")),
                *(json.dumps(source), json.dumps(target), "[]"),
                cwd=ROOT,
            )
            if kill < KILLS:
                await waiting.until(lambda kill=kill: size_of(tmp_path / "out") >= sizes[kill], seconds=30, every=0.001)
            else:
                await waiting.until(lambda: len(set(numbers_in(tmp_path / "out")[0])) == COUNT, seconds=30, every=0.2)
            process.send_signal(signal.SIGKILL)
            await process.wait()
    found, torn = numbers_in(tmp_path / "out")
    assert set(found) == set(range(COUNT))
    assert COUNT <= len(found) < 2 * COUNT and torn <= KILLS + 1
    print(f"{len(found) - COUNT} of {COUNT} twice")
