"""What `sluice serve` and its worker cost when nothing happens: 100 triggers, 10 jobs that wait."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil

from bench import engines, tools
from bench.measure import Scale
from bench.report import Row

TRIGGERS = 100
JOBS = 10
SETTLING_SECONDS = 1.0
WAITING_JOB = """
name: waiting-{number}
input: {{echo: {{event: "{{}}", json: true, trigger: {{message: {{filter-kind: user, filter-tag: never.{number}}}}}}}}}
output: {{discard: {{}}}}
"""


async def measure(scale: Scale, folder: Path) -> list[Row]:
    home = folder / "home"
    async with engines.engine(home) as running:
        await engines.prepare(running)
        await tools.publish(running, TRIGGERS - 1)
        for number in range(JOBS):
            await engines.deploy(running, WAITING_JOB.format(number=number))
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
