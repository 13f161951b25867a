"""What an archive says of itself, at its beginning: read and checked before anything else of it is touched."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from core import clock, errors

FORMAT = 1
NAME = "manifest.json"
SLOT_BYTES = 64 * 1024
"""It is written last and lies first, so its place has a size of its own; the rest is spaces."""
MOST_PARTS = 16
_NAME = re.compile(r"[a-z]+(?:\.[a-z]+){0,2}")
_DIGEST = re.compile(r"[0-9a-f]{64}")

Kind = Literal["database", "files", "data", "keys"]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One piece of the archive. `size` and `sha256` are of what lies in the archive, `unpacked` is what comes of it."""

    name: str
    kind: Kind
    size: int
    sha256: str
    unpacked: int
    files: int = 1


class LeftOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that belongs to the home and is not in the archive."""

    what: str
    why: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`schema`: the last step of the database. `moment_ns`: what was accepted before it is in the archive."""

    format: int
    sluice: str
    schema: str
    home_id: str
    home: str
    data_root: str
    moment_ns: int
    parts: tuple[Part, ...]
    left_out: tuple[LeftOut, ...]
    counts: dict[str, int]

    @property
    def moment(self) -> str:
        """As people read it."""
        return clock.iso(self.moment_ns)

    def part(self, kind: Kind) -> Part | None:
        """The first part of a kind."""
        return next((one for one in self.parts if one.kind == kind), None)


class _Version(msgspec.Struct):
    """What every format has."""

    format: int
    sluice: str = ""


def encode(manifest: Manifest) -> bytes:
    """The manifest, filled up to its slot. Raises InvalidDocument when it says too much for it."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    if len(text) >= SLOT_BYTES:
        raise errors.InvalidDocument(f"The manifest of the backup would take {len(text)} bytes; {SLOT_BYTES} are kept.")
    return text + b" " * (SLOT_BYTES - len(text) - 1) + b"\n"


def decode(text: bytes) -> Manifest:
    """Raises InvalidDocument for what is no manifest, or one of a newer Sluice."""
    try:
        version = msgspec.json.decode(text, type=_Version)
        if version.format > FORMAT:
            raise errors.InvalidDocument(
                f"This backup has format {version.format}, of Sluice {errors.shorten(version.sluice, 40)}; this Sluice"
                f" reads format {FORMAT}.",
                hint="Upgrade sluice-mcp to the version that wrote it, or a later one.",
            )
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise errors.InvalidDocument(
            f"The manifest of this backup cannot be read: {errors.shorten(str(error), 120)}."
        ) from None
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    names = [one.name for one in manifest.parts]
    databases = [one.name for one in manifest.parts if one.kind == "database"]
    wrong = [name for name in names if not _NAME.fullmatch(name)]
    bad = [one.name for one in manifest.parts if one.size < 0 or one.unpacked < 0 or one.files < 0]
    bad += [one.name for one in manifest.parts if not _DIGEST.fullmatch(one.sha256)]
    if wrong or bad or len(set(names)) != len(names) or len(names) > MOST_PARTS or "sluice.db.zst" not in databases:
        raise errors.InvalidDocument("The manifest of this backup does not name its parts as Sluice does.")
