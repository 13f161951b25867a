"""PDF and Word files made by hand, whole ones and hostile ones."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
COMPATIBILITY = "http://schemas.openxmlformats.org/markup-compatibility/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"


def pdf(pages: Iterable[str], **more: bytes) -> bytes:
    """A PDF file with a line of text on each page; an empty one for a page without text."""
    contents = [f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode("cp1252") if text else b"" for text in pages]
    return pdf_of(contents, **more)


def pdf_of(contents: Iterable[bytes], *, catalog: bytes = b"", trailer: bytes = b"", extra: bytes = b"") -> bytes:
    """A PDF file with these content streams, one for each page."""
    streams = list(contents)
    kids = b" ".join(b"%d 0 R" % (10 + 2 * at) for at in range(len(streams)))
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog,
        2: b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(streams)),
        3: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    }
    for at, stream in enumerate(streams):
        place = 10 + 2 * at
        objects[place] = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
            % (place + 1)
        )
        packed = zlib.compress(stream)
        objects[place + 1] = b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(packed), packed)
    return pdf_with(objects, trailer, extra)


def pdf_with(objects: Mapping[int, bytes], trailer: bytes = b"", extra: bytes = b"") -> bytes:
    """A PDF file with these objects; the first is its catalog."""
    out = bytearray(b"%PDF-1.7\n")
    places = {}
    for number, body in objects.items():
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    out += extra
    start, size = len(out), max(objects) + 1
    out += b"xref\n0 1\n0000000000 65535 f \n"
    for number, place in sorted(places.items()):
        out += b"%d 1\n%010d 00000 n \n" % (number, place)
    return bytes(out + b"trailer\n<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, start))


def docx(body: str, **parts: str) -> bytes:
    """A Word file with this XML in its body; `parts`: more of them by name, as `footnotes="<w:footnotes…/>"`."""
    texts = {f"word/{name}.xml": text for name, text in parts.items()}
    return archive({"word/document.xml": document(body), **texts})


def document(body: str, head: str = "") -> str:
    """The main part of a Word file; `head` comes before its root."""
    spaces = f'xmlns:w="{WORD}" xmlns:mc="{COMPATIBILITY}"'
    return f'<?xml version="1.0"?>{head}<w:document {spaces}><w:body>{body}</w:body></w:document>'


def paragraph(text: str) -> str:
    """One in the XML of a body."""
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def archive(
    parts: Mapping[str, str | bytes], target: str = "word/document.xml", pack: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """A package of Office Open XML."""
    relations = (
        f'<Relationships xmlns="{RELATIONS}"><Relationship Id="1" Type="{OFFICE}" Target="{target}"/></Relationships>'
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", pack) as packed:
        for name, content in {"_rels/.rels": relations, **parts}.items():
            packed.writestr(name, content)
    return out.getvalue()
