"""Invocations beside a backup: the command, as a process of its own, on a home that an engine runs on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from bench import engines, wire
from bench.measure import Latency, Scale, latency, middle
from bench.report import Row

BODY_BYTES = 20_000


async def measure(scale: Scale, folder: Path) -> list[Row]:
    home = folder / "home"
    alone: list[Latency] = []
    beside: list[Latency] = []
    seconds: list[float] = []
    async with engines.engine(home, workers=1) as running:
        await engines.prepare(running)
        for _ in range(0, scale.home_bytes, 500 * BODY_BYTES):  # in commits that no log grows large by
            await running.database.write(_fill, min(500, scale.home_bytes // BODY_BYTES))
        await _calls(running, 1.0)
        for number in range(scale.rounds):
            backup = asyncio.create_task(_backup(home, folder / f"{number}.tar"))
            times, took = await _until(running, backup)
            beside.append(latency(times))
            seconds.append(took)
            alone.append(latency(await _calls(running, min(took, 20.0))))
            (folder / f"{number}.tar").unlink()
    size = scale.home_bytes / 1e9
    was, now = middle(alone), middle(beside)
    return [
        Row(f"Engine.call p50 beside a backup of {size:g} GB", "ms", now.p50, was.p50, note="floor: without one"),
        Row(f"Engine.call p99 beside a backup of {size:g} GB", "ms", now.p99, was.p99, 3.0),
        Row("backup, from the command to the archive", "s", sorted(seconds)[len(seconds) // 2]),
    ]


async def _backup(home: Path, to: Path) -> None:
    command = wire.python("-c", engines.MAIN, "backup", "--without-keys", str(to), "--home", str(home))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the backup failed: {said.decode()}")


async def _until(running: Any, task: asyncio.Task[None]) -> tuple[list[float], float]:
    """The times of calls until a task is done, and how long that took."""
    times, began = [], time.perf_counter()
    while not task.done():
        started = time.perf_counter()
        await engines.invoke(running)
        times.append(time.perf_counter() - started)
    await task
    return times, time.perf_counter() - began


async def _calls(running: Any, seconds: float) -> list[float]:
    times, began = [], time.perf_counter()
    while (started := time.perf_counter()) - began < seconds:
        await engines.invoke(running)
        times.append(time.perf_counter() - started)
    return times


def _fill(db: Any, count: int) -> None:
    """Rows that are no use to anybody, and cannot be compressed."""
    db.conn.execute("CREATE TABLE IF NOT EXISTS filling (body BLOB)")
    db.conn.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " INSERT INTO filling SELECT randomblob(?) FROM n",
        (count, BODY_BYTES),
    )
