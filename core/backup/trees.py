"""Many files as one part: a tar within the archive, of plain files and directories, whose names stay below one place.

Written is what is found: links, sockets and devices are left out and counted. Read is what could have been written:
every other header ends it.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Protocol

from core import errors

BLOCK = 512
CHUNK = 1024 * 1024
MOST_NAME = 4096
_LONG = b"L"  # GNU: the name of the next header is longer than its field


Put = Callable[[str, int, Iterator[bytes] | None], None]
"""Takes one file (its name, its mode, its bytes) or directory (None in the place of bytes)."""


class Into(Protocol):
    """What takes bytes."""

    def write(self, data: bytes) -> int: ...


@dataclass(slots=True)
class Packed:
    """What was put in, and what was not: how many of each kind, and the first name of it."""

    files: int = 0
    skipped: dict[str, tuple[int, str]] = field(default_factory=dict)

    def skip(self, kind: str, name: str) -> None:
        count, first = self.skipped.get(kind, (0, name))
        self.skipped[kind] = (count + 1, first)


Without = Mapping[tuple[int, int], str]
"""What is not to be in a part: device and number of a file, by whatever name it is found -> why."""


def pack(root: Path, names: Iterable[str], into: Into, without: Without = MappingProxyType({})) -> Packed:
    """Write the named files and directories below `root` (with what is in these, but for those that it is to
    be without); of the directories that they lie in, these alone. Raises OSError of `into`.

    What goes while it is read is skipped; what shrinks is filled with zeros to the size that it had, and counted.
    """
    done = Packed()
    begun: set[str] = set()
    for top in names:
        above = [str(one) for one in PurePosixPath(top).parents][-2::-1]
        for directory in (one for one in above if one not in begun):
            begun.add(directory)
            _add(root, directory, into, done, without)
        waiting = [top]  # no recursion: who makes files chooses how deep they lie
        while waiting:
            name = waiting.pop()
            waiting += [f"{name}/{one}" for one in sorted(_add(root, name, into, done, without), reverse=True)]
    into.write(bytes(2 * BLOCK))
    return done


def _add(root: Path, name: str, into: Into, done: Packed, without: Without) -> list[str]:
    """Write one file or directory; the names in the directory."""
    path = root / name
    try:
        info = path.lstat()
        if why := without.get((info.st_dev, info.st_ino)):
            done.skip(why, name)
            return []
        if stat.S_ISDIR(info.st_mode):
            inner = [one.name for one in path.iterdir()]
            into.write(_header(name, info, tarfile.DIRTYPE, 0))
            return inner
        if not stat.S_ISREG(info.st_mode):
            done.skip("link" if stat.S_ISLNK(info.st_mode) else "special file", name)
            return []
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        done.skip("gone meanwhile", name)
        return []
    except OSError as error:
        done.skip(f"unreadable ({error.strerror})", name)
        return []
    with os.fdopen(handle, "rb") as file:
        info = os.fstat(handle)
        if why := without.get((info.st_dev, info.st_ino)):  # it has come to this name since
            done.skip(why, name)
            return []
        into.write(_header(name, info, tarfile.REGTYPE, info.st_size))
        left = info.st_size
        while left and (data := file.read(min(CHUNK, left))):
            into.write(data)
            left -= len(data)
        if left:
            done.skip("shortened meanwhile", name)
        while left:
            into.write(bytes(min(CHUNK, left)))
            left -= min(CHUNK, left)
        into.write(bytes(-info.st_size % BLOCK))
        done.files += 1
    return []


def _header(name: str, info: os.stat_result, kind: bytes, size: int) -> bytes:
    made = tarfile.TarInfo(name)
    made.type, made.size, made.mode, made.mtime = kind, size, stat.S_IMODE(info.st_mode), int(info.st_mtime)
    return made.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


class _Stream:
    """Reads exactly as much as is asked for."""

    def __init__(self, content: Iterator[bytes]) -> None:
        self._content = content
        self._held = b""

    def take(self, size: int) -> bytes:
        while len(self._held) < size:
            data = next(self._content, b"")
            if not data:
                raise errors.InvalidDocument("A part of this backup ends within one of its files.")
            self._held += data
        data, self._held = self._held[:size], self._held[size:]
        return data

    def pieces(self, size: int) -> Iterator[bytes]:
        while size:
            data = self.take(min(size, 64 * 1024))
            size -= len(data)
            yield data

    def rest(self) -> None:
        """To the end of the part, where it is compared with the manifest."""
        for _ in self._content:
            pass


def unpack(content: Iterator[bytes], put: Put) -> int:
    """Read a part; `put(name, mode, bytes)` for each file, None in the place of its bytes for a directory.

    Names are relative, and lead nowhere but below. How many files. Raises InvalidDocument.
    """
    stream, files = _Stream(content), 0
    while any(block := stream.take(BLOCK)):
        info = _read(block)
        long = ""
        if info.type == _LONG:
            if not 0 < info.size <= MOST_NAME:
                raise _refused(info)
            long = stream.take(info.size).rstrip(b"\0").decode("utf-8", "surrogateescape")
            stream.take(-info.size % BLOCK)
            info = _read(stream.take(BLOCK))
        name = _checked(long or info.name, info)
        if info.type == tarfile.DIRTYPE and info.size == 0:
            put(name, info.mode & 0o777, None)
        elif info.type == tarfile.REGTYPE:
            pieces = stream.pieces(info.size)
            put(name, info.mode & 0o777, pieces)
            for _ in pieces:  # what nobody wanted
                pass
            stream.take(-info.size % BLOCK)
            files += 1
        else:
            raise _refused(info)
    stream.rest()
    return files


def _read(block: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise errors.InvalidDocument(f"A part of this backup is no tar ({error}).") from None
    if info.size < 0:
        raise _refused(info)
    return info


def _checked(name: str, info: tarfile.TarInfo) -> str:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name or len(name) > MOST_NAME:
        raise _refused(info)
    return "/".join(parts)


def _refused(info: tarfile.TarInfo) -> errors.InvalidDocument:
    return errors.InvalidDocument(
        f"This backup holds something that Sluice does not put into one: {errors.shorten(info.name, 80)}"
        f" (type {info.type!r}, {info.size} bytes).",
        hint="Where does it come from? Do not use it.",
    )


def write_below(root: Path, owner_only: bool) -> Put:
    """What `unpack` hands its files to, so that they lie below `root`, a new directory of ours.

    `owner_only`: nobody else may read them, whatever their mode was. A name that comes twice, or below a file, raises
    InvalidDocument: nothing that is there is written to or followed.
    """

    def put(name: str, mode: int, content: Iterator[bytes] | None) -> None:
        path = root / name
        mode = mode & 0o700 if owner_only else mode
        try:
            if content is None:
                path.mkdir(mode=mode | 0o700)
                return
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode | 0o600)
        except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
            raise errors.InvalidDocument(
                f"This backup holds {errors.shorten(name, 80)} in a place where it cannot be: {error.strerror}."
            ) from None
        with os.fdopen(handle, "wb") as file:
            for data in content:
                file.write(data)
            file.flush()
            os.fsync(handle)

    return put


def ignore(name: str, mode: int, content: Iterator[bytes] | None) -> None:
    """For who only wants to know that it can be read."""
