"""Reads a manifest and the files that it names. What lies outside its directory is not read, whatever a path says."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pydantic

from core import documents, errors
from core.documents import Document
from core.errors import Problem
from core.model.gitops import Include, Kind, Manifest

if TYPE_CHECKING:
    from core.model.results import gitops

MAX_FILE_BYTES = 1024 * 1024
MAX_TOTAL_BYTES = 6 * 1024 * 1024  # of one manifest: what one call carries, see `core.operations.gitops.MAX_BYTES`
MAX_FILES = 5000
MAX_VISITED = 100_000  # directory entries that patterns may look at
_OUTSIDE = "it leads outside the directory of the manifest"
SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class File:
    """One file of the desired state; `path` is relative to the manifest, with slashes."""

    kind: Kind
    path: str
    text: str

    def to_dict(self) -> gitops.WrittenFile:
        return {"kind": self.kind, "path": self.path, "text": self.text}


@dataclass(slots=True)
class Bundle:
    """A manifest with its files, as far as they could be read, and what was wrong with the rest.

    Of a manifest with faults `manifest` is what can be used: its scope, and the includes that are well formed.
    """

    manifest: Manifest
    document: Document
    files: list[File] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read(path: Path) -> Bundle:
    """Read a manifest and everything that it includes, as far as both can be read; the faults are in `problems`.

    Raises InvalidDocument when there is no manifest at `path`, or when it does not say what the files are for: with
    all that is wrong with it, and which files cannot be read.
    """
    document = _manifest(path, str(path))
    includes = document.data.get("includes")
    readable = {number: one for number, one in enumerate(includes if isinstance(includes, list) else ()) if _fits(one)}
    fault: errors.InvalidDocument | None = None
    manifest: Manifest | None
    try:
        manifest = documents.check(document, Manifest, "manifest")
    except errors.InvalidDocument as error:
        fault = error
        kept = {key: document.data[key] for key in ("schema_version", "scope") if key in document.data}
        try:
            manifest = Manifest.model_validate({**kept, "includes": list(readable.values())})
        except pydantic.ValidationError:
            manifest = None
    reader = _Reader(path.parent)
    for number, data in readable.items():
        include = Include.model_validate(data)
        for index, pattern in enumerate(include.paths):
            reader.include(include.kind, pattern, document.where(f"/includes/{number}/paths/{index}"))
    problems = [*(fault.errors if fault is not None else ()), *reader.problems]
    if fault is not None and manifest is None:
        fault.errors = tuple(problems)
        fault.hint = "What is in the files is looked at once the manifest says what they are for."
        raise fault
    assert manifest is not None  # without a fault it is the whole one
    return Bundle(manifest, document, reader.files, problems)


def _fits(include: Any) -> bool:
    try:
        Include.model_validate(include)
    except pydantic.ValidationError:
        return False
    return True


def _manifest(path: Path, origin: str) -> Document:
    try:
        raw = path.read_bytes() if path.stat().st_size <= MAX_FILE_BYTES else None
    except OSError as error:
        raise errors.InvalidDocument(
            f"Cannot read the manifest {origin}: {error.strerror}.",
            hint="Give its file; sluice gitops import writes one to start from.",
        ) from None
    if raw is None:
        raise errors.InvalidDocument(f"{origin} is larger than {MAX_FILE_BYTES} bytes.")
    try:
        found = documents.load(raw.decode("utf-8"), origin=origin)
    except UnicodeDecodeError as error:
        raise errors.InvalidDocument(f"{origin} is not UTF-8 at byte {error.start}.") from None
    if len(found) != 1:
        raise errors.InvalidDocument(
            f"{origin} holds {len(found)} documents; a manifest is one.",
            errors=[Problem("", "a second document begins here", found[1].where(""))],
        )
    return found[0]


class _Reader:
    """Reads below one directory, within the budgets."""

    def __init__(self, root: Path) -> None:
        self.files: list[File] = []
        self.problems: list[Problem] = []
        self._root = root
        self._real = root.resolve()
        self._seen: dict[str, Kind] = {}
        self._bytes = 0
        self._visited = 0

    def include(self, kind: Kind, pattern: str, where: str) -> None:
        """Read what one path of the manifest names; what is wrong is noted at `where`."""
        fault = _unsafe(pattern)
        if fault:
            self._note(f"{errors.shorten(pattern, 120)!r} {fault}", where)
            return
        found = sorted(self._matches(pattern)) if any(mark in pattern for mark in "*?[") else [pattern]
        if not found:
            self._note(f"no file matches {errors.shorten(pattern, 120)!r}", where)
        for path in found:
            self._read(kind, path, where)

    def _matches(self, pattern: str) -> Iterator[str]:
        """The document files below the root that a pattern matches; links are listed and refused when they are read."""
        parts = PurePosixPath(pattern).parts
        yield from self._walk(self._root, parts, "")

    def _walk(self, directory: Path, parts: tuple[str, ...], prefix: str) -> Iterator[str]:
        head, rest = parts[0], parts[1:]
        if head == "**":
            yield from self._walk(directory, rest or ("*",), prefix)
        for entry in self._entries(directory):
            is_directory = entry.is_dir(follow_symlinks=False)
            if head == "**":
                if is_directory and not entry.name.startswith("."):
                    yield from self._walk(Path(entry.path), parts, f"{prefix}{entry.name}/")
            elif PurePosixPath(entry.name).match(head) and entry.name.startswith(".") == head.startswith("."):
                if rest and is_directory:
                    yield from self._walk(Path(entry.path), rest, f"{prefix}{entry.name}/")
                elif not rest and not is_directory and entry.name.endswith(SUFFIXES):
                    yield f"{prefix}{entry.name}"

    def _entries(self, directory: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(directory) as listing:
                entries: list[os.DirEntry[str]] = []
                for entry in listing:
                    self._visited += 1
                    if self._visited > MAX_VISITED:
                        return entries
                    entries.append(entry)
                return entries
        except OSError:  # not there or not ours to see: then nothing matches, which is told
            return []

    def _read(self, kind: Kind, path: str, where: str) -> None:
        path = PurePosixPath(path).as_posix()
        before = self._seen.get(path)
        if before is not None:
            if before is not kind:
                self._note(f"{path} is included as {before.value} and as {kind.value}", where)
            return
        self._seen[path] = kind
        if len(self.files) >= MAX_FILES:
            self._note(f"the manifest includes more than {MAX_FILES} files", where, once=True)
            return
        try:
            raw = self._bytes_of(path)
        except OSError as error:
            self._note(f"cannot read {errors.shorten(path, 120)}: {error.strerror or error}", where)
            return
        self._bytes += len(raw)
        if len(raw) > MAX_FILE_BYTES:
            self._note(f"{path} is larger than {MAX_FILE_BYTES} bytes", where)
        elif self._bytes > MAX_TOTAL_BYTES:
            self._note(f"the files take more than {MAX_TOTAL_BYTES} bytes; divide the manifest", where, once=True)
        else:
            try:
                self.files.append(File(kind, path, raw.decode("utf-8")))
            except UnicodeDecodeError as error:
                self._note(f"{path} is not UTF-8 at byte {error.start}", where)

    def _bytes_of(self, path: str) -> bytes:
        """The content of a regular file below the root. Raises OSError, also for every way out of the root.

        What is checked is what was opened: a link that is put there in between leads nowhere.
        """
        whole = self._root / path
        if not Path(os.path.realpath(whole)).is_relative_to(self._real):  # unlike resolve, alike in every Python
            raise OSError(_OUTSIDE)
        if whole.is_symlink():
            raise OSError("it is a symbolic link")
        descriptor = os.open(whole, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("it is no regular file")
            opened = Path(f"/proc/self/fd/{descriptor}")
            if opened.is_symlink() and not opened.readlink().is_relative_to(self._real):
                raise OSError(_OUTSIDE)
            return file.read(MAX_FILE_BYTES + 1)

    def _note(self, message: str, where: str, *, once: bool = False) -> None:
        if not once or all(problem.message != message for problem in self.problems):
            self.problems.append(Problem("", message, where))


def _unsafe(pattern: str) -> str:
    """Why a path of a manifest is not looked at; empty when it may be."""
    if "\0" in pattern or "\\" in pattern:
        return "has a character that paths of a manifest do not have; divide names by /"
    path = PurePosixPath(pattern)
    if path.is_absolute() or pattern.startswith("~"):
        return "is absolute; paths are relative to the directory of the manifest"
    if ".." in path.parts:
        return "leads upwards; paths stay below the directory of the manifest"
    if pattern.count("**") > 2 or len(path.parts) > 20:
        return "is too deep; use at most two ** and twenty names"
    return ""
