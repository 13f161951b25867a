"""A process whose writes are recorded: it opens the homes that it is given, one after the other, and works in each."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from core import logs, ownership
from core.engine import open_engine
from core.model.principal import EVERY_TENANT, Caller, Principal, Role
from core.operations import REGISTRY
from core.settings import Settings

CALLER = Caller(Principal("ada", Role.ADMIN, (EVERY_TENANT,)), "tenant-a")


async def main(homes: list[Path]) -> None:
    logs.configure("error")
    for home in homes:
        owned = ownership.acquire(ownership.prepare(home))
        assert owned is not None
        answers = os.open(home / "answers", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        async with open_engine(Settings(home=home, workers=0, adopt=True), REGISTRY, owned) as engine:
            for number in ("2", "1"):
                await engine.call("variable_set", {"name": "AFTER", "value": number}, CALLER)
                os.write(answers, f"variable AFTER {number}\n".encode())
        os.close(answers)


if __name__ == "__main__":
    asyncio.run(main([Path(name) for name in sys.argv[1:]]))
