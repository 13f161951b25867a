"""A client of the crash fleet: a process that owns or attaches, invokes with keys, and keeps a ledger on disk.

What it writes (and syncs) after an answer is what the engine has promised; the test compares it with the store. A line
is: trigger, key, invocation, state, and a dot.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from core import errors, logs
from core.model.principal import EVERY_TENANT, Caller, Principal, Role, Surface
from core.model.states import INVOCATION
from core.settings import Settings
from mcp_server.attach import Session, open_session
from tests import waiting

HEARTBEAT_SECONDS = 0.5  # so that a worker of another machine that was cut off joins again soon


class Ledger:
    """The runs whose end this client was told, also in its lives before."""

    def __init__(self, path: Path) -> None:
        lines = path.read_text().split("\n") if path.exists() else []
        self.keys = {line.split(" ")[1] for line in lines if line.endswith(".")}
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, line: str) -> None:
        os.write(self._fd, f"{line} .\n".encode())
        os.fsync(self._fd)


async def work(session: Session, ledger: Ledger, caller: Caller, slug: str, todo: list[str]) -> None:
    """Run what is to do, one after the other, each until it has ended."""
    while todo:
        key = todo.pop()
        arguments = {"slug": slug, "params": {"env": key}, "idempotency_key": key, "wait_timeout_seconds": 30}
        while True:
            try:
                record = await session.call("trigger_invoke", arguments, caller)
            except (errors.Busy, errors.Unconfirmed, errors.StorageUnavailable):
                await waiting.pause(0.01)  # before it tries again, as a client would
                continue
            if INVOCATION.terminal(record["state"]):
                break
        ledger.write(f"{slug} {key} {record['invocation_id']} {record['state']}")


async def main(home: Path, name: str, runs: int, lanes: int, edge_runs: int, edge_lanes: int, nats: str) -> None:
    logs.configure("warning", client=name)
    caller = Caller(Principal(name, Role.ADMIN, (EVERY_TENANT,)), "tenant-a", Surface.CLI)
    ledger = Ledger(home.parent / f"{name}.ledger")
    settings = Settings(
        home=home, drain_seconds=1.0, heartbeat_seconds=HEARTBEAT_SECONDS, reconcile_patience_seconds=3600, nats=nats
    )
    async with open_session(settings, serve_workers=2) as session:
        working = []
        for slug, count, at_once in (("smoke_trigger", runs, lanes), ("edge_smoke", edge_runs, edge_lanes)):
            todo = [key for n in range(count - 1, -1, -1) if (key := f"{name}-{slug}-{n}") not in ledger.keys]
            working += [work(session, ledger, caller, slug, todo) for _ in range(at_once)]
        await asyncio.gather(*working)


if __name__ == "__main__":
    _, place, who, *numbers, url = sys.argv
    asyncio.run(main(Path(place), who, *map(int, numbers), nats=url))
