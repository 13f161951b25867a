"""The text of a PDF file, page by page."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import pkgutil
import sys

from core.dsl.texts.wire import Bounds, Unreadable

sys.modules.setdefault("PIL", None)  # type: ignore[arg-type]  # pictures are not decoded: their parsers stay outside

import pypdf  # noqa: E402
from pypdf.errors import PyPdfError  # noqa: E402

# What fonts of PDF files name; nothing can be loaded later.
ENCODINGS = "ascii charmap cp932 cp949 cp950 cp1252 gb18030 gb2312 gbk latin-1 utf-8 utf-16 utf-16-be utf-16-le".split()


def load() -> None:
    """Load what is loaded on demand otherwise: every module of the library, and what it decodes with."""
    for module in pkgutil.walk_packages(pypdf.__path__, "pypdf."):
        with contextlib.suppress(ImportError):  # it is for a library that is not there
            importlib.import_module(module.name)
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    for name in ENCODINGS:
        b"a".decode(name, errors="replace")


def texts_of(content: bytes, most: Bounds) -> list[str]:
    """The text of each page. Raises Unreadable; and whatever the library does not foresee."""
    if b"%PDF-" not in content[:1024]:
        raise Unreadable("is not a PDF file")
    try:
        reader = pypdf.PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("is encrypted with a password")
        count = len(reader.pages)
    except PyPdfError as error:
        raise Unreadable(f"is a broken PDF file: {error}") from error
    if not count:
        raise Unreadable("has no pages")
    if count > most.pages:
        raise Unreadable(f"has {count} pages; at most {most.pages} are read")
    texts: list[str] = []
    left = most.characters
    for number in range(count):
        try:
            text = reader.pages[number].extract_text()
        except PyPdfError as error:
            raise Unreadable(f"cannot be read at page {number + 1}: {error}") from error
        left -= len(text)
        if left < 0:
            raise Unreadable(f"has more than {most.characters} characters")
        texts.append(text)
    if not any(text.strip() for text in texts):
        raise Unreadable(f"has no text on its {count} pages, as when they are pictures of a scanner")
    return texts
