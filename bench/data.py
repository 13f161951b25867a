"""The data plane: file -> parse -> add two fields with templates -> convert -> keep half -> file, on real workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from bench import engines, wire
from bench.measure import Scale, take_turns
from bench.report import Row
from core import clock

JOB = """
name: {name}
input:
  files: {{path: {source}, mode: batch, json: true}}
actions:
  - add: {{output-fields: {{label: "user-${{user}}", where: "${{host}}:${{service}}"}}}}
  - convert: {{conversions: [{{field: bytes, conversion: num}}]}}
  - filter: {{condition: "status < 400"}}
output:
  file: {{path: {target}, truncate: true}}
"""
SECONDS = 60.0


def write_events(path: Path, count: int) -> None:
    """Events of 137 bytes, every second of them with a status below 400."""
    hosts = [f"web-{n:03}.example" for n in range(50)]
    with path.open("wb") as file:
        for number in range(count):
            event = {
                "host": hosts[number % 50],
                "service": ("checkout", "payments")[number % 2],
                "user": 100_000 + number % 900_000,
                "status": (200, 503)[number % 2],
                "bytes": str(10_000 + number % 90_000),
                "path": f"/api/v1/items/{number % 10_000:06}",
            }
            file.write(orjson.dumps(event) + b"\n")


async def measure(scale: Scale, folder: Path) -> list[Row]:
    files = folder / "files"
    files.mkdir()
    sources = [files / f"events-{number}.jsonl" for number in (1, 2)]
    for source in sources:
        write_events(source, scale.events)
    floors = [files / f"floor-{number}.jsonl" for number in (1, 2)]
    targets = [files / f"ours-{number}.jsonl" for number in (1, 2)]

    async def by_hand(number: int) -> float:
        command = wire.python("-m", "bench.floors.compiled", str(sources[number]), str(floors[number]))
        async with wire.process(*command) as pipes:
            return float(await pipes.line())

    async def floor(width: int) -> float:
        """Events per second of `width` processes at once."""
        return width * scale.events / max(await asyncio.gather(*(by_hand(number) for number in range(width))))

    async with engines.engine(folder / "home", workers=2, file_roots=(str(files),)) as running:

        async def ours(width: int) -> float:
            started, ended = await run_jobs(running, JOB, sources[:width], targets[:width])
            return width * scale.events / (ended - started) * clock.NANOSECONDS

        sides: dict[str, Callable[[], Awaitable[float]]] = {
            "floor 1": lambda: floor(1),
            "ours 1": lambda: ours(1),
            "floor 2": lambda: floor(2),
            "ours 2": lambda: ours(2),
        }
        rounds = await take_turns(sides, scale.rounds)
    for mine, theirs in zip(targets, floors, strict=True):
        if mine.read_bytes() != theirs.read_bytes():
            raise RuntimeError(f"{mine.name} and {theirs.name} differ: the two sides do not do the same job")
    found = {name: median(rates) for name, rates in rounds.items()}
    return [
        Row("job file to file, one worker", "events/s", found["ours 1"], found["floor 1"], 0.7, more_is_better=True),
        Row("job file to file, two workers", "events/s", found["ours 2"], found["floor 2"], 0.7, more_is_better=True),
    ]


async def run_jobs(
    running: Any, job: str, sources: list[Path], targets: list[Path], group: str = "default"
) -> tuple[int, int]:
    """Run one job (name, source and target are filled in) for each file, each on a worker of its own in a group.

    (first start, last end) in ns, as the jobs say.
    """
    ends: list[dict[str, Any]] = []
    done = asyncio.Event()

    def noticed(kind: str, data: dict[str, Any]) -> None:
        if kind != "message" or b'"job-run-ended"' not in data["event"]:
            return
        ends.append(orjson.loads(data["event"])["message_data"])
        if len(ends) == len(sources):
            done.set()

    forget = running.subscribe(noticed)
    names = []
    try:
        for source, target in zip(sources, targets, strict=True):
            # A new name for each run: a job remembers how far it has read.
            names.append(f"bench-{clock.token(8)}")
            document = job.format(name=names[-1], source=source, target=target)
            await engines.deploy(running, document, wait_seconds=0, worker_group=group)
        async with asyncio.timeout(SECONDS):
            await done.wait()
        for name in names:
            await running.call("job_undeploy", {"name": name}, engines.CALLER)
    finally:
        forget()
    return min(end["started_at_ns"] for end in ends), max(end["ended_at_ns"] for end in ends)
