"""Where a home is, and whether that makes it a copy of the one that its database knows.

Two copies of one home that both run do everything twice: deployments, schedules, callbacks that are owed. A home that
was only moved, whose container was made anew, or that was restored where it was, must not be asked about. So the
database keeps where it was used last, and `judge` compares.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from core import filesystems, ownership

_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")  # machine-id(5)
_CONTAINERS = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")
_CONTAINER_VARIABLES = ("container", "KUBERNETES_SERVICE_HOST")
_FUSE = 0x65735546  # its file systems may number files anew at each mount: nothing there tells one file from another
_AT_FDCWD, _STATX_BTIME = -100, 0x800  # linux/fcntl.h, linux/stat.h


class Place(NamedTuple):
    """Where a home was used.

    `machine`: a digest of the machine's id; empty in a container, and where there is none. `path`: of the home.
    `file`: the number of the database file and the time of its birth, which move with it and are not copied with it;
    empty where the file system has none that stay.
    """

    machine: str
    path: str
    file: str


class Known(NamedTuple):
    """What a database knows of its home: its id, and where it was used last."""

    id: str
    place: Place


def here(home: Path, database: Path) -> Place:
    """Where this process finds a home (its real path) with its database."""
    return Place(_machine(), str(home), _file(database))


def original(known: Known, home: Path) -> bool:
    """Whether at the place of before there is still a home of this id, which is another directory than `home`."""
    before = Path(known.place.path)
    try:
        return ownership.home_id(before) == known.id and not before.samefile(home)
    except OSError:
        return False


def judge(before: Place, now: Place, original_there: bool) -> str:
    """Why a home that was used at `before` is taken for a copy now, as a part of a sentence; empty: it is not.

    Certain: the original is still in its place. Likely: another machine; or, where no machine can be told from
    another, a database that is another file. Everything else happens to who moves or restores a home: the same file, or
    another one on the same machine with nothing left in the old place.
    """
    if original_there:
        return "which is still there"
    if before.machine and now.machine and before.machine != now.machine:
        return "on another machine"
    if before.file and before.file == now.file:
        return ""
    if before.machine and before.machine == now.machine:
        return ""
    if before.file and now.file:
        return "as another file, and nothing tells whether that one is still in use"
    return "" if before.path == now.path else "and nothing tells whether that one is still in use"


def _machine() -> str:
    if any(map(os.path.exists, _CONTAINERS)) or any(map(os.environ.get, _CONTAINER_VARIABLES)):
        return ""  # an id in there belongs to the image, or lives as long as the container
    for name in _MACHINE_IDS:
        try:
            id = Path(name).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if len(id) == 32:
            # Never the id itself, as machine-id(5) asks.
            return hashlib.sha256(f"sluice home {id}".encode()).hexdigest()[:32]
    return ""


def _file(database: Path) -> str:
    if filesystems.kind(database.parent) == _FUSE:
        return ""
    return f"{database.stat().st_ino}-{_born_ns(database)}"


def _born_ns(path: Path) -> int:
    """When a file was made, in ns since the epoch, by statx(2); 0 where nothing keeps that."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "statx"):
        return 0
    buffer = (ctypes.c_uint32 * 64)()  # struct statx: 256 bytes; stx_mask is word 0, stx_btime begins at word 20
    if libc.statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, ctypes.byref(buffer)) != 0:
        return 0
    if not buffer[0] & _STATX_BTIME:
        return 0
    return (buffer[20] | buffer[21] << 32) * 1_000_000_000 + buffer[22]
