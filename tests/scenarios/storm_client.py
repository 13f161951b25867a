"""A process that writes to a home for some seconds, at a pace or as fast as it gets answers, and tells how it went.

Usage: storm_client.py HOME NAME SECONDS RATE, where RATE is writes a second, or 0 for eight at once without a pause.
Prints {"owner", "seconds": [of each write], "errors": [code of each refusal]}.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from core import clock, errors
from core.model.principal import EVERY_TENANT, Caller, Principal, Role, Surface
from core.settings import Settings
from mcp_server.attach import open_session
from tests import waiting


async def main(home: Path, name: str, seconds: float, rate: int) -> None:
    caller = Caller(Principal(name, Role.ADMIN, (EVERY_TENANT,)), "tenant-a", Surface.CLI)
    took: list[float] = []
    refused: list[str] = []
    async with open_session(Settings(home=home, workers=0)) as session:

        async def write() -> None:
            started = clock.monotonic()
            try:
                await session.call(
                    "trigger_invoke",
                    {"slug": "smoke_trigger", "params": {"env": name}, "wait_timeout_seconds": 0},
                    caller,
                )
            except errors.SluiceError as error:
                refused.append(error.code)
            took.append(clock.monotonic() - started)

        async def saturate() -> None:
            while clock.monotonic() < end:
                await write()

        await write()  # everything is imported and connected
        took.clear()
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)  # all begin together
        begin = clock.monotonic()
        end = begin + seconds
        if rate:
            async with asyncio.TaskGroup() as writes:
                for number in range(int(seconds * rate)):
                    await waiting.pause(begin + number / rate - clock.monotonic())  # until this one is due
                    writes.create_task(write())
        else:
            await asyncio.gather(*(saturate() for _ in range(8)))
        print(json.dumps({"owner": session.owner, "seconds": took, "errors": refused}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)  # the owner stays for the others


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
