"""Make the index of a portal from a directory of documents, so that any web server can offer them."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson

from core import documents, errors
from core.catalog import builtin, items
from core.catalog.portal import INDEX, parse
from core.documents import Document
from core.model.catalog import MODELS, PATH_PATTERN, SPELLINGS, LibraryJob
from core.model.portal import MAX_ITEM_BYTES, SCHEMA_VERSION, PortalIndex, PortalItem
from core.workflows import check, modules

SUFFIXES = (".yaml", ".yml", ".json")
TOLD = 100  # faults

Read = tuple[Path, Document, items.Entry, PortalItem]


def pack(root: Path, *, title: str = "", author: str = "") -> PortalIndex:
    """Check every document under a directory and write its `index.json`, the same for the same documents.

    `author` stands for those who are not named. Raises InvalidDocument with the faults of all documents, each with
    file:line:column; nothing is written then.
    """
    problems: list[errors.Problem] = []
    read: list[Read] = []
    for path in _files(root):
        try:
            read.append(_read(path, path.relative_to(root).as_posix(), author))
        except errors.InvalidDocument as error:
            problems += error.errors or [errors.Problem("", error.message, str(path))]
    problems += _twice(read)
    if not problems:
        known = modules.of([*builtin.load(), *(entry for _, _, entry, _ in read)])
        problems = [problem for one in read for problem in _faults(one, known)]
    if problems or not read:
        many = f"{len(problems)} {'fault' if len(problems) == 1 else 'faults'}"
        raise errors.InvalidDocument(
            f"{root} cannot be packed: {many if problems else 'it holds no documents'}.",
            hint=f"Nothing was written. A portal has one document a file ({', '.join(SUFFIXES)}), and every module that"
            " one of them names and that does not come with Sluice.",
            errors=problems[:TOLD],
        )
    found = sorted((one[-1] for one in read), key=lambda item: (item.type, item.slug, items.version_key(item.version)))
    index = PortalIndex(schema_version=SCHEMA_VERSION, title=title, items=tuple(found))
    body = orjson.dumps(index.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    parse(body, str(root / INDEX))  # what we make can be read
    _write(root / INDEX, body)
    return index


def _files(root: Path) -> Iterator[Path]:
    """The documents under a directory, in order, but for hidden ones; links to directories are not followed."""

    def fail(error: OSError) -> None:
        raise errors.InvalidParams(f"{error.filename} cannot be read: {error.strerror}.", hint="Give a directory.")

    for folder, folders, files in os.walk(root, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            if path.suffix in SUFFIXES and not name.startswith(".") and path != root / INDEX:
                yield path


def _read(path: Path, relative: str, author: str) -> Read:
    if not re.fullmatch(PATH_PATTERN, relative):
        raise errors.InvalidDocument(f"{path}: the name of a file {SPELLINGS[PATH_PATTERN]}.")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_ITEM_BYTES + 1)
        text = raw.decode("utf-8")
    except OSError as error:
        raise errors.InvalidDocument(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise errors.InvalidDocument(f"{path} is not UTF-8 at byte {error.start}.") from error
    found = documents.load(text, origin=str(path))
    document = found[0]
    if len(found) != 1:
        raise errors.InvalidDocument(f"{path} holds {len(found)} documents, and a file of a portal holds one.")
    if document.kind not in MODELS:
        known = ", ".join(MODELS)
        raise errors.InvalidDocument(
            f"{path} cannot be offered.",
            errors=[errors.Problem("/kind", f"must be one of {known}", document.where(""))],
        )
    model = documents.check(document, MODELS[document.kind])
    if model.version is None:
        told = "is missing: an item of a portal says which version it is"
        raise errors.InvalidDocument("", errors=[errors.Problem("/version", told, document.where(""))])
    entry = items.entry(model)
    item = PortalItem(
        type=entry.type,
        slug=entry.slug,
        version=entry.version,
        title=entry.title,
        summary=entry.summary,
        tags=entry.tags,
        author=model.author or author,
        path=relative,
        sha256=hashlib.sha256(raw).hexdigest(),
        size=len(raw),
    )
    return path, document, entry, item


def _twice(read: list[Read]) -> list[errors.Problem]:
    first: dict[str, Path] = {}
    return [
        errors.Problem("/version", f"{entry.ref} is also in {first[entry.ref]}", document.where("/version"))
        for path, document, entry, _ in read
        if first.setdefault(entry.ref, path) != path
    ]


def _faults(one: Read, known: modules.Modules) -> list[errors.Problem]:
    _, document, entry, _ = one
    if isinstance(entry.model, LibraryJob):
        return check.library_job(document)
    return [fault.problem() for fault in check.check(document, known).faults]


def _write(path: Path, body: bytes) -> None:
    """Put the file in its place whole or not at all, readable like the others."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".index-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
