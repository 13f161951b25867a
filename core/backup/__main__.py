"""One backup of the engine's own, as a process beside it: told on standard input what to do, it says how that went.

The engine gives it a line of JSON (`Task`) and reads one (`Outcome`). It copies through the engine's socket, as the
command does.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from core import clock, errors, logs
from core.backup import making, places, sealing
from core.backup.manifest import Manifest
from core.backup.schedule import Outcome, Task
from core.confinement import process
from core.settings import Settings


def main() -> int:
    process.hide_memory()
    logs.configure("error", plain=True)
    os.nice(10)
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    try:
        outcome = asyncio.run(_do(task))
    except errors.SluiceError as error:
        outcome = Outcome(fault=f"{error.message} {error.hint}".strip())
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
    return 0


async def _do(task: Task) -> Outcome:
    place = places.place(task.to)
    name = places.name_of(task.home_id, clock.now_ns())
    secret = Path(task.passphrase_file) if task.passphrase_file else None
    passphrase = None if secret is None else sealing.passphrase_of(secret)
    size = 0

    def hand(file: Path, _: Manifest) -> None:
        nonlocal size
        size = file.stat().st_size
        place.put(file, name)

    order = making.Order(Settings(home=Path(task.home)), place.local(name), passphrase, task.data, hand, secret)
    manifest = await making.make(order, dict(os.environ))
    gone = places.superfluous(place.names(), task.home_id, task.keep)
    place.delete(gone)  # the new one is there: only now may an old one go
    left_out = tuple(one.what for one in manifest.left_out)
    return Outcome("", name, size, manifest.moment_ns, len(gone), left_out)


if __name__ == "__main__":
    sys.exit(main())
