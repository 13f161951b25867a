"""The floor of calls in the middle of a job: a plain loop of httpx over the lines of a file, with so many in flight.

`python -m bench.floors.calls URL IN OUT WIDTH` prints the seconds it took, without the start of Python.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import orjson


def run(url: str, source: Path, target: Path, width: int) -> float:
    """Read, ask for each event, write the event with its answer in the order of the file; the seconds it took."""
    started = time.perf_counter()
    events = [orjson.loads(line) for line in source.read_bytes().splitlines()]
    asyncio.run(ask(url, events, width))
    target.write_bytes(b"".join(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in events))
    return time.perf_counter() - started


async def ask(url: str, events: list[dict[str, Any]], width: int) -> None:
    left = iter(events)
    async with httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=width)) as client:

        async def lane() -> None:
            for event in left:
                answer = await client.get(f"{url}/{event['user']}")
                event["response"] = orjson.loads(answer.raise_for_status().content)

        await asyncio.gather(*(lane() for _ in range(width)))


if __name__ == "__main__":
    print(run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
