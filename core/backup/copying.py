"""The databases of a home as they are at one moment, copied into the staging directory of a backup."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from core import clock
from core.backup import contents
from core.store import copies
from core.store.database import Database


class Copied(msgspec.Struct, frozen=True):
    """The copies that there are, and of which moment: what was accepted before it is in them."""

    moment_ns: int
    names: tuple[str, ...]


async def while_running(database: Database, home: Path, into: Path) -> Copied:
    """Copy beside the work of an engine. Raises StorageUnavailable, Stopped."""
    with copies.pinned([home / name for name in contents.BESIDE]) as pin:
        moment, found = 0, []

        def at_end() -> None:
            nonlocal moment
            moment = clock.now_ns()
            found.extend(pin())

        await database.copy(into / contents.DATABASE, at_end)
        for path, source in found:
            await asyncio.to_thread(copies.of_snapshot, source, into / path.name, lambda: database.closed)
    return Copied(moment, (contents.DATABASE, *(path.name for path, _ in found)))


def while_idle(home: Path, into: Path) -> Copied:
    """Copy under the lock of the home, without an engine. Raises StorageUnavailable."""
    with copies.pinned([home / name for name in (contents.DATABASE, *contents.BESIDE)]) as pin:
        found = pin()
        for path, source in found:
            copies.of_snapshot(source, into / path.name, lambda: False)
    return Copied(clock.now_ns(), tuple(path.name for path, _ in found))
