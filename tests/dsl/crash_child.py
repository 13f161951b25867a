"""One job in a process of its own, for tests that kill it: `python -m tests.dsl.crash_child STATE SOURCE SINK ACTIONS`.

All but STATE are JSON. The process says `done` when the job has ended by itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from core.dsl.component import Event, Limits, Run
from core.dsl.language.compile import compile_job
from core.dsl.language.course import Leg, Numbers
from core.worker.executor import Executor
from tests import waiting
from tests.dsl.rig import Worker
from tests.filepolicies import EVERYWHERE

PAUSE_SECONDS = (
    0.005  # for some events at a time, so that a small job lasts longer than it takes to accept what it writes
)


async def main() -> None:
    state, source, sink, actions = sys.argv[1], *map(json.loads, sys.argv[2:])
    worker = Worker(Path(state), Limits(files=EVERYWHERE, egress_allow=("127.0.0.0/8",)))
    document = {"name": "job", "input": source, "actions": actions, "output": sink}
    job = compile_job(document, worker.env())

    def slowly(events: Iterable[Event], run: Run, numbers: Numbers) -> tuple[list[Event], Numbers]:
        waiting.pause_thread(PAUSE_SECONDS)  # time in which it can be killed
        return list(events), numbers

    slow = replace(job, legs=(Leg(slowly, slow=False), *job.legs))
    await Executor(slow, worker.env(), on_run=worker.reports.append).run()
    sys.stdout.write("done")
    sys.stdout.flush()


asyncio.run(main())
