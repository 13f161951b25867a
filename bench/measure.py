"""Taking times: one call at a time, many in flight, and rounds in which the sides take turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

Call = Callable[[], Awaitable[Any]]
DEADLINE_SECONDS = 60.0
"""How long one measurement may take: a call that is never answered ends the run."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much work a run does."""

    rounds: int
    sequential: int
    """Calls of one round, one at a time."""
    in_flight: int
    """Calls of one round with many in flight."""
    history: int
    """Invocations that are in the history before a call."""
    tools: tuple[int, ...]
    """How many triggers are published."""
    events: int
    """Events in the file of the data job."""
    steps: tuple[int, ...]
    """Steps of the planned workflow."""
    log_lines: int
    """Lines of one run of the jobs that write logs; in 8 runs one may write 18,000 without dropping any."""
    log_bytes: int
    """Of lines that are searched."""
    home_bytes: int
    """Of the database that is backed up."""
    idle_seconds: float
    streams: int
    """Event streams that are open at once."""
    idle_workers: int
    """Workers of other machines that only beat."""
    workloads: int
    """Workloads on them."""
    waiting: int
    """Message-triggered jobs on one worker that nothing ever happens to."""


FULL = Scale(
    rounds=3,
    sequential=600,
    in_flight=6_000,
    history=100_000,
    tools=(10, 1_000, 10_000),
    events=400_000,
    steps=(1_000, 10_000),
    log_lines=2_000,
    log_bytes=1_000_000_000,
    home_bytes=1_000_000_000,
    idle_seconds=5.0,
    streams=2_000,
    idle_workers=500,
    workloads=10_000,
    waiting=1_000,
)
SMALLEST = Scale(
    rounds=1,
    sequential=5,
    in_flight=64,
    history=100,
    tools=(10,),
    events=1_000,
    steps=(10,),
    log_lines=20,
    log_bytes=500_000,
    home_bytes=2_000_000,
    idle_seconds=0.2,
    streams=20,
    idle_workers=4,
    workloads=64,
    waiting=10,
)


@dataclass(frozen=True, slots=True)
class Latency:
    """Times of single calls, in milliseconds."""

    p50: float
    p99: float


async def sequential(call: Call, count: int) -> Latency:
    """Time `count` calls, each after the one before. Raises TimeoutError when one is never answered."""
    clock = time.perf_counter
    times = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        for _ in range(count):
            started = clock()
            await call()
            times.append(clock() - started)
    return latency(times)


async def until(done: Callable[[], bool]) -> None:
    """Wait for something that gives no signal. Raises TimeoutError when it does not come."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not done():  # noqa: ASYNC110 - what is measured must not be told of who waits
            await asyncio.sleep(0.01)


async def in_flight(call: Call, count: int, width: int) -> float:
    """Calls per second when `width` of them are always under way. Raises TimeoutError when one is never answered."""
    left = count

    async def lane() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    started = time.perf_counter()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.gather(*(lane() for _ in range(width)))
    return count / (time.perf_counter() - started)


def latency(seconds: list[float]) -> Latency:
    """The percentiles of some times."""
    ordered = sorted(seconds)
    return Latency(ordered[len(ordered) // 2] * 1e3, ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1e3)


async def take_turns(sides: Mapping[str, Callable[[], Awaitable[Any]]], rounds: int) -> dict[str, list[Any]]:
    """What each side measured in each round. The sides alternate, so that a slow minute hits all of them."""
    found: dict[str, list[Any]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            found[name].append(await side())
    return found


def middle(latencies: list[Latency]) -> Latency:
    """The median of several rounds, for each percentile by itself."""
    return Latency(median(one.p50 for one in latencies), median(one.p99 for one in latencies))
