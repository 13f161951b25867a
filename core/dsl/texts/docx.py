"""The text of a Word file (.docx): a ZIP archive with XML in it, both read as streams within bounds.

Source: ECMA-376 (Office Open XML), parts 1 and 2. Deleted text, field codes and what stands for older programs
(mc:Fallback) are left out; so are headers and footers, comments, and pictures.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Callable
from typing import IO
from xml.parsers import expat

from core.dsl.texts.wire import Bounds, Unreadable

MOST_PART_BYTES = 64 * 1024 * 1024  # of the XML of one part, unpacked
MOST_DEPTH = 500  # of elements in each other
_CHUNK_BYTES = 64 * 1024
_OLE = b"\xd0\xcf\x11\xe0"  # the format of Word before 2007, and around encrypted files
_WORD = (
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    "http://purl.oclc.org/ooxml/wordprocessingml/main",
)
_MATH = ("http://schemas.openxmlformats.org/officeDocument/2006/math", "http://purl.oclc.org/ooxml/officeDocument/math")
_SKIPPED = {"http://schemas.openxmlformats.org/markup-compatibility/2006 Fallback"}
_SKIPPED |= {f"{space} moveFrom" for space in _WORD}
_WORDS = {f"{space} {name}": name for space in _WORD for name in "p r t tc tr tbl tab br cr noBreakHyphen".split()}
_WORDS |= {f"{space} t": "t" for space in _MATH}
_SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def texts_of(content: bytes, most: Bounds) -> list[str]:
    """The whole text, as one: an empty line after each paragraph, a line for each row of a table.

    Raises Unreadable.
    """
    if content.startswith(_OLE):
        raise Unreadable("is encrypted, or of Word before 2007 (.doc)")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            main = _main_part(archive)
            names = {info.filename for info in archive.infolist()}
            notes = [posixpath.join(posixpath.dirname(main), name) for name in ("footnotes.xml", "endnotes.xml")]
            body = _Body(most.characters)
            for part in (main, *(note for note in notes if note in names)):
                _parse(archive, part, body.start, body.end, body.text)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeError) as error:
        raise Unreadable(f"is not a Word file (.docx): {error}") from error
    if not body.whole.strip():
        raise Unreadable("has no text")
    return [body.whole]


def _main_part(archive: zipfile.ZipFile) -> str:
    """The name of the part with the body, as the relationships of the package tell it."""
    found: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if attributes.get("Type", "").endswith("/officeDocument"):
            found.append(attributes.get("Target", "").lstrip("/"))

    _parse(archive, "_rels/.rels", start)
    if not found:
        raise Unreadable("is a ZIP archive without a document in it")
    return found[0]


def _parse(
    archive: zipfile.ZipFile,
    name: str,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None] = lambda name: None,
    text: Callable[[str], None] = lambda text: None,
) -> None:
    """Tell the elements of one part, without entities, document types or anything fetched. Raises Unreadable."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    with _open(archive, name) as part:
        left = MOST_PART_BYTES
        try:
            while chunk := part.read(_CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    raise Unreadable(f"has more than {MOST_PART_BYTES} bytes in its part {name}, unpacked")
                parser.Parse(chunk, False)
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise Unreadable(f"has a broken part {name}: {expat.ErrorString(error.code)}") from error


def _open(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise Unreadable(f"is a ZIP archive, but no Word file (.docx): it has no {name}") from None
    if info.flag_bits & 1:
        raise Unreadable("is encrypted with a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unreadable(f"is compressed in a way that Word does not use ({info.compress_type})")
    return archive.open(info)


def _refuse_doctype(*declared: object) -> None:
    raise Unreadable("has a document type in its XML, which is where entities are declared")


class _Body:
    """Receives the elements of the parts with text, and puts it together."""

    def __init__(self, most_characters: int) -> None:
        self._left = self._most = most_characters
        self._pieces: list[str] = []
        self._depth = self._skipped = 0  # how deep this is, and since where nothing is wanted
        self._runs = self._cells = 0
        self._in_text = False

    @property
    def whole(self) -> str:
        return "".join(self._pieces).strip()

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise Unreadable(f"has elements nested more than {MOST_DEPTH} deep")
        if self._skipped:
            return
        if name in _SKIPPED:
            self._skipped = self._depth
            return
        word = _WORDS.get(name)
        if word == "r":
            self._runs += 1
        elif word == "tc":
            self._cells += 1
        elif word == "t":
            self._in_text = True
        elif word in _SIGNS and self._runs:  # outside of a run a tab is a place on the ruler
            self._put(_SIGNS[word])

    def end(self, name: str) -> None:
        self._depth -= 1
        if self._skipped:
            if self._depth < self._skipped:
                self._skipped = 0
            return
        word = _WORDS.get(name)
        if word == "r":
            self._runs -= 1
        elif word == "t":
            self._in_text = False
        elif word == "p":
            self._put(" " if self._cells else "\n\n")
        elif word == "tc":
            self._cells -= 1
            self._end_with("\t")
        elif word == "tr":
            self._end_with(" " if self._cells else "\n")
        elif word == "tbl" and not self._cells:
            self._put("\n")

    def text(self, text: str) -> None:
        if self._in_text and not self._skipped:
            self._put(text)

    def _put(self, text: str) -> None:
        self._left -= len(text)
        if self._left < 0:
            raise Unreadable(f"has more than {self._most} characters")
        self._pieces.append(text)

    def _end_with(self, sign: str) -> None:
        """Put a sign in the place of the one that ended what was in it."""
        if self._pieces and self._pieces[-1] in (" ", "\t"):
            self._pieces.pop()
        self._put(sign)
