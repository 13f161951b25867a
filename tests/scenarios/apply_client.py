"""A process attached to the owner of a home: applies each plan that it reads, and prints how that ended."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from core import errors
from core.model.principal import EVERY_TENANT, Caller, Principal, Role, Surface
from core.settings import Settings
from mcp_server.attach import open_session

CALLER = Caller(Principal("alice", Role.ADMIN, (EVERY_TENANT,)), "tenant-a", Surface.CLI)


async def main(home: Path) -> None:
    async with open_session(Settings(home=home), serve_workers=0) as session:
        print("owner" if session.owner else "attached", flush=True)
        while plan_id := (await asyncio.to_thread(sys.stdin.readline)).strip():
            try:
                done = await session.call("deployment_apply", {"plan_id": plan_id, "wait_seconds": 0}, CALLER)
                print(f"revision {done['revision']}", flush=True)
            except errors.SluiceError as error:
                print(error.code, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
