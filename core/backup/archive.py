"""An archive on the disk: a plain tar of the manifest and the parts, in that order, which tar(1) unpacks as well.

It is written under another name and gets its own when all of it is on the disk. Read are only headers of plain files,
in the order and of the sizes that the manifest says: nothing that a tar could say besides is looked at.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import zstandard

from core import clock, errors
from core.backup import manifest as manifests
from core.backup.manifest import Kind, Manifest, Part

CHUNK = 1024 * 1024
SYNC_BYTES = 8 * CHUNK  # as core.store.copies: many small syncs, and none that everybody waits for
LEVEL = 3
WINDOW = 128 * CHUNK  # the most memory that unpacking may take, whatever the archive says
PARTIAL = ".partial"


class Sink:
    """Takes the bytes of one part; counts and hashes them."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._write(data)
        self.digest.update(data)
        self.size += len(data)
        return len(data)


class Counter:
    """Counts what goes through it into a compressor."""

    def __init__(self, into: zstandard.ZstdCompressionWriter) -> None:
        self._into = into
        self.size = 0

    def write(self, data: bytes) -> int:
        self._into.write(data)
        self.size += len(data)
        return len(data)


class Writer:
    """An archive that is being written. Made by `create`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._synced = 0
        self.parts: list[Part] = []
        self._header(manifests.NAME, manifests.SLOT_BYTES)
        self._put(bytes(manifests.SLOT_BYTES))

    def _header(self, name: str, size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, clock.now_ns() // clock.NANOSECONDS
        self._put(info.tobuf(tarfile.GNU_FORMAT))

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        if self._file.tell() - self._synced >= SYNC_BYTES:
            self._file.flush()
            os.fdatasync(self._file.fileno())
            self._synced = self._file.tell()

    @contextmanager
    def part(self, name: str, kind: Kind) -> Iterator[Sink]:
        """Add a part as it comes: its size is written when it is known."""
        at = self._file.tell()
        self._header(name, 0)
        sink = Sink(self._put)
        yield sink
        self._put(bytes(-sink.size % 512))
        end = self._file.tell()
        self._file.seek(at)
        self._header(name, sink.size)
        self._file.seek(end)
        self.parts.append(Part(name, kind, sink.size, sink.digest.hexdigest(), sink.size))

    @contextmanager
    def packed(self, name: str, kind: Kind) -> Iterator[Counter]:
        """Add a part that is compressed on its way."""
        with self.part(f"{name}.zst", kind) as sink:
            with zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).stream_writer(sink, closefd=False) as into:  # type: ignore[arg-type]
                counter = Counter(into)
                yield counter
        last = self.parts[-1]
        self.parts[-1] = Part(last.name, kind, last.size, last.sha256, counter.size)

    def files(self, count: int) -> None:
        """Note how many files the last part holds."""
        last = self.parts[-1]
        self.parts[-1] = Part(last.name, last.kind, last.size, last.sha256, last.unpacked, count)

    def finish(self, manifest: Manifest) -> None:
        """Write the end, and the manifest in its place."""
        self._put(bytes(2 * 512))
        self._file.seek(512)
        self._file.write(manifests.encode(manifest))
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def create(path: Path) -> Iterator[Writer]:
    """Write an archive; it has its name when the block ends well, and is nowhere when it does not.

    Raises AlreadyExists, StorageUnavailable (which nobody but this archive is touched by).
    """
    if path.exists() or path.is_symlink():
        raise errors.AlreadyExists(f"{path} exists already.", hint="Name another file: a backup replaces none.")
    partial = path.with_name(f".{path.name}.{clock.token(8)}{PARTIAL}")
    try:
        handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w+b") as file:
            yield Writer(file)
        os.link(partial, path)  # unlike a rename, it replaces nothing that has come meanwhile
        partial.unlink()
        _sync_directory(path.parent)
    except FileExistsError as error:
        partial.unlink(missing_ok=True)
        raise errors.AlreadyExists(f"{path} exists already.", hint="Name another file.") from error
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise errors.StorageUnavailable(
            f"The backup {path} cannot be written: {error.strerror or error}.",
            hint="Look at the disk and the directory; nothing was left there.",
        ) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Reader:
    """An archive that is read from its beginning to its end. Made by `open_archive`."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._expect(manifests.NAME, manifests.SLOT_BYTES)
        self.manifest = manifests.decode(file.read(manifests.SLOT_BYTES))

    def _expect(self, name: str, size: int) -> None:
        """Read a header. Raises InvalidDocument when it is not that of a plain file of this name and size."""
        try:
            found = tarfile.TarInfo.frombuf(self._file.read(512), "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise self._fault(f"where {name} should begin is none ({error})") from None
        if found.type != tarfile.REGTYPE or found.name != name or found.size != size:
            shown = errors.shorten(found.name, 60)
            raise self._fault(f"where {name} of {size} bytes should begin is {shown} of {found.size} bytes")

    def _fault(self, what: str) -> errors.InvalidDocument:
        return errors.InvalidDocument(
            f"{self._path} is no whole backup of Sluice: {what}.", hint="Take another copy of it, or an older backup."
        )

    def parts(self) -> Iterator[tuple[Part, Iterator[bytes]]]:
        """Each part with its bytes, as they lie there. Raises InvalidDocument as soon as a part is not what the
        manifest says: so at its end at the latest, when all of it has been given out."""
        for part in self.manifest.parts:
            self._expect(part.name, part.size)
            content = self._content(part)
            yield part, content
            for _ in content:  # what nobody wanted is checked all the same
                pass
            self._file.read(-part.size % 512)
        if self._file.read(1024) != bytes(1024) or self._file.read(1):
            raise self._fault("something follows its last part, or its end is missing")

    def _content(self, part: Part) -> Iterator[bytes]:
        digest, left = hashlib.sha256(), part.size
        while left:
            data = self._file.read(min(CHUNK, left))
            if not data:
                raise self._fault(f"it ends within {part.name}")
            digest.update(data)
            left -= len(data)
            yield data
        if digest.hexdigest() != part.sha256:
            raise self._fault(f"{part.name} is damaged: its SHA-256 is not that of the manifest")


@contextmanager
def open_archive(path: Path) -> Iterator[Reader]:
    """Raises NotFound, InvalidDocument for what is no archive, or one of a newer format."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise errors.NotFound(f"The backup {path} cannot be read: {error.strerror}.") from error
    with file:
        yield Reader(file, path)


class _Source:
    """The bytes of a part, for who reads a file."""

    def __init__(self, content: Iterator[bytes]) -> None:
        self._content = content
        self._left = b""

    def read(self, size: int) -> bytes:
        if not self._left:
            self._left = next(self._content, b"")
        data, self._left = self._left[:size], self._left[size:]
        return data


def unpacked(part: Part, content: Iterator[bytes]) -> Iterator[bytes]:
    """What was compressed, in pieces of at most CHUNK bytes, never more than the manifest says. Raises
    InvalidDocument."""
    opened = zstandard.ZstdDecompressor(max_window_size=WINDOW).stream_reader(_Source(content))  # type: ignore[arg-type]
    left = part.unpacked
    try:
        while data := opened.read(CHUNK):
            left -= len(data)
            if left < 0:
                raise errors.InvalidDocument(f"{part.name} unpacks to more than its manifest says.")
            yield data
    except zstandard.ZstdError as error:
        raise errors.InvalidDocument(f"{part.name} cannot be unpacked: {error}.") from None
    for _ in content:  # to the end, where its digest is compared
        pass
    if left:
        raise errors.InvalidDocument(f"{part.name} unpacks to less than its manifest says.")
