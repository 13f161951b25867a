"""Free space of each file system that jobs leave alone, so that the store of the engine and the system can write.

The reserve is the setting `disk_reserve_mb`, at most a tenth of the file system. Who writes for a job asks `take`
first, which looks at the file system at the latest after 1 MiB or 0.1 s: so each process goes at most 1 MiB, and what
is on its way at that moment, into the reserve. What a command writes nobody is asked about: while one runs, its worker
looks at `check`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from core import clock, errors

SHARE = 10  # of a file system, at most one in so many is kept free
MOST_FILES = 1000  # and so many of its files, where it has a number of them
LOOK_BYTES = 1024 * 1024
LOOK_SECONDS = 0.1
NEW_FILE_BYTES = 16 * 1024  # what a new file counts for: 64 of them, and there is a look
_MIB = 1024 * 1024

Place = int | str | Path


class NoRoom(errors.JobFailed):
    """The rest of the disk is not for jobs."""


@dataclass(frozen=True, slots=True)
class Space:
    """A file system at one moment, in bytes that this user may still take; `kept` of them are not for jobs."""

    free: int
    kept: int
    files_left: bool = True

    def holds(self, size: int) -> bool:
        """Whether a job may take so much."""
        return self.files_left and self.free - size >= self.kept


def measure(place: Place, most_mb: int) -> Space:
    """The file system of a descriptor or path. Raises OSError. One that tells no size keeps nothing free."""
    found = os.statvfs(place)
    kept = min(most_mb * _MIB, found.f_blocks * found.f_frsize // SHARE)
    files_left = found.f_files == 0 or found.f_favail >= min(MOST_FILES, found.f_files // SHARE)
    return Space(found.f_bavail * found.f_frsize, kept, files_left or not kept)


class Reserve:
    """What one process keeps free. Use from any thread: a look too many or too few does no harm."""

    def __init__(self, most_mb: int = 0) -> None:
        self.most_mb = most_mb
        self._seen: dict[int, tuple[float, int]] = {}  # file system -> (when it was looked at, bytes taken since)

    def take(self, place: Place, size: int) -> None:
        """A job is about to write so many bytes. Raises NoRoom when they are not there for it, OSError."""
        if not self.most_mb:
            return
        device = os.stat(place).st_dev  # noqa: PTH116 - at every write, and of descriptors
        at, taken = self._seen.get(device, (0.0, LOOK_BYTES))
        now = clock.monotonic()
        if taken + size < LOOK_BYTES and now - at < LOOK_SECONDS:
            self._seen[device] = (at, taken + size)
            return
        space = measure(place, self.most_mb)
        if not space.holds(size):
            self._seen.pop(device, None)
            raise _refusal(space)
        self._seen[device] = (now, size)

    def check(self, place: Place) -> None:
        """Raises NoRoom while the reserve of a file system is in use, OSError."""
        if self.most_mb and not (space := measure(place, self.most_mb)).holds(0):
            raise _refusal(space)


def _refusal(space: Space) -> NoRoom:
    free = f"{space.free // _MIB} MiB{'' if space.files_left else ', and too few files,'}"
    return NoRoom(
        f"the disk is full for jobs: {free} are free, and jobs leave {space.kept // _MIB} MiB of it",
        hint="Make room on that disk, or lower the setting disk_reserve_mb.",
    )


OURS = Reserve()
"""That of this process, as its limits are; a worker sets it before it runs anything."""


def keep(most_mb: int) -> None:
    """Have this process keep so much free on each file system; 0: nothing."""
    OURS.most_mb = most_mb
