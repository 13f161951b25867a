"""The databases of a home as they are at one moment, copied into the staging directory of a backup."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec

from core import clock
from core.backup import contents
from core.contexts import keys
from core.settings import Settings
from core.store import copies
from core.store.database import Database


class Copied(msgspec.Struct, frozen=True):
    """The copies that there are, and of which moment: what was accepted before it is in them."""

    moment_ns: int
    names: tuple[str, ...]


class Around(msgspec.Struct, frozen=True):
    """What the engine uses that lies outside of its home."""

    data_root: str
    file_roots: tuple[str, ...]
    jwt_key_file: str
    secrets_key_in_environment: bool


def around(settings: Settings, environment: Mapping[str, str]) -> Around:
    return Around(
        str(settings.data_root),
        tuple(map(str, settings.file_roots)),
        str(settings.jwt_key_file or ""),
        bool(environment.get(keys.VARIABLE)),
    )


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
