"""What one engine carries: workers of other machines that join, beat and do nothing else, and workloads on them."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import AsyncExitStack
from pathlib import Path

import psutil

from bench import engines, wire, workers
from bench.measure import Scale
from bench.report import Row
from core.engine import Engine

GROUP = "crowd"
REPLICAS = 64
JOIN_SECONDS = 300.0
SETTLE_SECONDS = 300.0


async def measure(scale: Scale, folder: Path) -> list[Row]:
    rows = []
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(engines.engine(folder / "home", 0, http_connections_per_address=1000))
        address = await stack.enter_async_context(workers.door(running, folder / "home"))
        note = f"{scale.idle_workers} over a WebSocket"
        file = await workers.token(running, folder, GROUP, scale.idle_workers)
        began = time.perf_counter()
        command = wire.python("-m", "bench.crowd", address, str(file), str(folder / GROUP), str(scale.idle_workers))
        crowd = await stack.enter_async_context(wire.process(*command))
        async with asyncio.timeout(JOIN_SECONDS):
            await crowd.line()
        there = running.fleet.workers
        names = [f"idle-{n}" for n in range(scale.idle_workers)]
        await running.fleet.wait(lambda: all(one in there and there[one].online for one in names), JOIN_SECONDS)
        joined = time.perf_counter() - began
        rows += [Row("workers that join, with a credential made for each", "1/s", len(names) / joined, note=note)]
        used, memory = await _idle(scale)
        rows += [
            Row("engine, processor, workers that do nothing", "%", used, note=note),
            Row("engine, memory", "MiB", memory, note=note),
        ]
        count = math.ceil(scale.workloads / REPLICAS)
        took = await _deploy(running, count)
        note = f"{count * REPLICAS:,} workloads on {scale.idle_workers} workers"
        rows.append(Row("deploying, one call for 64 of them", "s", took, note=note))
        used, memory = await _idle(scale)
        rows += [
            Row("engine, processor, workloads that do nothing", "%", used, note=note),
            Row("engine, memory", "MiB", memory, note=note),
        ]
        began = time.perf_counter()
        await running.call("deployment_list", {}, engines.CALLER)
        await running.call("workload_list", {"limit": 100}, engines.CALLER)
        rows.append(
            Row("a page of workloads, and all deployments", "ms", (time.perf_counter() - began) * 1e3, note=note)
        )
    return rows


async def _deploy(running: Engine, count: int) -> float:
    """Deploy so many jobs with REPLICAS each; the seconds until all of it runs."""
    began = time.perf_counter()
    ids: list[str] = []
    for number in range(count):
        document = engines.WAITING_JOB.format(number=number)
        ids += await engines.deploy(running, document, worker_group=GROUP, replicas=REPLICAS, wait_seconds=0)
    if not await running.fleet.wait(lambda: running.fleet.settled(ids), SETTLE_SECONDS):
        raise RuntimeError("not every workload came up")
    return time.perf_counter() - began


async def _idle(scale: Scale) -> tuple[float, float]:
    """Percent of a processor that the engine, which is this process, uses, and its memory in MiB."""
    await asyncio.sleep(min(2.0, scale.idle_seconds))
    ours = psutil.Process()
    before = ours.cpu_times()
    await asyncio.sleep(scale.idle_seconds)
    after = ours.cpu_times()
    used = (after.user + after.system - before.user - before.system) / scale.idle_seconds * 100
    return max(used, 0.0), ours.memory_info().rss / 2**20
