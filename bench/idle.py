"""What `sluice serve` and its worker cost when nothing happens, and a worker that holds a thousand jobs that wait."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil

from bench import engines, tools
from bench.measure import Scale
from bench.report import Row

TRIGGERS = 100
JOBS = 10
SETTLING_SECONDS = 1.0


async def measure(scale: Scale, folder: Path) -> list[Row]:
    return [*await _few(scale, folder / "few"), *await _many(scale, folder / "many")]


async def _many(scale: Scale, folder: Path) -> list[Row]:
    """Message-triggered jobs on one worker that wait for messages which never come."""
    async with engines.engine(folder, worker_slots=max(64, scale.waiting)) as running:
        started = time.perf_counter()
        for number in range(scale.waiting):
            await engines.deploy(running, engines.WAITING_JOB.format(number=number))
        deployed = time.perf_counter() - started
        pid = running.fleet.workers["local-1"].pid
        if pid is None:
            raise RuntimeError("the engine has no worker")
        worker = psutil.Process(pid)
        await asyncio.sleep(min(SETTLING_SECONDS, scale.idle_seconds))
        ours = psutil.Process()  # the engine is in this process
        before, own = _seconds(worker), _seconds(ours)
        await asyncio.sleep(scale.idle_seconds)
        used = (_seconds(worker) - before) / scale.idle_seconds * 100
        engine = (_seconds(ours) - own) / scale.idle_seconds * 100
        memory = worker.memory_info().rss / 2**20
    note = f"{scale.waiting} waiting jobs"
    return [
        Row("one worker, processor", "%", used, None, 1.0, note=note),
        Row("one worker, memory", "MiB", memory, note=note),
        Row("engine beside it, processor", "%", engine, None, 1.0, note=note),
        Row("deploying them, one call each", "s", deployed, note=note),
    ]


async def _few(scale: Scale, home: Path) -> list[Row]:
    async with engines.engine(home) as running:
        await engines.prepare(running)
        await tools.publish(running, TRIGGERS - 1)
        for number in range(JOBS):
            await engines.deploy(running, engines.WAITING_JOB.format(number=number))
    async with engines.served(home) as served:
        await asyncio.sleep(min(SETTLING_SECONDS, scale.idle_seconds))
        owner = psutil.Process(served.pid)
        workers = owner.children(recursive=True)
        if not workers:
            raise RuntimeError("the engine has no worker")
        before = [_seconds(process) for process in (owner, *workers)]
        await asyncio.sleep(scale.idle_seconds)
        after = [_seconds(process) for process in (owner, *workers)]
        used = [(late - early) / scale.idle_seconds * 100 for early, late in zip(before, after, strict=True)]
        memory = [process.memory_info().rss / 2**20 for process in (owner, *workers)]
    return [
        Row("engine, processor", "%", used[0], None, 1.0, note=f"{TRIGGERS} triggers, {JOBS} jobs"),
        Row("engine, memory", "MiB", memory[0], None, 150.0),
        Row("worker, processor", "%", sum(used[1:])),
        Row("worker, memory", "MiB", sum(memory[1:])),
    ]


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
