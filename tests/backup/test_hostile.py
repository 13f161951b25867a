"""Archives that nobody should have made: none of them puts anything in its place, or outside of it."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
import zstandard

from core import errors
from core.backup import archive, checking, contents, manifest
from core.backup.manifest import Manifest, Part
from tests import cases
from tests.backup.archives import backup, home, restore

Entry = tuple[str, bytes, bytes]
"""Name, type, content."""


def tar_of(*entries: Entry, size: int | None = None) -> bytes:
    out = io.BytesIO()
    for name, kind, content in entries:
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname = kind, len(content) if size is None else size, "/etc/passwd"
        out.write(info.tobuf(tarfile.GNU_FORMAT))
        out.write(content + bytes(-len(content) % 512))
    return out.getvalue() + bytes(1024)


def rewritten(source: Path, to: Path, change: Callable[[Part, bytes], tuple[Part, bytes]]) -> None:
    """An archive with parts of somebody's own, and a manifest that fits them."""
    with archive.open_archive(source) as reader, archive.create(to) as writer:
        told: Manifest = reader.manifest
        parts = []
        for part, content in reader.parts():
            changed, data = change(part, b"".join(content))
            with writer.part(changed.name, changed.kind) as sink:
                sink.write(data)
            made = writer.parts[-1]
            parts.append(Part(made.name, made.kind, made.size, made.sha256, changed.unpacked, changed.files))
        fields = {name: getattr(told, name) for name in Manifest.__struct_fields__}
        writer.finish(Manifest(**{**fields, "parts": tuple(parts)}))


FILE = tarfile.REGTYPE
ENTRIES = {
    "a way out": [("../outside", FILE, b"x")],
    "a way out below": [("state", tarfile.DIRTYPE, b""), ("state/../../outside", FILE, b"x")],
    "an absolute name": [("/tmp/outside", FILE, b"x")],
    "a symbolic link": [("link", tarfile.SYMTYPE, b"")],
    "a hard link": [("link", tarfile.LNKTYPE, b"")],
    "a device": [("null", tarfile.CHRTYPE, b"")],
    "a pipe": [("pipe", tarfile.FIFOTYPE, b"")],
    "headers of other tars": [("x", tarfile.XHDTYPE, b"30 path=../outside\n")],
    "the lock of the home": [("engine.lock", FILE, b"1\nother\n")],
    "another database": [("sluice.db", FILE, b"x")],
    "a key that is not sealed": [("secrets.key", FILE, b"x")],
    "a name twice": [("a", FILE, b"x"), ("a", FILE, b"y")],
    "a file below a file": [("a", FILE, b"x"), ("a/b", FILE, b"y")],
    "no name": [("", FILE, b"x")],
}


def outside(place: Path) -> list[Path]:
    """What was written past the home."""
    return [path for path in (*place.rglob("outside"), Path("/tmp/outside")) if path.exists()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup as it should be."""
    place = tmp_path_factory.mktemp("whole")

    async def make() -> None:
        await backup(await home(place / "home"), place / "b.tar")

    anyio.run(make)
    return place / "b.tar"


@cases.table("what", ENTRIES)
def test_what_sluice_does_not_put_into_a_backup_is_refused(tmp_path: Path, whole: Path, what: str) -> None:
    inner = tar_of(*ENTRIES[what])

    def change(part: Part, data: bytes) -> tuple[Part, bytes]:
        if part.kind != "files":
            return part, data
        packed = zstandard.ZstdCompressor().compress(inner)
        return Part(part.name, part.kind, 0, "", len(inner), len(ENTRIES[what])), packed

    place = tmp_path / what
    place.mkdir()
    rewritten(whole, place / "bad.tar", change)
    with pytest.raises(errors.InvalidDocument):
        restore(place / "bad.tar", place / "inner" / "other")
    assert outside(place) == []
    assert {path.name for path in (place / "inner" / "other").iterdir()} <= {"engine.lock"}
    assert (place / "inner" / "other" / "engine.lock").read_text().split("\n")[1] == ""


def test_a_part_never_unpacks_to_more_than_it_says_and_costs_no_memory(tmp_path: Path, whole: Path) -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(512 * 1024 * 1024))

    def change(part: Part, data: bytes) -> tuple[Part, bytes]:
        return (part, bomb) if part.kind in ("files", "database") else (part, data)

    rewritten(whole, tmp_path / "bomb.tar", change)
    with pytest.raises(errors.InvalidDocument, match="more than its manifest says"):
        restore(tmp_path / "bomb.tar", tmp_path / "other")
    pieces = archive.unpacked(Part("x", "files", len(bomb), "", 512 * 1024 * 1024), iter([bomb]))
    assert max(map(len, pieces)) <= archive.CHUNK


def test_a_part_that_would_not_fit_the_disk_is_refused_before_it_is_unpacked(tmp_path: Path, whole: Path) -> None:
    def change(part: Part, data: bytes) -> tuple[Part, bytes]:
        return (
            (Part(part.name, part.kind, 0, "", 1 << 60, part.files), data) if part.kind == "database" else (part, data)
        )

    rewritten(whole, tmp_path / "huge.tar", change)
    with pytest.raises(errors.StorageUnavailable, match="unpacks to"):
        restore(tmp_path / "huge.tar", tmp_path / "other")
    with pytest.raises(errors.StorageUnavailable):
        checking.verify(tmp_path / "huge.tar", None)


def test_a_file_that_is_no_backup_is_told_as_that(tmp_path: Path) -> None:
    for content in (b"", b"x" * 100_000, os.urandom(100_000), tar_of(("a", FILE, b"x"))):
        (tmp_path / "no.tar").write_bytes(content)
        with pytest.raises(errors.InvalidDocument, match="no whole backup"):
            restore(tmp_path / "no.tar", tmp_path / "other")
    with pytest.raises(errors.NotFound):
        restore(tmp_path / "nothing.tar", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_manifest_names_its_parts_as_sluice_does() -> None:
    digest = "0" * 64
    whole = Part("sluice.db.zst", "database", 1, digest, 1)
    for parts in (
        (),
        (whole, whole),
        (whole, Part("../x", "files", 1, digest, 1)),
        (whole, Part("x", "files", -1, digest, 1)),
    ):
        told = Manifest(1, "0", "s", "h", "/h", "/d", 1, parts, (), {})
        with pytest.raises(errors.InvalidDocument):
            manifest.decode(manifest.encode(told))


def test_keys_are_told_from_files() -> None:
    assert all(map(contents.is_key, ("secrets.key", "jwt.key", "worker.key", "admin.token", "tls/key.pem", "own.key")))
    assert not any(
        map(contents.is_key, ("license.json", "state/x.key", "../secrets.key", "tls/cert.pem", "a/tls/key.pem"))
    )
    assert not any(map(contents.is_file, ("sluice.db", "sluice.db-wal", "engine.sock", "restoring/x", "secrets.key")))
