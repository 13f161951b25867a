"""One job in a process of its own, for tests that kill it: `python -m tests.dsl.crash_child STATE SOURCE SINK ACTIONS`.

All but STATE are JSON. The process says `done` when the job has ended by itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from core.dsl.compile import compile_job
from core.dsl.component import Event, Run
from tests import waiting
from tests.dsl.rig import Worker

PAUSE_SECONDS = 0.005  # for each batch, so that a small job lasts longer than it takes to accept what it writes


async def main() -> None:
    state, source, sink, actions = sys.argv[1], *map(json.loads, sys.argv[2:])
    worker = Worker(Path(state))
    document = {"name": "job", "input": source, "actions": actions, "output": sink}
    process = compile_job(document, worker.env()).process

    def slowly(events: list[Event], run: Run) -> list[Event]:
        waiting.pause_thread(PAUSE_SECONDS)
        return process(events, run)

    await worker.run(source, sink, slowly)
    sys.stdout.write("done")
    sys.stdout.flush()


asyncio.run(main())
