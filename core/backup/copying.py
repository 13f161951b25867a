"""The databases of a home as they are at one moment, copied into the staging directory of a backup."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec

from core import clock
from core.backup import contents
from core.contexts import keys
from core.guard import filepolicy
from core.settings import Settings
from core.store import copies
from core.store.database import Database


class Copied(msgspec.Struct, frozen=True):
    """The copies that there are, and of which moment: what was accepted before it is in them."""

    moment_ns: int
    names: tuple[str, ...]


class Around(msgspec.Struct, frozen=True):
    """What the engine uses that lies outside of its home, or that only its settings tell."""

    data_root: str
    file_roots: tuple[str, ...]
    jwt_key_file: str
    secrets_key_in_environment: bool
    named: tuple[str, ...] = ()
    """Files that a setting or a flag names."""
    credentials: tuple[str, ...] = ()
    """Files that the environment names for the clients of clouds."""
    passphrase_file: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may hold a secret, wherever it lies."""
        return (*self.named, *self.credentials)


def around(settings: Settings, environment: Mapping[str, str]) -> Around:
    return Around(
        str(settings.data_root),
        tuple(map(str, settings.file_roots)),
        str(settings.jwt_key_file or ""),
        bool(environment.get(keys.VARIABLE)),
        tuple(dict.fromkeys(map(_absolute, filepolicy.named_files(settings)))),
        tuple(map(_absolute, filepolicy.cloud_files())),
        _absolute(settings.backup_passphrase_file) if settings.backup_passphrase_file else "",
    )


def _absolute(path: Path) -> str:
    return str(path.expanduser().absolute())  # whoever reads it may be in another directory


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
