"""An owner of a home that sets keys and pushes items, and keeps a ledger on disk of what it was told is done."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from core import ownership
from core.engine import open_engine
from core.model.kv import Namespace
from core.operations import REGISTRY
from core.settings import Settings

IN_FLIGHT = 16


async def main(home: Path, begin: int) -> None:
    owned = ownership.acquire(ownership.prepare(home))
    assert owned is not None
    ledger = os.open(home.parent / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    async with open_engine(Settings(home=home, workers=0), REGISTRY, owned) as engine:
        space = Namespace(engine.kv, "tenant-a:crash")
        numbers = iter(range(begin, begin + 1_000_000))

        async def work() -> None:
            for n in numbers:
                assert (await space.set_if_absent(str(n), str(n))).done
                await space.push(str(n))
                await space.add("all", str(n % 500))
                os.write(ledger, f"{n}\n".encode())
                os.fsync(ledger)

        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
