"""The place in the home where the databases of a backup are copied to, before they are packed; one backup at a time.

The kernel drops the lock of a process that dies, so whoever has it may remove what an earlier one left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core import errors

DIRECTORY = "backup.part"
LOCK = "backup.lock"


@contextmanager
def staging(home: Path) -> Iterator[Path]:
    """An empty directory of one backup alone (0700), removed at the end. Raises Busy while another one runs."""
    handle = _locked(home)
    if handle is None:
        raise errors.Busy(f"Another backup of {home} is being made.", hint="Wait for it, or end it.")
    place = home / DIRECTORY
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(handle)


def clear(home: Path) -> bool:
    """Remove what a backup left that was killed; whether there was something."""
    place = home / DIRECTORY
    if not place.exists():
        return False
    handle = _locked(home)
    if handle is None:
        return False
    shutil.rmtree(place, ignore_errors=True)
    os.close(handle)
    return True


def _locked(home: Path) -> int | None:
    try:
        handle = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise errors.StorageUnavailable(f"{home} cannot be written: {error.strerror}.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
