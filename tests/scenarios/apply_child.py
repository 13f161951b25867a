"""A process that owns a home, applies a plan there, and kills itself at the Nth boundary of the apply.

Boundaries are: before and after each transaction, before and after each thing that a worker is told. With N = 0 it
lives, and prints how many boundaries there were.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from core import channel, logs, ownership
from core.engine import Engine, open_engine
from core.model.principal import EVERY_TENANT, Caller, Principal, Role, Surface
from core.operations import REGISTRY
from core.settings import Settings
from core.store.database import Database
from tests.scenarios.boundaries import Boundaries

CALLER = Caller(Principal("alice", Role.ADMIN, (EVERY_TENANT,)), "tenant-a", Surface.INTERNAL)
TOLD = (b'["assign",', b'["unassign",', b'["channels",')  # the beginnings of their frames


def plant(boundaries: Boundaries) -> None:
    """Put a boundary around every commit and around all that workers are told."""
    attempt, send = Database._attempt, channel.Channel.send

    def attempt_between(self: Database, *given: Any) -> Any:
        boundaries.pass_one()
        result = attempt(self, *given)
        boundaries.pass_one()
        return result

    def send_between(self: channel.Channel, frame: bytes) -> None:
        if not frame.startswith(TOLD):
            return send(self, frame)
        boundaries.pass_one()
        send(self, frame)
        self._flush()  # so that what is behind the boundary has really left
        return boundaries.pass_one()

    Database._attempt = attempt_between  # type: ignore[method-assign]
    Engine.keep_retention = rest  # type: ignore[method-assign]
    channel.Channel.send = send_between  # type: ignore[method-assign]


async def rest(engine: Engine) -> None:
    """In the place of the retention, whose commits come when they come and are no part of what is cut off."""
    await asyncio.get_running_loop().create_future()


async def main(home: Path, plan_id: str, fatal: int) -> None:
    logs.configure("error")  # to stderr: what is told on stdout is read
    boundaries = Boundaries(fatal)
    plant(boundaries)
    owned = ownership.acquire(ownership.prepare(home))
    assert owned is not None
    async with open_engine(Settings(home=home, workers=2, drain_seconds=1.0, adopt=True), REGISTRY, owned) as engine:
        workers = engine.fleet.worker_rows
        await engine.fleet.wait(lambda: all(row["state"] == "online" for row in workers()), 20)
        boundaries.count = 0
        await engine.call("deployment_apply", {"plan_id": plan_id}, CALLER)
        sys.stdout.write(f"{boundaries.count}\n")
        sys.stdout.flush()
        boundaries.count = -1


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
