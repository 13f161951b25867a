"""Text out of PDF and Word files: in the process without rights that jobs have for it, beside the same in this one."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from bench.measure import Scale, take_turns
from bench.report import Row
from core.dsl.texts import docx, pdf
from core.dsl.texts.extractor import Extractor
from core.dsl.texts.wire import Bounds, Format, Unreadable

LINE = "The quick brown fox jumps over the lazy dog and then rests for a good long while"
LINES, PARAGRAPHS, MOST_PAGES = 45, 1_000, 100
BOMB_BYTES = 200_000_000
SECONDS = 60.0
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"


async def measure(scale: Scale, folder: Path) -> list[Row]:
    pages = max(2, min(MOST_PAGES, scale.sequential // 6))
    lines = "".join(f"({LINE}) Tj T* " for _ in range(LINES))
    book, letter = _pdf([f"BT /F1 10 Tf 72 760 Td 12 TL {lines}ET".encode()] * pages), _docx()
    pdfs, words = (Extractor(format, confined=True) for format in (Format.PDF, Format.DOCX))
    try:
        starts = [await _seconds(reads, content) for reads, content in ((pdfs, _pdf([b""])), (words, letter))]

        def apart(reads: Extractor, content: bytes) -> Callable[[], Any]:
            return lambda: _seconds(reads, content)

        def here(read: Callable[[bytes, Bounds], list[str]], content: bytes) -> Callable[[], Any]:
            async def side() -> float:
                started = time.perf_counter()
                read(content, Bounds())
                return time.perf_counter() - started

            return side

        pdf.load()
        sides = {"pdf": apart(pdfs, book), "pdf floor": here(pdf.texts_of, book)}
        sides |= {"word": apart(words, letter), "word floor": here(docx.texts_of, letter)}
        found = {name: median(each) for name, each in (await take_turns(sides, scale.rounds)).items()}
        await _seconds(pdfs, _pdf([bytes(BOMB_BYTES)]))
        peak = _peak_mib(pdfs.pid)
    finally:
        pdfs.close()
        words.close()
    more: dict[str, Any] = {"more_is_better": True}
    return [
        Row(f"PDF, {LINES} lines a page", "pages/s", pages / found["pdf"], pages / found["pdf floor"], 0.8, **more),
        Row(f"Word, {PARAGRAPHS:,} paragraphs", "files/s", 1 / found["word"], 1 / found["word floor"], 0.8, **more),
        Row("first PDF, with the start of the process", "s", starts[0]),
        Row("first Word file, with the start of the process", "s", starts[1]),
        Row(f"most memory, {BOMB_BYTES // 10**6} MB of zeros in a PDF of 200 KB", "MiB", peak, target=512),
    ]


async def _seconds(reads: Extractor, content: bytes) -> float:
    """How long one file takes, whether there is a text in it or not."""
    started = time.perf_counter()
    try:
        await reads.texts_of(content, Bounds(), SECONDS, base64=False)
    except Unreadable:
        pass  # the empty page, and the bomb
    return time.perf_counter() - started


def _peak_mib(pid: int | None) -> float | None:
    """The most memory that a process has had; None when it is gone."""
    if pid is None:
        return None
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def _pdf(contents: list[bytes]) -> bytes:
    writer, out = PdfWriter(), io.BytesIO()
    font = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica", "/Encoding": "/WinAnsiEncoding"}
    named = DictionaryObject({NameObject(key): NameObject(value) for key, value in font.items()})
    fonts = DictionaryObject({NameObject("/F1"): named})
    for content in contents:
        stream = DecodedStreamObject()
        stream.set_data(content)
        page = writer.add_blank_page(612, 792)
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        page[NameObject("/Contents")] = writer._add_object(stream.flate_encode())
    writer.write(out)
    return out.getvalue()


def _docx() -> bytes:
    out = io.BytesIO()
    paragraph = f"<w:p><w:r><w:t>{LINE} {LINE}</w:t></w:r></w:p>"
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("_rels/.rels", f'<R><Relationship Type="{RELATION}" Target="word/document.xml"/></R>')
        body = f'<w:document xmlns:w="{WORD}"><w:body>{paragraph * PARAGRAPHS}</w:body></w:document>'
        packed.writestr("word/document.xml", body)
    return out.getvalue()
