"""A process that owns a home, runs a trigger there, and kills itself at the Nth boundary of the run.

Boundaries are: before and after each transaction, and before and after each POST to the callback. With N = 0 it lives,
and prints how many boundaries there were. What it was told of the run is printed as soon as it was told.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from core import logs, ownership
from core.engine import Engine, open_engine
from core.operations import REGISTRY
from core.settings import Settings
from core.store.database import Database
from core.triggers import posting
from tests import waiting
from tests.engines import ADMIN
from tests.scenarios.boundaries import Boundaries
from tests.triggers.rig import Rig, response

KEY = "the-run"
SETTINGS: dict[str, Any] = {"workers": 0, "drain_seconds": 1.0, "egress_allow": ("127.0.0.0/8",), "adopt": True}


def plant(boundaries: Boundaries) -> None:
    """Put a boundary around every commit and every POST."""
    attempt, post = Database._attempt, posting.Client.post

    def attempt_between(self: Database, *given: Any) -> Any:
        boundaries.pass_one()
        result = attempt(self, *given)
        boundaries.pass_one()
        return result

    async def post_between(self: posting.Client, *given: Any) -> posting.Answer:
        boundaries.pass_one()
        answer = await post(self, *given)
        boundaries.pass_one()
        return answer

    Database._attempt = attempt_between  # type: ignore[method-assign]
    Engine.keep_retention = rest  # type: ignore[method-assign]
    posting.Client.post = post_between  # type: ignore[method-assign]


async def finished(rig: Rig, record: dict[str, Any], states: int) -> dict[str, Any]:
    """The record, when its callback has been delivered for so many states."""
    wanted = ["delivered"] * states
    return await waiting.until(
        lambda: rig.get(record), lambda found: [one["outcome"] for one in found["callbacks"]] == wanted
    )


async def rest(engine: Engine) -> None:
    """In the place of the retention, whose commits come when they come and are no part of what is cut off."""
    await asyncio.get_running_loop().create_future()


async def main(home: Path, url: str, fatal: int) -> None:
    logs.configure("error")  # to stderr: what is told on stdout is read
    boundaries = Boundaries(fatal)
    plant(boundaries)
    owned = ownership.acquire(ownership.prepare(home))
    assert owned is not None
    async with open_engine(Settings(home=home, **SETTINGS), REGISTRY, owned) as engine:
        rig = Rig(engine)
        boundaries.count = 0
        record = await rig.invoke(ADMIN, idempotency_key=KEY, callback={"url": url})
        sys.stdout.write(f"{record['invocation_id']}\n")
        sys.stdout.flush()
        await rig.say(response(record))
        await finished(rig, record, 2)
        sys.stdout.write(f"{boundaries.count}\n")
        sys.stdout.flush()
        boundaries.count = -1


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
