"""`python -m bench.attached HOME SEQUENTIAL IN_FLIGHT WIDTH`: invocations from a process that does not own the engine.

Prints {"p50", "p99", "per_second"} once for every line on its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import orjson

from bench import engines, measure
from core.settings import Settings
from mcp_server import attach


async def main(home: Path, sequential: int, in_flight: int, width: int) -> None:
    async with attach.open_session(Settings(home=home)) as session:
        if session.owner:
            raise RuntimeError("nobody owns the home: this process would measure itself")

        async def call() -> None:
            await engines.invoke(session)

        await measure.sequential(call, min(50, sequential))
        print("ready", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            latency = await measure.sequential(call, sequential)
            rate = await measure.in_flight(call, in_flight, width)
            found = {"p50": latency.p50, "p99": latency.p99, "per_second": rate}
            sys.stdout.write(orjson.dumps(found).decode() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *map(int, sys.argv[2:5])))
