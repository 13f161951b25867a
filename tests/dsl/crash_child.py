"""One job in a process of its own, for tests that kill it: `python -m tests.dsl.crash_child STATE SOURCE SINK`.

SOURCE and SINK are JSON. The process says `done` when the job has ended by itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from core.dsl.component import Event, Run
from tests.dsl import rig
from tests.dsl.rig import Worker

PAUSE_SECONDS = 0.005  # for each batch, so that a small job lasts longer than it takes to accept what it writes


def slowly(events: list[Event], run: Run) -> list[Event]:
    time.sleep(PAUSE_SECONDS)
    return rig.pass_on(events, run)


async def main() -> None:
    state, source, sink = sys.argv[1:]
    await Worker(Path(state)).run(json.loads(source), json.loads(sink), slowly)
    sys.stdout.write("done")
    sys.stdout.flush()


asyncio.run(main())
