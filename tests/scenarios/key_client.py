"""A client that invokes with keys that other processes use as well, and prints what it was told for each of them."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

from core import errors
from core.model.principal import EVERY_TENANT, Caller, Principal, Role, Surface
from core.settings import Settings
from mcp_server.attach import open_session


async def main(home: Path, seed: int, keys: int, width: int) -> None:
    caller = Caller(Principal("alice", Role.ADMIN, (EVERY_TENANT,)), "tenant-a", Surface.CLI)
    told: list[tuple[str, str]] = []
    async with open_session(Settings(home=home)) as session:

        async def call(key: str, env: str) -> None:
            arguments = {"slug": "smoke_trigger", "params": {"env": env}, "idempotency_key": key}
            try:
                record = await session.call("trigger_invoke", {**arguments, "wait_timeout_seconds": 0}, caller)
                told.append((key, f"{record['invocation_id']} {record['params']['env']}"))
            except errors.SluiceError as error:
                told.append((key, error.code))

        order = [(f"k{n}", env) for n in range(keys) for env in "ab" for _ in range(width)]
        random.Random(seed).shuffle(order)
        await asyncio.gather(*(call(*one) for one in order))
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *map(int, sys.argv[2:5])))
