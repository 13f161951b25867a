"""A client of the crash fleet: a process that owns or attaches, invokes with keys, and keeps a ledger on disk.

What it writes (and syncs) after an answer is what the engine has promised; the test compares it with the store.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from core import errors
from core.model.principal import EVERY_TENANT, Caller, Principal, Role, Surface
from core.settings import Settings
from mcp_server.attach import open_session
from tests import waiting


async def main(home: Path, name: str, total: int, in_flight: int) -> None:
    caller = Caller(Principal(name, Role.ADMIN, (EVERY_TENANT,)), "tenant-a", Surface.CLI)
    ledger = home.parent / f"{name}.ledger"
    done = set(ledger.read_text().split("\n")) if ledger.exists() else set()
    seen = {line.split(" ")[0] for line in done if line.endswith(".")}
    fd = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    todo = [f"{name}-{n}" for n in range(total) if f"{name}-{n}" not in seen]
    todo.reverse()

    async with open_session(Settings(home=home, drain_seconds=1.0), serve_workers=2) as session:

        async def work() -> None:
            while todo:
                key = todo.pop()
                arguments = {
                    "slug": "smoke_trigger",
                    "params": {"env": key},
                    "idempotency_key": key,
                    "wait_timeout_seconds": 30,
                }
                while True:
                    try:
                        record = await session.call("trigger_invoke", arguments, caller)
                        break
                    except (errors.Busy, errors.Unconfirmed, errors.StorageUnavailable):
                        await waiting.pause(0.01)
                os.write(fd, f"{key} {record['invocation_id']} {record['state']} .\n".encode())
                os.fsync(fd)

        await asyncio.gather(*(work() for _ in range(in_flight)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
