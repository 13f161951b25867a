"""Plans: how long it takes to compare a large wish with what was applied, and to come to it from the documents."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from bench import engines, wire
from bench.floors import order
from bench.measure import Scale, middle, sequential, take_turns
from bench.report import Row
from core.catalog import builtin, items, wiring
from core.deployments import compute, expand
from core.model.catalog import Workflow
from core.model.deployment import EMPTY, State, Worker

REPEATS = 5
CHANGED = 100  # every so-many-th step of the applied version was different
LARGEST = 100_000
QUICKSTART = "quickstart-file-store-roundtrip"


async def measure(scale: Scale, folder: Path) -> list[Row]:
    rows: list[Row] = []
    for steps in scale.steps:
        rows += await _size(scale, steps)
    return [*rows, await _command(scale, folder)]


async def _command(scale: Scale, folder: Path) -> Row:
    """The whole command, with the start of Python, at an engine that runs."""
    wanted = (
        "plan",
        "bench",
        "--from",
        f"workflow:{QUICKSTART}",
        "--set",
        "path=files",
        "--home",
        str(folder / "home"),
    )
    times = []
    async with engines.engine(folder / "home"):
        for _ in range(scale.rounds):
            started = time.perf_counter()
            command = wire.python("-c", engines.MAIN, *wanted)
            async with wire.process(*command, stderr=asyncio.subprocess.DEVNULL) as pipes:
                await pipes.line()
                times.append(time.perf_counter() - started)
                await pipes.rest_of_output()
    return Row("sluice plan, two steps", "s", median(times), target=0.6)


async def _size(scale: Scale, steps: int) -> list[Row]:
    workflow, lookup, workers = _workflow(steps, ""), _lookup(), [Worker("w", "default", slots=LARGEST)]
    request = expand.Request("bench", "workflow:bench@2")
    current = compute.make(_workflow(steps, "before"), request, lookup, workers, EMPTY).desired
    made = compute.make(workflow, request, lookup, workers, current)
    desired: State = made.desired
    if made.blockers or made.summary["update"] != -(-steps // CHANGED):
        raise RuntimeError(f"not the plan that was to be measured: {dict(made.summary)} {made.blockers[:2]}")
    text, applied = _document(desired), {step["id"]: step for step in orjson.loads(_document(current))["steps"]}

    gc.collect()
    gc.freeze()  # what is there before the work is not what either side is measured by

    def floor() -> None:
        order.plan(text, applied)

    def compare() -> None:
        compute.compare("bench", desired, current)

    def make() -> None:
        compute.make(workflow, request, lookup, workers, current)

    def side(work: Callable[[], None]) -> Any:
        async def call() -> None:
            work()

        return lambda: sequential(call, REPEATS)

    rounds = await take_turns({"floor": side(floor), "compute": side(compare), "make": side(make)}, scale.rounds)
    found = {name: middle(latencies) for name, latencies in rounds.items()}
    return [
        Row(f"compute, {steps:,} steps", "ms", found["compute"].p50, found["floor"].p50, 3.0),
        Row(f"documents to plan, {steps:,} steps", "ms", found["make"].p50, found["floor"].p50),
    ]


def _workflow(steps: int, changed: str) -> Workflow:
    """Pairs of a source and a printer; with `changed`, a few sources have other events."""
    boxes: list[dict[str, Any]] = []
    for number in range(steps // 2):
        word = changed if changed and number % (CHANGED // 2) == 0 else "hello"
        event = orjson.dumps({"n": number, "word": word}).decode()
        source = {"id": f"s{number}", "use": "blueprint:echo-source@1.0.0", "with": {"event": event}}
        boxes.append({**source, "out": f"channel:c{number}"})
        boxes.append({"id": f"p{number}", "use": "blueprint:file-printer@1.0.0", "in": f"channel:c{number}"})
    return Workflow.model_validate({"slug": "bench", "version": 2, "steps": boxes})


def _lookup() -> wiring.Lookup:
    return items.finder(builtin.load())


def _document(state: State) -> bytes:
    """The same wish as the floor reads it: jobs with what comes before them and the document they run."""
    before = {end: channel.producers for channel in state.channels.values() for end in channel.consumers}
    names = {job.step: job.name for job in state.jobs.values()}
    steps = [
        {"id": job.name, "after": [names[step] for step in before.get(job.step, ())], "document": job.document}
        for job in state.jobs.values()
    ]
    return orjson.dumps({"steps": steps})
