"""The data plane under kills and under load: nothing is lost, and memory does not follow the size of the input."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.engine import Engine
from tests import figures, waiting
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024
JOB = """
name: copy
input: {{files: {{path: {source}, mode: batch, json: true}}}}
actions:
  - add: {{output-fields: {{label: "event-${{n}}"}}}}{more}
output: {{file: {target}}}
"""


def write_events(path: Path, count: int, text: str = "x" * 100) -> None:
    with path.open("wb") as file:
        for number in range(count):
            file.write(b'{"n":%d,"text":"%b"}\n' % (number, text.encode()))


SLOW = """
  - script: "for i = 1, 3000 do end"
"""  # a small file is not over before it can be killed


async def copy_under_kills(home: Path, events: int, kills: int, seconds: float, more: str = "") -> int:
    """Copy a file while the worker is killed at fractions of the way; every event must arrive.

    Returns how many came more than once.
    """
    source, target = home.parent / "in.jsonl", home.parent / "out.jsonl"
    await asyncio.to_thread(write_events, source, events)
    async with engine_on(home, workers=1) as engine:
        await deploy(engine, JOB.format(source=source, target=target, more=more))
        size = waiting.size(source)
        for kill in range(1, kills + 1):
            await reached(target, size * kill // (kills + 1), seconds)
            pid = engine.fleet.workers["local-1"].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert await engine.fleet.wait(lambda dead=pid: engine.fleet.workers["local-1"].pid not in (None, dead), 20)
        assert await engine.fleet.wait(lambda: state(engine) == "completed", seconds), engine.fleet.workload_views(
            tenant=ADMIN.tenant
        )
    seen, torn = await asyncio.to_thread(numbers, target)
    assert torn <= kills, "a kill leaves at most one part of a line (docs/components.md)"
    lost = [number for number in range(events) if not seen[number]]
    assert lost == [], f"{len(lost)} of {events} events were lost"
    assert len(seen) == events, "and nothing else is there"
    return sum(seen.values()) - events


def numbers(target: Path) -> tuple[Counter[int], int]:
    """How often each number came, and how many lines are a part of one."""
    seen, torn = Counter[int](), 0
    with target.open("rb") as file:
        for line in file:
            try:
                seen[orjson.loads(line)["n"]] += 1
            except orjson.JSONDecodeError:
                torn += 1
    return seen, torn


def state(engine: Engine) -> str:
    (copying,) = engine.fleet.workload_views(tenant=ADMIN.tenant, job="copy")
    return copying.state


async def reached(path: Path, size: int, seconds: float) -> None:
    await waiting.until(lambda: waiting.size(path) >= size, seconds=seconds)


async def test_a_worker_that_is_killed_several_times_on_the_way_loses_no_event(tmp_path: Path) -> None:
    await copy_under_kills(tmp_path / "home", events=8_000, kills=3, seconds=60, more=SLOW)


@pytest.mark.soak
async def test_a_million_events_survive_the_kill_of_their_worker_in_the_middle(
    tmp_path: Path, record_property: figures.Recorder
) -> None:
    again = await copy_under_kills(tmp_path / "home", events=1_000_000, kills=1, seconds=300)
    figures.record(record_property, kills=1, events=1_000_000, lost=0, doubled=again)
    assert again < 900_000, "reading went on where the output had accepted, and not at the start"


async def peak_memory(home: Path, source: Path) -> int:
    """The most memory that the worker had in use while it copied the file, in bytes."""
    target = home.parent / f"{home.name}.out"
    async with engine_on(home, workers=1) as engine:
        await deploy(engine, JOB.format(source=source, target=target, more=""))
        assert await engine.fleet.wait(lambda: state(engine) == "completed", 300)
        found: dict[str, Any] = await engine.call("worker_get", {"name": "local-1"}, ADMIN)
    assert waiting.size(target) > waiting.size(source), "all of it went through"
    target.unlink()
    peak: int = found["report"]["memory_peak_bytes"]
    return peak


async def memory_of(tmp_path: Path, small: int, large: int) -> tuple[int, int]:
    peaks = []
    for size in (small, large):
        source = tmp_path / f"{size}.jsonl"
        await asyncio.to_thread(write_events, source, size * MIB // 120)
        peaks.append(await peak_memory(tmp_path / f"home-{size}", source))
        source.unlink()
    return peaks[0], peaks[1]


async def test_ten_times_the_input_takes_the_same_memory(tmp_path: Path) -> None:
    small, large = await memory_of(tmp_path, 4, 40)
    assert large < small + 16 * MIB, f"{small // MIB} MiB for 4 MiB of input, {large // MIB} MiB for 40 MiB"


@pytest.mark.soak
async def test_a_gibibyte_takes_the_memory_of_ten_mebibytes(tmp_path: Path) -> None:
    small, large = await memory_of(tmp_path, 10, 1024)
    assert large < small + 24 * MIB, f"{small // MIB} MiB for 10 MiB of input, {large // MIB} MiB for 1 GiB"
