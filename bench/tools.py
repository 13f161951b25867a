"""tools/list and tools/call at several numbers of published triggers, and the cold start, over MCP stdio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from bench import engines, wire
from bench.measure import Call, Latency, Scale, in_flight, middle, sequential, take_turns
from bench.report import Row

LISTS_PER_ROUND = 30
COLD_STARTS = 3


async def measure(scale: Scale, folder: Path) -> list[Row]:
    rows: list[Row] = []
    for count in scale.tools:
        home = folder / f"home-{count}"
        async with engines.engine(home) as running:
            await engines.prepare(running)
            await publish(running, count - 1)
        found = await _sides(scale, folder, home)
        what = f"tools/list, {count:,} triggers"
        note = f"floor: the same {found['pages']} page(s) from a dict"
        rows += [
            Row(f"{what}, first page", "ms", found["list"].p50, found["floor_list"].p50, 1.5),
            Row(f"{what}, whole", "ms", found["walk"].p50, found["floor_walk"].p50, 1.5, note=note),
        ]
    return [*rows, *await _calls(scale, folder), *await _cold(folder, scale)]


async def publish(running: Any, count: int) -> None:
    """Publish `count` more triggers, like the smoke trigger, and with the schema of an ordinary tool."""
    definition = orjson.loads((engines.EXAMPLES / "smoke_trigger.json").read_bytes())
    schema = {
        "type": "object",
        "properties": {
            "env": {"type": "string", "enum": ["dev", "staging", "prod"], "description": "Where to run."},
            "depth": {"type": "integer", "minimum": 1, "maximum": 9, "description": "How deep to look."},
            "since": {"type": "string", "format": "date-time", "description": "Ignore what is older."},
            "labels": {"type": "array", "items": {"type": "string"}, "maxItems": 20, "description": "Only these."},
            "dry_run": {"type": "boolean", "description": "Say what would happen, and do nothing."},
            "contact": {"type": "string", "maxLength": 200, "description": "Who is told about the outcome."},
        },
        "required": ["env"],
    }
    numbers = iter(range(count))

    async def one() -> None:
        wanted = {**definition, "slug": f"bench_{next(numbers):05}", "parameter_schema": schema}
        await running.call("trigger_publish", wanted, engines.CALLER)

    if count:
        await in_flight(one, count, 64)


async def _pages(pipes: wire.Pipes) -> list[dict[str, Any]]:
    """Every page of tools/list, following the cursors."""
    pages = [engines.answered(await pipes.ask(engines.rpc("tools/list")))]
    while (cursor := pages[-1].get("nextCursor")) is not None:
        pages.append(engines.answered(await pipes.ask(engines.rpc("tools/list", cursor=cursor))))
    return pages


async def _sides(scale: Scale, folder: Path, home: Path) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(wire.process(*engines.mcp_command(home)))
        pages = await _pages(ours)
        ready = folder / f"{home.name}.json"
        ready.write_bytes(orjson.dumps(pages))
        command = wire.python("-m", "bench.floors.mcp_stdio", str(ready))
        floor = await stack.enter_async_context(wire.process(*command))
        requests = [engines.rpc("tools/list")]
        requests += [engines.rpc("tools/list", cursor=page["nextCursor"]) for page in pages[:-1]]

        def first(pipes: wire.Pipes) -> Any:
            return lambda: pipes.ask(requests[0])

        def whole(pipes: wire.Pipes) -> Any:
            async def walk() -> None:
                for request in requests:
                    await pipes.ask(request)

            return walk

        lists = min(LISTS_PER_ROUND, scale.sequential)
        walks = max(min(10, lists), lists // len(pages))
        sides = {
            "floor_list": (first(floor), lists),
            "list": (first(ours), lists),
            "floor_walk": (whole(floor), walks),
            "walk": (whole(ours), walks),
        }
        for one, _ in sides.values():
            await one()

        def timed(one: Any, count: int) -> Any:
            return lambda: sequential(one, count)

        rounds = await take_turns({name: timed(*pair) for name, pair in sides.items()}, scale.rounds)
    return {"pages": len(pages), **{name: middle(found) for name, found in rounds.items()}}


async def _calls(scale: Scale, folder: Path) -> list[Row]:
    """tools/call of the same trigger, among few and many others; the servers run side by side and take turns."""
    raw = engines.rpc("tools/call", name=f"trigger_invoke_{engines.SLUG}", arguments=engines.PARAMS)
    async with AsyncExitStack() as stack:
        sides: dict[str, Callable[[], Awaitable[Latency]]] = {}
        for count in scale.tools:
            command = engines.mcp_command(folder / f"home-{count}")
            pipes = await stack.enter_async_context(wire.process(*command))

            async def call(pipes: wire.Pipes = pipes) -> None:
                engines.check(engines.answered(await pipes.ask(raw))["structuredContent"])

            async def side(call: Call = call) -> Latency:
                return await sequential(call, scale.sequential)

            await side()
            sides[str(count)] = side
        rounds = await take_turns(sides, scale.rounds)
    found = {count: middle(rounds[str(count)]).p50 for count in scale.tools}
    fewest = min(found)
    return [
        Row(f"tools/call p50, {count:,} triggers", "ms", p50, found[fewest], 1.1, note=f"floor: with {fewest}")
        for count, p50 in found.items()
    ]


async def _cold(folder: Path, scale: Scale) -> list[Row]:
    """From the start of the process to the first answer to tools/list, on an empty home and beside the floor."""

    async def start(*command: str) -> float:
        started = time.perf_counter()
        async with wire.process(*command, stderr=asyncio.subprocess.DEVNULL) as pipes:
            engines.answered(await pipes.ask(engines.rpc("tools/list")))
            return time.perf_counter() - started

    ours = engines.mcp_command(folder / "cold")
    floor = wire.python("-m", "bench.floors.mcp_stdio", str(folder / f"home-{min(scale.tools)}.json"))
    rounds = await take_turns(
        {"floor": lambda: start(*floor), "ours": lambda: start(*ours)}, min(COLD_STARTS, scale.rounds)
    )
    found = {name: median(seconds) for name, seconds in rounds.items()}
    return [Row("cold start to the first tools/list", "s", found["ours"], found["floor"], 1.5)]
