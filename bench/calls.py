"""Calls in the middle of a job: file -> an HTTP call for each event -> file, with 1 and with 16 in flight."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median

from bench import data, engines, wire
from bench.measure import Scale, take_turns
from bench.report import Row
from core import clock

JOB = """
name: {{name}}
input:
  files: {{{{path: {{source}}, mode: batch, json: true}}}}
actions:
  - http: {{{{url: "{url}/${{{{user}}}}", concurrency: {width}}}}}
output:
  file: {{{{path: {{target}}, truncate: true}}}}
"""
SLOW_MS = 20


async def measure(scale: Scale, folder: Path) -> list[Row]:
    files = folder / "files"
    files.mkdir()
    many, few = files / "many.jsonl", files / "few.jsonl"
    counts = {many: max(scale.events // 200, 20), few: max(scale.events // 1000, 20)}
    for source, count in counts.items():
        data.write_events(source, count)
    floor_out, our_out = files / "floor.jsonl", files / "ours.jsonl"
    at_once, slow = (wire.python("-m", "bench.floors.answer_http", str(ms)) for ms in (0, SLOW_MS))
    async with (
        wire.process(*at_once) as quick_server,
        wire.process(*slow) as slow_server,
        engines.engine(folder / "home", workers=1, file_roots=(str(files),), egress_allow=("127.0.0.1/32",)) as running,
    ):
        quick_url = f"http://127.0.0.1:{(await quick_server.line()).decode().strip()}"
        slow_url = f"http://127.0.0.1:{(await slow_server.line()).decode().strip()}"

        async def floor(url: str, source: Path, width: int) -> float:
            command = wire.python("-m", "bench.floors.calls", url, str(source), str(floor_out), str(width))
            async with wire.process(*command) as pipes:
                return counts[source] / float(await pipes.line())

        async def ours(url: str, source: Path, width: int) -> float:
            document = JOB.format(url=url, width=width)
            started, ended = await data.run_jobs(running, document, [source], [our_out])
            return counts[source] / (ended - started) * clock.NANOSECONDS

        cases = {
            "1 in flight": (quick_url, many, 1),
            "16 in flight": (quick_url, many, 16),
            f"1 in flight, answers after {SLOW_MS} ms": (slow_url, few, 1),
            f"16 in flight, answers after {SLOW_MS} ms": (slow_url, few, 16),
        }
        sides: dict[str, Callable[[], Awaitable[float]]] = {}
        for name, case in cases.items():
            sides[f"floor {name}"], sides[f"ours {name}"] = partial(floor, *case), partial(ours, *case)
        rounds = await take_turns(sides, scale.rounds)
    if our_out.read_bytes() != floor_out.read_bytes():
        raise RuntimeError("the two sides do not write the same")
    found = {name: median(rates) for name, rates in rounds.items()}
    return [
        Row(
            f"call for each event, {name}",
            "events/s",
            found[f"ours {name}"],
            found[f"floor {name}"],
            more_is_better=True,
        )
        for name in cases
    ]
