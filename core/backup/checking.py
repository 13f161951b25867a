"""A backup is looked at from its beginning to its end: every part against the manifest, and each for what it is.

`unpack` lays the parts down in a directory where nobody looks yet, so that what is restored is exactly what was
checked; `verify` does the same and throws it away.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from core import errors, reserve
from core.backup import archive, contents, sealing, trees
from core.backup.manifest import Manifest, Part
from core.store import inspection

SPARE_BYTES = 64 * 1024 * 1024
SEALED = "keys.sealed"


def verify(path: Path, passphrase: str | None) -> tuple[Manifest, inspection.Description]:
    """Check all of an archive; the keys only with their passphrase. Raises InvalidDocument, Forbidden, NotFound,
    StorageUnavailable (no room to unpack the databases in the directory for temporary files)."""
    with tempfile.TemporaryDirectory(prefix="sluice-verify-") as name:
        place = Path(name)
        with archive.open_archive(path) as reader:
            room(place, [part for part in reader.manifest.parts if part.kind == "database"])
            for part, content in reader.parts():
                _one(part, content, place, None, None)
            sealed = place / SEALED
            if passphrase is not None and sealed.exists():
                unseal(sealed.read_bytes(), passphrase, reader.manifest)
            return reader.manifest, databases(place, reader.manifest)


def unpack(reader: archive.Reader, home: Path, data: Path | None) -> None:
    """Lay every part down: databases and files in `home`, the data root in `data` (None: it is read past).

    Raises InvalidDocument, StorageUnavailable. What is laid down is of no use before this has returned.
    """
    write = trees.write_below(home, owner_only=True)

    def put(name: str, mode: int, content: Iterator[bytes] | None) -> None:
        if not contents.is_file(name):  # such as a lock, or a key beside those that are sealed
            raise errors.InvalidDocument(f"This backup holds {errors.shorten(name, 80)} among the files of the home.")
        write(name, mode, content)

    for part, content in reader.parts():
        _one(part, content, home, put, data)


def _one(part: Part, content: Iterator[bytes], place: Path, put: trees.Put | None, data: Path | None) -> None:
    match part.kind:
        case "database":
            name = part.name.removesuffix(".zst")
            if name not in (contents.DATABASE, *contents.BESIDE):
                raise errors.InvalidDocument(f"Sluice has no database {errors.shorten(name, 60)}.")
            _write(place / name, archive.unpacked(part, content))
        case "files":
            _count(part, trees.unpack(archive.unpacked(part, content), put or trees.ignore))
        case "data":
            into = trees.ignore if data is None else trees.write_below(data, owner_only=False)
            _count(part, trees.unpack(archive.unpacked(part, content), into))
        case "keys":
            if part.size > sealing.MOST_BYTES:
                raise errors.InvalidDocument(f"The keys of this backup would take {part.size} bytes.")
            _write(place / SEALED, content)


def _count(part: Part, files: int) -> None:
    if files != part.files:
        raise errors.InvalidDocument(f"{part.name} holds {files} files, and its manifest says {part.files}.")


def _write(path: Path, content: Iterator[bytes]) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise errors.InvalidDocument(f"This backup holds {path.name} twice.") from None
    with os.fdopen(handle, "wb") as file:
        for data in content:
            file.write(data)
        file.flush()
        os.fsync(handle)


def room(place: Path, parts: list[Part]) -> None:
    """Raises StorageUnavailable when what the parts unpack to has no room at a place."""
    needed = sum(part.unpacked for part in parts)
    free = reserve.measure(place, 0).free
    if free < needed + SPARE_BYTES:
        raise errors.StorageUnavailable(
            f"This backup unpacks to {needed >> 20} MiB, and {free >> 20} MiB are free at {place}.",
            hint="Make room there; for 'sluice backup verify', TMPDIR names another place.",
        )


def databases(place: Path, manifest: Manifest) -> inspection.Description:
    """What the unpacked database holds. Raises InvalidDocument for one that is damaged, or of a newer Sluice."""
    for name in (contents.DATABASE, *contents.BESIDE):
        if (place / name).exists() and (fault := inspection.fault_of(place / name)):
            raise errors.InvalidDocument(
                f"{name} of this backup is damaged: {errors.shorten(fault, 200)}.", hint="Take an older backup."
            )
    found = inspection.describe(place / contents.DATABASE)
    if found.unknown:
        raise errors.InvalidDocument(
            f"This backup is of a newer Sluice ({errors.shorten(manifest.sluice, 40)}; its database has"
            f" {errors.shorten(', '.join(found.unknown), 200)}).",
            hint="Upgrade sluice-mcp to that version or a later one, then restore.",
        )
    if found.home_id != manifest.home_id:
        raise errors.InvalidDocument("The database of this backup is of another home than its manifest says.")
    return found


def unseal(sealed: bytes, passphrase: str, manifest: Manifest) -> dict[str, bytes]:
    """The keys by name, each of which is one that a home has. Raises Forbidden, InvalidDocument."""
    found = sealing.unseal(sealed, passphrase, f"{manifest.home_id} {manifest.moment_ns}")
    if odd := [name for name in found if not contents.can_be_sealed(name)]:
        raise errors.InvalidDocument(f"Among the keys of this backup is {errors.shorten(odd[0], 80)}, which is none.")
    return found
