"""Logs: four workers that write as much as they can through one engine, and a search of what it has kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from bench import engines
from bench.floors import logs as floor
from bench.measure import Scale, take_turns, until
from bench.report import Row
from core import clock
from core.engine import Engine
from core.model.log_lines import Bundle, Gathered
from core.store.log_chunks import Source
from core.store.log_rows import Range
from core.store.log_search import Pattern
from core.store.logbook import Bounds, Logbook

WORKERS = 4
JOBS = 5
"""On each of them: what one job may write at once is bounded (core/worker/journal.py)."""
JOB = """
name: {name}
input: {{echo: {{event: {event}, trigger: {{message: {{filter-kind: user, filter-tag: {name}}}}}}}}}
output: {{print: STDOUT}}
"""
TRIGGER = {"display_name": "Write", "description": "Write lines.", "parameter_schema": {"type": "object"}}
RUNS = 8
WORKLOADS = 10  # that are searched
AT_ONCE = 400  # lines that a worker sends of one workload
HELD_BYTES = 8 * 1024 * 1024  # that wait for the thread of the logbook while it is filled
GIGABYTE = 1e9
SECONDS = 120.0
RARE, COMMON = "no such text", "PAYMENTS"


def lines(count: int) -> Iterator[str]:
    """Lines of 150 bytes or so, as a service writes them."""
    for number in range(count):
        yield (
            f"order {number * 7919 % 1_000_000} of customer {number * 104_729 % 5_000} "
            f"{('accepted', 'refused', 'shipped')[number % 3]} by {('checkout', 'payments')[number % 2]}-"
            f"{number * 31 % 50:02} for 10.0.{number * 17 % 256}.{number * 13 % 256}: took {number * 23 % 900} ms, "
            f"amount {number * 7 % 100_000 / 100:.2f} EUR, attempt {number % 3}"
        )


async def measure(scale: Scale, folder: Path) -> list[Row]:
    return [*await _written(scale, folder), *await _searched(scale, folder)]


# -- writing -----------------------------------------------------------------------------------------------


async def _written(scale: Scale, folder: Path) -> list[Row]:
    texts = list(lines(scale.log_lines))

    async def by_hand() -> float:
        return floor.write(folder / f"floor-{clock.token(8)}.db", texts * RUNS)

    async with engines.engine(folder / "home", WORKERS, worker_slots=1024) as running:

        async def ours() -> tuple[float, float, float, float]:
            return await _job_logs(running, texts)

        await ours()
        rounds = await take_turns({"ours": ours, "floor": by_hand}, scale.rounds)
    rate, loop, engine, lost = (median(figures) for figures in zip(*rounds["ours"], strict=True))
    alone = median(rounds["floor"])
    note = f"{WORKERS} workers, {WORKERS * JOBS} jobs"
    return [
        Row("from jobs to the disk", "lines/s", rate, None, 100_000, more_is_better=True, note=note),
        Row("the loop of the engine", "us/line", loop, None, 0.5),
        Row("lines that were dropped", "%", lost, None, 0.0),
        Row("the engine with its writer", "us/line", engine, alone, note="floor: joined, zstd, SQLite"),
    ]


async def _job_logs(running: Engine, texts: list[str]) -> tuple[float, float, float, float]:
    """Let jobs print these lines RUNS times.

    Returns (lines a second, us of the loop a line, us of the engine a line, how many of 100 lines were dropped).
    """
    book = running.logbook
    names = [f"bench-{clock.token(8)}" for _ in range(WORKERS * JOBS)]
    event = orjson.dumps("\n".join(texts)).decode()
    for name in names:
        await engines.deploy(running, JOB.format(name=name, event=event))
        trigger = {"slug": name, "target_job_name": name, "target_message_tag": name}
        await running.call("trigger_publish", {**TRIGGER, **trigger}, engines.CALLER)
    await asyncio.sleep(1)  # what deploying has left
    count = len(texts) * RUNS * len(names)
    taken, dropped = book.taken, book.dropped.total()
    began, loop, whole = time.perf_counter(), time.thread_time(), time.process_time()
    for _ in range(RUNS):
        for name in names:
            await running.call("trigger_invoke", {"slug": name}, engines.CALLER)
    await until(lambda: book.taken - taken + book.dropped.total() - dropped >= count and not book.held)
    took, came = time.perf_counter() - began, book.taken - taken
    figures = (time.thread_time() - loop) / came * 1e6, (time.process_time() - whole) / came * 1e6
    for name in names:
        await running.call("job_undeploy", {"name": name}, engines.CALLER)
    return came / took, *figures, (book.dropped.total() - dropped) / count * 100


# -- searching ---------------------------------------------------------------------------------------------


async def _searched(scale: Scale, folder: Path) -> list[Row]:
    book = Logbook(folder / "logs.db", Bounds(65_536, 168, 65_536, 0))
    book.open()
    try:
        raw = await _fill(book, scale.log_bytes)

        async def search(text: str, **within: Any) -> tuple[float, float]:
            began, used = time.perf_counter(), time.process_time()
            found = await book.search(Range("t", **within), 100, pattern=Pattern(text), seconds=SECONDS)
            if bool(found.lines) != (text == COMMON):
                raise RuntimeError(f"{text} was looked for, and {len(found.lines)} lines were found")
            return time.perf_counter() - began, time.process_time() - used

        async def by_hand() -> tuple[float, float]:
            began, used = time.perf_counter(), time.process_time()
            await asyncio.to_thread(floor.search, book.path, RARE)
            return time.perf_counter() - began, time.process_time() - used

        sides = {
            "all": lambda: search(RARE),
            "floor": by_hand,
            "one": lambda: search(RARE, of="job-3"),
            "level": lambda: search(RARE, levels=1 << 4),
            "newest": lambda: search(COMMON),
        }
        rounds = await take_turns(sides, scale.rounds)
    finally:
        await book.close()
    wall = {name: median(took for took, _ in times) for name, times in rounds.items()}
    used = {name: median(used for _, used in times) for name, times in rounds.items()}
    size = f"{raw / GIGABYTE:.3g} GB of lines"
    kept = book.path.stat().st_size / raw
    return [
        Row("a text that is not there", "s", wall["all"], wall["floor"], 1.5, note=f"{size}; floor: zstd, bytes.find"),
        Row("the same by processor time", "s/GB", used["all"] / raw * GIGABYTE, None, 1.0),
        Row("of one workload of ten", "ms", wall["one"] * 1e3),
        Row("of errors, of which there are none", "ms", wall["level"] * 1e3),
        Row("the newest 100 with a common text", "ms", wall["newest"] * 1e3),
        Row("kept on the disk", "bytes/byte", kept, None, 0.3),
    ]


async def _fill(book: Logbook, size: int) -> int:
    """Write lines of about so many bytes; how many there are."""
    sources = [Source(f"t/job-{number}#0", "", "local-1") for number in range(WORKLOADS)]
    texts, bundles = list(lines(20_000)), []
    for start in range(0, len(texts), AT_ONCE):
        gathered = Gathered()
        for number, text in enumerate(texts[start : start + AT_ONCE]):
            gathered.add(clock.now_ns() + number, "print", text, {"target": "STDOUT"})
        bundles.append((gathered.size, Bundle(1, len(gathered), gathered.columns(), gathered.text())))
    written = turn = 0
    while written < size:
        bytes_, bundle = bundles[turn % len(bundles)]
        book.take(sources[turn // len(bundles) % WORKLOADS], bundle.lines, bundle.columns, bundle.text)
        written += bytes_
        turn += 1
        if book.held > HELD_BYTES:
            await until(lambda: book.held < HELD_BYTES // 2)
    await until(lambda: not book.held)
    return written
