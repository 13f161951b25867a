"""One job in a process of its own, for tests that kill it: `python -m tests.dsl.crash_child STATE SOURCE SINK`.

SOURCE and SINK are JSON. The process says `done` when the job has ended by itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.dsl.rig import Worker


async def main() -> None:
    state, source, sink = sys.argv[1:]
    await Worker(Path(state)).run(json.loads(source), json.loads(sink))
    sys.stdout.write("done")
    sys.stdout.flush()


asyncio.run(main())
