"""A process that owns a home, with one worker, until it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from core import logs
from tests.engines import engine_on


async def main(home: Path) -> None:
    logs.configure("error")
    async with engine_on(home):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
