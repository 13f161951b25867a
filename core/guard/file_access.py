"""The only way in which components touch files: no symbolic links, no hard links, no devices, inside what is allowed.

A path of a document may come from an untrusted author, and a part of it from an untrusted event. Which paths are
allowed is decided by core.guard.pathrules; every open goes through openat2(2), so the kernel refuses a symbolic link in
any component at the moment of opening: there is no gap between a check and the use. A second name (hard link) of a
file outside of what is allowed cannot be told by its path, so files with more than one name are refused.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, Self

from core import clock, filesystems, reserve
from core.errors import Forbidden, JobFailed, shorten
from core.guard import nofollow
from core.guard.filepolicy import FilePolicy
from core.guard.pathrules import MAX_PATH_BYTES as MAX_PATH_BYTES
from core.guard.pathrules import FileRules

MAX_NAME_BYTES = 255
TEMPORARY_SUFFIX = ".sluice-tmp"


class NotThere(JobFailed):
    """There is no such file or directory."""


class Unreadable(JobFailed):
    """It is there, and this process cannot open or read it now."""


class NameTaken(Unreadable):
    """No file can have that name here: it is too long, a directory has it, or a file is where a directory should be.

    What makes the name is at fault, and not the place.
    """


class NotADirectory(NameTaken):
    """That is a file and not a directory."""


NAMES_REFUSED = (Forbidden, NameTaken)
"""What is raised for a name that is not to be: where an event makes it, that event is refused and no other."""


def make_data_directory(path: str) -> None:
    """Make the data directory of a tenant (FileRules.directory) if it is not there; for this user alone (0700).

    Raises Unreadable when it cannot be made.
    """
    try:
        for place in (Path(path).parent, Path(path)):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unreadable(f"cannot make the data directory {shorten(path)}: {error.strerror}") from error


def check_name(name: str) -> str:
    """A relative name that may become a file below a root, e.g. the name of an object.

    Raises Forbidden for everything that could mean another place on this or another system.
    """
    parts = name.split("/")
    fault = ""
    if not name or name.startswith("/") or "" in parts:
        fault = "is empty, absolute or has an empty part"
    elif any(part in (".", "..") or "%2e" in part.lower() for part in parts):
        fault = "leaves its directory"
    elif "\\" in name or not name.isprintable():
        fault = "has a backslash or a control character"
    elif any(part[-1] in " ." for part in parts):
        fault = "has a part that ends in a space or a dot"
    elif any(len(part.encode(errors="surrogateescape")) > MAX_NAME_BYTES for part in parts):
        fault = f"has a part longer than {MAX_NAME_BYTES} bytes"
    if fault:
        raise Forbidden(f"the name {shorten(name)} {fault}", hint="use plain relative names such as day/part-1.json")
    return name


def _explain(error: OSError, path: str) -> NoReturn:
    shown = shorten(path)
    # A link where a directory should be gives ENOTDIR; this look only chooses the words, nothing was opened.
    if error.errno in (errno.ELOOP, errno.EXDEV) or (error.errno == errno.ENOTDIR and Path(path).is_symlink()):
        raise Forbidden(f"{shown} goes through a symbolic link", hint="write the real path; links are never followed")
    if error.errno == errno.ENXIO:
        raise Forbidden(f"{shown} is not a regular file", hint="only regular files can be read or written")
    if error.errno == errno.ENOENT:
        raise NotThere(f"{shown} does not exist") from error
    if error.errno == errno.ENOTDIR:
        raise NotADirectory(f"{shown} is not a directory") from error
    raise _fault(error, f"cannot open {shown}", Unreadable) from error


def _fault(error: OSError, what: str, otherwise: type[JobFailed] = JobFailed) -> JobFailed:
    by_name = error.errno in (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
    return (NameTaken if by_name else otherwise)(f"{what}: {error.strerror}")


class FileAccess:
    """The files that the jobs of one tenant may open on this machine."""

    def __init__(self, policy: FilePolicy, tenant: str) -> None:
        self._rules = FileRules(policy, tenant)
        self._closed = frozenset(_inodes((*policy.denied, *policy.private)))
        self.locate = self._rules.locate

    def is_closed(self, status: os.stat_result) -> bool:
        """Whether this is a file or directory that no job may open, under another name."""
        return (status.st_dev, status.st_ino) in self._closed

    def directory(self, path: str, *, create: bool = False) -> Directory:
        """Open a directory, with `create` also what is missing on the way to it. The caller closes it.

        Raises Forbidden when it is not allowed, JobFailed when it is not there.
        """
        full = self.locate(path, write=create)
        try:
            fd = nofollow.open_at(None, full, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError as error:
            if not create or full == self._rules.root_of(full):
                _explain(error, full)
            if full == self._rules.directory:
                make_data_directory(full)
                return self.directory(full)
            with self.directory(str(Path(full).parent), create=True) as parent:
                return parent.directory(Path(full).name, create=True)
        except OSError as error:
            _explain(error, full)
        return self._guard(fd, full)

    def _guard(self, fd: int, full: str) -> Directory:
        if self.is_closed(os.fstat(fd)):  # the same directory under another name: a bind mount
            os.close(fd)
            raise Forbidden(f"{shorten(full)} is closed to jobs, under whatever name")
        return Directory(self, fd, full)

    def open_read(self, path: str) -> int:
        """A file descriptor to read one regular file."""
        full = self.locate(path)
        with self.directory(str(Path(full).parent)) as parent:
            return parent.open_read(Path(full).name)

    def open_append(self, path: str, *, truncate: bool = False) -> int:
        """A file descriptor to append to one regular file; it and its directories are made when missing."""
        full = self.locate(path, write=True)
        with self.directory(str(Path(full).parent), create=True) as parent:
            return parent.open_append(Path(full).name, truncate=truncate)


class Directory:
    """An open directory; names below it are resolved by the kernel beneath it and nowhere else."""

    def __init__(self, access: FileAccess, fd: int, path: str) -> None:
        self._access = access
        self._fd = fd
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def directory(self, name: str, *, create: bool = False) -> Directory:
        """Open a directory below this one, with `create` also what is missing on the way."""
        full = self._access.locate(f"{self.path}/{name}", write=create)
        try:
            fd = nofollow.open_at(self._fd, name, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError as error:
            if not create:
                _explain(error, full)
            return self._make(name, full)
        except OSError as error:
            _explain(error, full)
        return self._access._guard(fd, full)

    def _make(self, name: str, full: str) -> Directory:
        head, _, rest = name.partition("/")
        reserve.OURS.take(self._fd, reserve.NEW_FILE_BYTES)
        try:
            os.mkdir(head, 0o755, dir_fd=self._fd)
            os.fsync(self._fd)
        except FileExistsError:
            pass  # someone else made it; opening it below tells whether it is what we need
        except OSError as error:
            _explain(error, full)
        if not rest:
            return self.directory(head)
        with self.directory(head) as below:
            return below.directory(rest, create=True)

    def open_read(self, name: str) -> int:
        """A file descriptor to read one regular file below this directory."""
        return self._file(name, os.O_RDONLY)

    def open_append(self, name: str, *, truncate: bool = False) -> int:
        """A file descriptor to append to one regular file below this directory, made when missing."""
        fd = self._file(name, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644, write=True)
        if truncate:  # only now that we know what it is: O_TRUNC would have emptied a forbidden file
            os.ftruncate(fd, 0)
        return fd

    def _file(self, name: str, flags: int, mode: int = 0, *, write: bool = False) -> int:
        full = self._access.locate(f"{self.path}/{name}", write=write)
        if write:
            reserve.OURS.take(self._fd, reserve.NEW_FILE_BYTES)
        try:
            fd = nofollow.open_at(self._fd, name, flags, mode)
        except OSError as error:
            _explain(error, full)
        status = os.fstat(fd)
        fault = ""
        if not stat.S_ISREG(status.st_mode):
            fault = "is not a regular file"
        elif status.st_nlink != 1:
            fault = "has more than one name (hard links)"
        elif self._access.is_closed(status):
            fault = "is a private file of the engine's side, under whatever name"
        elif filesystems.kind(fd) in filesystems.KERNEL:
            fault = "is not a file of a disk"
        if fault:
            os.close(fd)
            raise Forbidden(f"{shorten(full)} {fault}", hint="only regular files with one name can be read or written")
        return fd

    def write(self, name: str, data: bytes) -> None:
        """Put a whole file at `name`, durable when this returns; see `write_all_synced`."""
        self.write_all_synced([(name, data)])

    def write_allowed(self, files: list[tuple[str, bytes]]) -> dict[str, Forbidden | NameTaken]:
        """Like `write_all_synced`, but without the files that cannot have their names: those names, each with why."""
        refused: dict[str, Forbidden | NameTaken] = {}
        try:
            self.write_all_synced(files)
        except NAMES_REFUSED:
            for name, data in files:  # what is there already is written once more
                try:
                    self.write(name, data)
                except NAMES_REFUSED as error:
                    refused[name] = error
        return refused

    def write_all_synced(self, files: list[tuple[str, bytes]]) -> None:
        """Put whole files at names below this directory, each in one step: a reader sees all of it or nothing.

        Contents and names are on the disk when this returns; directories are synced once for all files.
        """
        with contextlib.ExitStack() as stack:
            opened: dict[str, Directory] = {"": self}
            for name, data in files:
                way, _, last = name.rpartition("/")
                if way not in opened:
                    opened[way] = stack.enter_context(self.directory(way, create=True))
                opened[way]._replace(last, data)
            for directory in opened.values():
                directory.sync_names()

    def _replace(self, name: str, data: bytes) -> None:
        with self.writer(name) as out:
            out.write(data)

    @contextlib.contextmanager
    def writer(self, name: str) -> Iterator[BinaryIO]:
        """A stream to a file of this directory that takes its name, synced, when the block ends without an error."""
        full = self._access.locate(f"{self.path}/{name}", write=True)
        reserve.OURS.take(self._fd, reserve.NEW_FILE_BYTES)
        temporary = f".{clock.token()}{TEMPORARY_SUFFIX}"
        try:
            fd = nofollow.open_at(self._fd, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                with io.BufferedWriter(_OfAJob(fd, "wb")) as out:
                    yield out
                    out.flush()
                    os.fdatasync(fd)
                os.rename(temporary, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            except BaseException:
                os.unlink(temporary, dir_fd=self._fd)
                raise
        except OSError as error:
            raise _fault(error, f"cannot write {shorten(full)}") from error

    def exists(self, name: str) -> bool:
        """Whether there is anything of that name in this directory."""
        try:
            os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def remove(self, name: str) -> bool:
        """Delete a file below this directory; False when there is none."""
        way, _, last = name.rpartition("/")
        if way:
            try:
                with self.directory(way) as below:
                    return below.remove(last)
            except NotThere:
                return False
        full = self._access.locate(f"{self.path}/{name}", write=True)
        try:
            os.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _fault(error, f"cannot delete {shorten(full)}") from error
        return True

    def sync_names(self) -> None:
        """Make the names of this directory durable."""
        os.fsync(self._fd)

    def files(
        self, depth: int | None = None, linked: Callable[[str, bool], None] | None = None
    ) -> Iterator[tuple[str, os.stat_result]]:
        """Regular files below, as (relative name, status), in `depth` levels or all of them.

        Links, devices and half-written files are left out; `linked` hears of the links that would have been listed or
        gone into: the relative name, and whether it leads to a directory.
        """
        with os.scandir(self._fd) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
            for entry in found:
                try:
                    if entry.is_symlink():
                        if linked is not None and not ((leads_down := entry.is_dir()) and depth == 1):
                            linked(entry.name, leads_down)
                    elif entry.is_dir(follow_symlinks=False):
                        if depth == 1:
                            continue
                        with self.directory(entry.name) as below:
                            inner = None if linked is None else partial(_below, linked, entry.name)
                            for name, status in below.files(None if depth is None else depth - 1, inner):
                                yield f"{entry.name}/{name}", status
                    elif entry.is_file(follow_symlinks=False) and not entry.name.endswith(TEMPORARY_SUFFIX):
                        yield entry.name, entry.stat(follow_symlinks=False)
                except (FileNotFoundError, JobFailed, Forbidden):
                    continue  # it went away, or is closed to us: a listing tells what can be read


class _OfAJob(io.FileIO):
    """A file that a job writes: not into the reserve of the disk."""

    def write(self, data: Any) -> int:
        reserve.OURS.take(self.fileno(), memoryview(data).nbytes)
        return super().write(data)


def _below(linked: Callable[[str, bool], None], directory: str, name: str, leads_down: bool) -> None:
    linked(f"{directory}/{name}", leads_down)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte; the kernel may take fewer than asked."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _inodes(paths: Iterable[str]) -> Iterator[tuple[int, int]]:
    """What is there of these paths, as (device, inode)."""
    for path in paths:
        with contextlib.suppress(OSError):  # it is not there (any more), so it has no second name either
            status = Path(path).stat()
            yield status.st_dev, status.st_ino
