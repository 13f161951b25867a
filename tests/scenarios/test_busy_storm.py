"""Several processes on one home that write at once: nobody is told that the database is busy, and nobody starves."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import quantiles
from typing import Any

import anyio
import pytest

from tests import figures
from tests.engines import ADMIN, engine_on
from tests.triggers.rig import DEFINITION

pytestmark = pytest.mark.anyio
CLIENT = Path(__file__).with_name("storm_client.py")
RATE = 50


async def _storm(home: Path, seconds: float, rates: list[int]) -> list[dict[str, Any]]:
    """One process for each rate (0 is as fast as it can) on one home, all at once; what each of them tells."""
    processes: list[asyncio.subprocess.Process] = []
    async with AsyncExitStack() as stack:
        for number, rate in enumerate(rates):
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(CLIENT), str(home), f"p{number}", str(seconds), str(rate),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**24,
            )  # fmt: skip
            stack.push_async_callback(_end, process)
            processes.append(process)
        for process in processes:
            assert process.stdout and await process.stdout.readline() == b"ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write(b"go\n")
        told = [json.loads(await process.stdout.readline()) for process in processes if process.stdout]
    return told


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()


ALONE = (pytest.mark.soak, pytest.mark.quiet)


@pytest.mark.parametrize(
    ("saturating", "seconds", "p99", "worst"),
    # A test machine has other work; how long a write takes is judged in the soak, on a quiet one.
    [
        pytest.param(2, 1.0, 1.0, 2.0, id="ci"),
        pytest.param(0, 15.0, 0.05, 0.5, id="soak-paced", marks=ALONE),
        pytest.param(2, 15.0, 0.05, 0.5, id="soak-saturated", marks=ALONE),
    ],
)
async def test_writers_of_three_processes_are_never_told_busy(
    tmp_path: Path, saturating: int, seconds: float, p99: float, worst: float, record_property: figures.Recorder
) -> None:
    home = tmp_path / "home"
    async with engine_on(home, workers=0) as engine:
        await engine.call("trigger_publish", DEFINITION, ADMIN)
    with anyio.fail_after(60 + seconds):
        told = await _storm(home, seconds, [RATE] * (3 - saturating) + [0] * saturating)
    assert [one["errors"] for one in told] == [[], [], []]
    assert sum(one["owner"] for one in told) == 1
    writes = sum(len(one["seconds"]) for one in told)
    figures.record(record_property, runs=writes)
    for one in told[: 3 - saturating]:
        cuts = quantiles(one["seconds"], n=100)
        slow = max(one["seconds"])
        print(f"{len(one['seconds'])} of {writes} writes: p99 {cuts[98] * 1e3:.1f} ms, at most {slow * 1e3:.1f} ms")
        assert len(one["seconds"]) == int(seconds * RATE)
        assert cuts[98] < p99 and slow < worst
    async with engine_on(home, workers=0) as engine:
        recorded = await engine.database.read(lambda db: db.table("invocations").count)
        assert recorded == writes + len(told), "each has been recorded once"
