"""No stray open() of the database file, which could lose committed data.

SQLite's POSIX locks belong to (process, inode): if any code in the owner process opens and closes the database
file by itself (a copy, a hash, an indexer), the kernel drops SQLite's locks and committed rows can vanish. So the
owner refuses it: an audit hook raises on every `open` of a protected file, by its name or by any other (a hard or
symbolic link, a descriptor in /proc). SQLite itself opens files below Python and is not affected. Audit hooks cannot
be removed; this one costs a few stat calls per audited open, and nothing when no database is open.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

_protected: set[str] = set()
_names: set[str] = set()
_installed = False


class DatabaseOpenedByName(RuntimeError):
    """Some code tried to open the database file outside of SQLite."""


def protect(database: Path) -> None:
    """Refuse from now on, in this process, to open `database` or its -wal and -shm by name."""
    global _installed
    for suffix in ("", "-wal", "-shm"):
        path = os.path.realpath(str(database) + suffix)
        _protected.add(path)
        _names.add(os.path.basename(path))  # noqa: PTH119 - runs inside every open(): no Path objects here
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


def release(database: Path) -> None:
    """The database is closed: its files are ordinary files again."""
    for suffix in ("", "-wal", "-shm"):
        _protected.discard(os.path.realpath(str(database) + suffix))


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event != "open" or not _protected or not isinstance(args[0], str | bytes):
        return
    name = os.fsdecode(args[0])
    named = name.rpartition("/")[2] in _names and os.path.realpath(name) in _protected
    if named or _is_protected(name):
        raise DatabaseOpenedByName(f"{name} may only be opened by SQLite")


def _is_protected(name: str) -> bool:
    """Whether the name leads to a protected file that is there, whatever the name is."""
    info = _file(name)
    return info is not None and any(info == _file(path) for path in tuple(_protected))


def _file(name: str) -> tuple[int, int] | None:
    try:
        info = os.stat(name)  # noqa: PTH116 - runs inside every open(): no Path objects here
    except (OSError, ValueError):  # it is not there, or is no name: open() says so itself
        return None
    return info.st_dev, info.st_ino
