"""Which files a files input reads, how far it has come in each, and how it knows them again.

A file is its inode, not its name: a renamed file goes on where it was. Because inode numbers are used again, the
first bytes and the bytes before the place are remembered too; when they differ it is another file, read from 0.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.dsl.files import memory
from core.dsl.files.links import Links
from core.dsl.inputs import globs, lines
from core.dsl.inputs.rewind import Rewind
from core.errors import JobFailed, shorten
from core.guard import file_access

MOST_OPEN_FILES = 64  # descriptors that one input keeps; the others are opened again when there is something to read
HEAD_BYTES = 256
TAIL_BYTES = 64
_SPARE_PLACES = 1000

Place = tuple[int, bytes]  # how far the output has accepted, and the bytes before that


@dataclass(slots=True)
class Tracked:
    """One file."""

    path: str
    key: str  # device:inode
    size: int  # at the last look
    modified: float  # at the last look, in seconds since the epoch
    packed: bool = False  # whether it goes through preprocessors
    at: int = 0  # where the next read starts; of packed content: bytes after unpacking
    read_size: int = -1  # of a packed file: how large it was when it was read to its end
    head: bytes = b""  # digest of its first bytes
    head_length: int = 0
    tail: bytes = b""  # what comes before `at`
    begun: bool = False  # whether events of its start were read before
    splitter: lines.Splitter | None = None
    settled: memory.Settled[Place] | None = None
    fd: int = -1
    gone: bool = False  # no name that matches is left; its rest is still read
    told: str = ""  # the fault that was reported last, so that a poll does not report it for ever

    @property
    def is_behind(self) -> bool:
        """Whether the file holds, or held at the last look, what was not read yet."""
        return self.size != (self.read_size if self.packed else self.at)


class Shelf:
    """The files of one input: found by pattern, opened when needed, remembered in the state of the workload."""

    def __init__(
        self,
        access: file_access.FileAccess,
        patterns: Sequence[str],
        places: memory.Places,
        *,
        is_packed: Callable[[str], bool],
        warn: Callable[[str], None],
        links: Links,
    ) -> None:
        self.files: dict[str, Tracked] = {}
        self._access = access
        self._patterns = patterns
        self._places = places
        self._is_packed = is_packed
        self._warn = warn
        self._links = links
        self._open: OrderedDict[str, Tracked] = OrderedDict()  # the one that was read last at the end

    def scan(self, *, from_end: bool) -> None:
        """Find new, renamed, shortened and vanished files; with `from_end` new ones are read from their present end."""
        seen: set[str] = set()
        for pattern in self._patterns:
            for found in globs.find(self._access, pattern, self._links):
                if found.key in seen:
                    continue
                seen.add(found.key)
                file = self.files.get(found.key)
                if file is None:
                    self.files[found.key] = self._recall(found, from_end=from_end)
                    continue
                file.path, file.size, file.modified, file.gone = found.path, found.size, found.modified, False
                if found.size < file.at and not file.packed:
                    self._warn(f"files: {shorten(found.path)} became shorter and is read from its start")
                    self.restart(file)
        for key, file in self.files.items():
            file.gone = key not in seen
        self._forget_unseen(seen)

    def _recall(self, found: globs.Found, *, from_end: bool) -> Tracked:
        file = Tracked(found.path, found.key, found.size, found.modified, self._is_packed(found.path))
        place: Any = self._places.data.get(found.key)
        if isinstance(place, dict) and isinstance(place.get("at"), int):
            file.at, file.read_size = place["at"], place.get("read_size", -1)
            file.head = bytes.fromhex(place.get("head", ""))
            file.head_length = place.get("head_bytes", 0)
            file.tail = bytes.fromhex(place.get("tail", ""))
            file.begun = file.at > 0
            if file.at > found.size and not file.packed:
                self.restart(file)
        elif from_end:
            self._pass_over(file)
        return file

    def _pass_over(self, file: Tracked) -> None:
        """Go to the present end of a file. Of a packed one, whose length nobody knows before it is unpacked, nothing is
        read until it changes, and then perhaps something again."""
        file.at, file.read_size, file.begun = file.size, file.size, file.size > 0
        self._places.set(file.key, {"path": file.path, "at": file.at, "read_size": file.read_size})

    def rewind(self, to: Rewind, *, new: bool) -> None:
        """Carry out a replay, after a scan and before anything is read; `new`: of a reader without a past."""
        for file in self.files.values():
            if to.again and file.modified >= to.since:
                self.restart(file)
                self._places.drop(file.key)
            elif to.skip_unread or new:
                self.restart(file)
                self._pass_over(file)
        self._places.save()  # before it counts as done
        to.done()

    def _forget_unseen(self, seen: set[str]) -> None:
        """Keep the memory as large as what is there, not as its history."""
        if len(self._places.data) > 2 * len(seen | self.files.keys()) + _SPARE_PLACES:
            for key in [key for key in self._places.data if key not in seen and key not in self.files]:
                self._places.drop(key)

    def restart(self, file: Tracked) -> None:
        """Read a file from its start, because its content is another one."""
        self.close(file)
        file.at, file.read_size, file.head, file.head_length, file.tail = 0, -1, b"", 0, b""
        file.splitter = file.settled = None
        file.begun = False

    def reader(self, file: Tracked, make: Callable[[], lines.Splitter]) -> tuple[lines.Splitter, memory.Settled[Place]]:
        """The splitter of a file, and what remembers how far the output has accepted it."""
        if file.splitter is None or file.settled is None:

            def reached(place: Place) -> None:
                at, tail = place
                self._places.set(
                    file.key,
                    {
                        "path": file.path,
                        "at": at,
                        "tail": tail.hex(),
                        "head": file.head.hex(),
                        "head_bytes": file.head_length,
                        "read_size": file.read_size,
                    },
                )

            file.splitter, file.settled = make(), memory.Settled(reached)
        return file.splitter, file.settled

    def open(self, file: Tracked) -> None:
        """Open a file that is not, and restart one that is another file by now.

        Raises NotThere, Forbidden or JobFailed.
        """
        if file.fd < 0:
            if len(self._open) >= MOST_OPEN_FILES:
                self.close(next(iter(self._open.values())))
            file.fd = self._open_same(file)
        self._open[file.key] = file
        self._open.move_to_end(file.key)
        if file.head_length and _digest(os.pread(file.fd, file.head_length, 0)) != file.head:
            self._changed(file)

    def _open_same(self, file: Tracked) -> int:
        """Open by name; a name that means another file by now was rotated, so look for ours beside it."""
        try:
            fd = self._access.open_read(file.path)
            if _key(os.fstat(fd)) == file.key:
                return fd
            os.close(fd)
        except file_access.NotThere:
            pass
        parent = file.path.rpartition("/")[0] or "/"
        with self._access.directory(parent) as directory:
            for name, status in directory.files(1):
                if _key(status) == file.key:
                    fd = directory.open_read(name)
                    file.size = status.st_size
                    return fd
        raise file_access.NotThere(f"{shorten(file.path)} is not there any more")

    def _changed(self, file: Tracked) -> None:
        self._warn(f"files: {shorten(file.path)} has other content than before and is read from its start")
        fd, file.fd = file.fd, -1
        self.restart(file)
        file.fd = fd
        self._open[file.key] = file

    def read_on(self, file: Tracked, size: int) -> bytes:
        """The next bytes of a plain file; empty at its end, or when it has just become another file (then `at` is 0).

        What comes before the place is read along, in the same call, so that bytes of other content never pass for
        the continuation. Raises Unreadable.
        """
        before = len(file.tail)
        data = self.read_at(file, file.at - before, before + size)
        if before and not data.startswith(file.tail):
            self._changed(file)
            return b""
        chunk = data[before:]
        if chunk:
            file.at += len(chunk)
            self.note(file, chunk)
        return chunk

    def read_at(self, file: Tracked, at: int, size: int) -> bytes:
        """Bytes of an open file; raises Unreadable."""
        try:
            return os.pread(file.fd, size, at)
        except OSError as error:
            raise file_access.Unreadable(f"cannot read {shorten(file.path)}: {error.strerror}") from error

    def note(self, file: Tracked, chunk: bytes) -> None:
        """Remember the first and the last bytes of what was read up to `file.at`."""
        file.tail = chunk[-TAIL_BYTES:] if len(chunk) >= TAIL_BYTES else (file.tail + chunk)[-TAIL_BYTES:]
        if file.head_length < HEAD_BYTES:
            head = os.pread(file.fd, HEAD_BYTES, 0)
            file.head, file.head_length = _digest(head), len(head)

    def close(self, file: Tracked) -> None:
        """Give back the descriptor; the file stays known."""
        self._open.pop(file.key, None)
        if file.fd >= 0:
            os.close(file.fd)
            file.fd = -1

    def drop(self, file: Tracked) -> None:
        """Forget a file that is gone and read."""
        self.close(file)
        self.files.pop(file.key, None)
        self._places.drop(file.key)

    def clear(self) -> None:
        """Forget what was read and not accepted: the next look begins at the remembered places."""
        for file in self.files.values():
            self.close(file)
        self.files.clear()


def fill_patterns(templates: Sequence[Callable[[], str]]) -> list[str]:
    """The path patterns of a job whose placeholders are filled in.

    Raises JobFailed when one of them is no pattern then.
    """
    out = []
    for template in templates:
        pattern = template()
        try:
            out.append(globs.check(pattern))
        except ValueError as error:
            raise JobFailed(f"files: {shorten(pattern)}: {error}") from error
    return out


def _key(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}"


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
