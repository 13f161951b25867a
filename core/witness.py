"""A few bytes that a worker shares with its engine: whose code it runs, readable also after it was killed.

The worker writes the number of a workload before it goes on with its code, and that it has ended afterwards; both
are one store into mapped memory, which outlives the process (mmap(2), MAP_SHARED).
"""

from __future__ import annotations

import hashlib
import mmap
import os
import tempfile
from typing import NamedTuple

NOBODY = 0
ENDED = 1 << 31  # in the cell of the turn: its code has ended for now, this was the last one
_SIZE = mmap.PAGESIZE
_TURN, _GREW, _FULL = 0, 1, 2  # cells of 32 bits


def life() -> str:
    """A name for one life of a worker process, as no other one has it."""
    return os.urandom(16).hex()


def number(life: str, workload: str, version: str) -> int:
    """What the witness of a life calls a version of a workload: the same for whoever knows the life.

    Nobody else can choose a name whose number is that of a neighbour: `life` is the salt, and jobs do not see it.
    """
    digest = hashlib.blake2b(f"{workload}\0{version}".encode(), digest_size=4, key=life.encode()[:64]).digest()
    return int.from_bytes(digest) % ENDED or 1


class Seen(NamedTuple):
    """What a witness shows: numbers of workloads, NOBODY for none."""

    running: int  # whose code runs now, or ran when the worker ended
    grew: int  # in whose turns the memory of the worker has grown most
    full: bool  # the worker ended itself, because it had more memory than it may


class Witness:
    """Both sides open one over the same file; whoever opens it closes it."""

    def __init__(self, fd: int) -> None:
        """`fd` is of a file that `make` has made; it is the caller's, and may be closed afterwards."""
        self._map = mmap.mmap(fd, _SIZE)
        self.cells = memoryview(self._map).cast("I")

    def close(self) -> None:
        self.cells.release()
        self._map.close()

    def seen(self) -> Seen:
        turn = self.cells[_TURN]
        return Seen(NOBODY if turn & ENDED else turn, self.cells[_GREW], bool(self.cells[_FULL]))

    def last(self) -> int:
        """Whose code runs, or ran last."""
        return self.cells[_TURN] & ~ENDED

    def grew(self, number: int) -> None:
        """The memory has grown most in the turns of this workload."""
        self.cells[_GREW] = number

    def nobody(self) -> None:
        """This process ends for something that none of its workloads has done."""
        self.cells[_TURN] = NOBODY

    def full(self) -> None:
        """This process has more memory than it may, and ends."""
        self.cells[_FULL] = 1


def make() -> int:
    """A file without a name for a witness; the descriptor is the caller's to close. Raises OSError."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("sluice-witness", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.truncate(fd, _SIZE)
    return fd
