"""A file with one secret of the installation: read, or made at first use; never one that others can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from core import clock, errors

KEY_BYTES = 32
_MOST_BYTES = 4096


def read(path: Path, purpose: str) -> bytes:
    """The secret in a file; `purpose` completes "The key that ...".

    Raises StorageUnavailable when it cannot be read, is too short, or others can read it.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            key = file.read(_MOST_BYTES).strip()
    except OSError as error:
        raise errors.StorageUnavailable(
            f"The key that {purpose} cannot be read ({path}): {error.strerror}.",
            hint="Look at the file, or name another one.",
        ) from None
    if stat.S_IMODE(mode) & 0o077:
        raise errors.StorageUnavailable(
            f"Others can read the key that {purpose} ({path}, mode {stat.S_IMODE(mode):04o}).",
            hint=f"chmod 600 {path}; if it was read, remove it: a new one is made, and what the old one opened ends.",
        )
    if len(key) < KEY_BYTES:
        raise errors.StorageUnavailable(
            f"The key that {purpose} ({path}) has {len(key)} bytes; at least {KEY_BYTES} are needed.",
            hint="openssl rand -hex 32 makes one.",
        )
    return key


def read_or_make(path: Path, purpose: str) -> bytes:
    """The secret in a file that is made when it is not there. Raises like `read`."""
    if not path.exists():
        _make(path)
    return read(path, purpose)


def keep(path: Path, data: bytes) -> None:
    """Put a file that nobody else can read in the place of what was there: whole, and on the disk when this returns.

    Raises OSError, and leaves what was there.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _make(path: Path) -> None:
    """Write a new key whole before it has its name, so that a crash leaves none that is cut."""
    fresh = path.with_name(f"{path.name}.{clock.token(8)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(clock.token(2 * KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
