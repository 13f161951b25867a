"""Text out of PDF and Word files: what whole files give, what hostile ones get, and what the process that reads may."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import signal
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pypdf
import pytest

from core.confinement import sandbox
from core.dsl.texts import docx, extractor, wire
from core.dsl.texts.extractor import Extractor
from core.dsl.texts.wire import Bounds, Format, Unreadable
from core.errors import JobFailed
from tests import waiting
from tests.dsl import office

pytestmark = pytest.mark.anyio
whole = pytest.mark.skipif(bool(sandbox.lacking()), reason=f"this kernel: {', '.join(sandbox.lacking())}")


@pytest.fixture
async def pdfs() -> AsyncIterator[Extractor]:
    one = Extractor(Format.PDF, confined=True)
    yield one
    one.close()


@pytest.fixture
async def words() -> AsyncIterator[Extractor]:
    one = Extractor(Format.DOCX, confined=True)
    yield one
    one.close()


async def read(reads: Extractor, content: bytes, bounds: Bounds = Bounds(), seconds: float = 20.0) -> list[str]:  # noqa: B008
    return await reads.texts_of(base64.b64encode(content), bounds, seconds)


async def refusal(reads: Extractor, content: bytes, bounds: Bounds = Bounds(), seconds: float = 20.0) -> str:  # noqa: B008
    with pytest.raises(Unreadable) as caught:
        await read(reads, content, bounds, seconds)
    return str(caught.value)


def encrypted(password: str, algorithm: str) -> bytes:
    writer, out = pypdf.PdfWriter(io.BytesIO(office.pdf(["secret"]))), io.BytesIO()
    writer.encrypt(password, "owner", algorithm=algorithm)
    writer.write(out)
    return out.getvalue()


# ---- what files give -----------------------------------------------------------------------------------------------

TABLE = (
    "<w:tbl><w:tr><w:tc>{}{}</w:tc><w:tc>{}</w:tc></w:tr><w:tr><w:tc>{}</w:tc><w:tc><w:p/></w:tc></w:tr></w:tbl>"
).format(*map(office.paragraph, "abcd"))
TABS = (
    "<w:p><w:pPr><w:tabs><w:tab w:val='left'/></w:tabs></w:pPr>"
    "<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r></w:p>"
)
EDITED = (
    "<w:p><w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:ins><w:r><w:t>new</w:t></w:r></w:ins>"
    "<w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom><w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"
)
CHOICE = (
    "<w:p><w:r><mc:AlternateContent><mc:Choice><w:t>one</w:t></mc:Choice>"
    "<mc:Fallback><w:t>one</w:t><w:p><w:r><w:t>one</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent><w:t>!</w:t></w:r></w:p>"
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (office.paragraph("one") + office.paragraph("t&#233;&amp;"), "one\n\nté&"),
        (office.paragraph("x") + TABLE + office.paragraph("y"), "x\n\na b\tc\nd\t\n\ny"),
        (TABS, "a\tb\nc"),
        (EDITED, "new"),
        (CHOICE, "one!"),
    ],
    ids=["paragraphs", "table", "tabs", "edited", "choice"],
)
def test_the_parts_of_a_word_file_become_text(body: str, expected: str) -> None:
    assert docx.texts_of(office.docx(body), Bounds()) == [expected]


def test_notes_come_after_the_body_and_other_parts_do_not() -> None:
    notes = f"<w:footnotes xmlns:w='{office.WORD}'><w:footnote>{office.paragraph('note')}</w:footnote></w:footnotes>"
    content = office.docx(office.paragraph("body"), footnotes=notes, comments=notes.replace("note", "comment"))
    assert docx.texts_of(content, Bounds()) == ["body\n\nnote"]


def test_the_body_is_where_the_package_says() -> None:
    parts = {"word/document2.xml": office.document(office.paragraph("here"))}
    assert docx.texts_of(office.archive(parts, "/word/document2.xml"), Bounds()) == ["here"]


async def test_a_file_is_read_in_a_process_that_stays_for_the_next_one(pdfs: Extractor, words: Extractor) -> None:
    assert await read(pdfs, office.pdf(["Hello", "caf\xe9"])) == ["Hello", "caf\xe9"]
    first = pdfs.pid
    assert await read(pdfs, office.pdf(["again", ""])) == ["again", ""]
    assert pdfs.pid == first is not None
    assert await read(words, office.docx(office.paragraph("word"))) == ["word"]
    assert await words.texts_of(office.docx(office.paragraph("plain")), Bounds(), 5.0, base64=False) == ["plain"]


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
async def test_a_file_that_anybody_may_open_is_read_and_one_with_a_password_is_not(
    pdfs: Extractor, algorithm: str
) -> None:
    assert await read(pdfs, encrypted("", algorithm)) == ["secret"]
    assert await refusal(pdfs, encrypted("word", algorithm)) == "is encrypted with a password"


async def test_without_a_sandbox_the_limits_alone_hold() -> None:
    reads = Extractor(Format.PDF, confined=False)
    try:
        assert await read(reads, office.pdf(["free"])) == ["free"]
        assert reads.pid is not None
        assert told(reads.pid, "limits")["Max open files"].split()[0] == "1"
    finally:
        reads.close()


@whole
async def test_the_process_is_left_with_nothing(pdfs: Extractor) -> None:
    await read(pdfs, office.pdf(["x"]))
    assert pdfs.pid is not None
    status, limits = told(pdfs.pid, "status"), told(pdfs.pid, "limits")
    assert (status["Seccomp:"], status["NoNewPrivs:"]) == ("2", "1")
    wanted = {"Max address space": extractor.MEMORY_BYTES, "Max open files": 1, "Max core file size": 0}
    assert {name: int(limits[name].split()[0]) for name in wanted} == wanted


def told(pid: int, what: str) -> dict[str, str]:
    """What the kernel tells of a process: `status` or `limits`, by name."""
    lines = Path(f"/proc/{pid}/{what}").read_text(encoding="ascii").splitlines()
    cut = [line.partition("\t") if what == "status" else (line[:26], "", line[26:]) for line in lines]
    return {name.strip(): value.strip() for name, _, value in cut}


# ---- what hostile ones get -----------------------------------------------------------------------------------------

CYCLE = {1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 9>>"}
SLOW = office.pdf_of([b"BT /F1 9 Tf " + b"(x) Tj 1 0 Td " * 200_000 + b"ET"])  # seconds
DEEP = b"BT " + b"[" * 200_000 + b"]" * 200_000 + b" TJ ET"
# The flag of encryption, in the directory of the archive and before its first entry.
LOCKED = office.docx("").replace(b"PK\x03\x04\x14\x00\x00\x00", b"PK\x03\x04\x14\x00\x01\x00")
LOCKED = LOCKED.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")
BOMB = "<!DOCTYPE a [" + "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 9)) + "]>"


@pytest.mark.parametrize(
    ("content", "bounds", "told"),
    [
        (b"MZ" + bytes(100), Bounds(), "is not a PDF file"),
        (b"", Bounds(), "is not a PDF file"),
        (office.pdf(["text"])[:200], Bounds(), "is a broken PDF file"),
        (office.pdf(["", ""]), Bounds(), "has no text on its 2 pages, as when they are pictures of a scanner"),
        (office.pdf(["x"] * 4), Bounds(pages=3), "has 4 pages; at most 3 are read"),
        (office.pdf(["many letters"] * 2), Bounds(characters=20), "has more than 20 characters"),
        (office.pdf_with(CYCLE), Bounds(), "is a broken PDF file"),
        (office.pdf_of([bytes(200_000_000)]), Bounds(), "at page 1"),
        (office.pdf_of([DEEP]), Bounds(), "deep"),
    ],
    ids=["exe", "empty", "cut", "scanned", "pages", "characters", "cycle", "bomb", "deep"],
)
async def test_a_pdf_file_that_cannot_be_read_is_told_why(
    pdfs: Extractor, content: bytes, bounds: Bounds, told: str
) -> None:
    assert told in await refusal(pdfs, content, bounds)
    assert await read(pdfs, office.pdf(["next"])) == ["next"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xd0\xcf\x11\xe0" + bytes(100), "is encrypted, or of Word before 2007 (.doc)"),
        (b"plain text", "is not a Word file (.docx)"),
        (office.docx(office.paragraph("x"))[:200], "is not a Word file (.docx)"),
        (office.archive({"xl/workbook.xml": ""}, "xl/workbook.xml"), "broken part xl/workbook.xml: no element found"),
        (office.archive({}, "gone.xml"), "it has no gone.xml"),
        (office.docx("<w:p/>"), "has no text"),
        (office.docx("<w:p>"), "has a broken part word/document.xml: mismatched tag"),
        (office.archive({"word/document.xml": office.document("&e8;", BOMB)}), "has a document type in its XML"),
        (office.docx(" " * (docx.MOST_PART_BYTES + 1)), "has more than 67108864 bytes in its part word/document.xml"),
        (office.docx(office.paragraph("x" * (wire.MOST_CHARACTERS + 1))), "has more than 8388608 characters"),
        (office.docx("<w:p>" * 600 + "</w:p>" * 600), "has elements nested more than 500 deep"),
        (LOCKED, "is encrypted with a password"),
        (office.archive({"word/document.xml": b"x"}, pack=zipfile.ZIP_LZMA), "in a way that Word does not use (14)"),
    ],
    ids="ole text cut excel gone empty xml entities bomb long deep locked lzma".split(),
)
async def test_a_word_file_that_cannot_be_read_is_told_why(words: Extractor, content: bytes, told: str) -> None:
    assert told in await refusal(words, content)
    assert await read(words, office.docx(office.paragraph("next"))) == ["next"]


async def test_bad_base64_is_told(words: Extractor) -> None:
    with pytest.raises(Unreadable, match="is not valid base64"):
        await words.texts_of(b"a=b=?", Bounds(), 5.0)


async def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_is_read(pdfs: Extractor) -> None:
    await read(pdfs, office.pdf(["first"]))
    first = pdfs.pid
    assert await refusal(pdfs, SLOW, seconds=0.3) == "takes longer than 0.3 s"
    assert await read(pdfs, office.pdf(["next"])) == ["next"]
    assert pdfs.pid != first


async def test_a_file_that_takes_too_much_memory_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractor, "MEMORY_BYTES", 96 * 1024 * 1024)
    reads = Extractor(Format.PDF, confined=True)
    try:
        told = await refusal(reads, office.pdf_of([b" " * 70_000_000]))  # less than what the library refuses
        assert told == "needs more memory than there is for it"
        assert reads.pid is None
        assert await read(reads, office.pdf(["next"])) == ["next"]
    finally:
        reads.close()


async def test_a_process_that_is_killed_over_a_file_is_told_and_replaced(pdfs: Extractor) -> None:
    await read(pdfs, office.pdf(["first"]))
    assert pdfs.pid is not None
    os.kill(pdfs.pid, signal.SIGKILL)
    assert await refusal(pdfs, office.pdf(["x"])) == "broke the process that reads it, which ended with signal 9"
    assert await read(pdfs, office.pdf(["next"])) == ["next"]


async def test_a_process_is_replaced_after_a_number_of_files(words: Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractor, "FILES", 2)
    pids = []
    for _ in range(3):
        await read(words, office.docx(office.paragraph("x")))
        pids.append(words.pid)
    assert pids[0] is not None
    assert pids[1] is None
    assert pids[2] not in (None, pids[0])


async def test_an_idle_process_ends(words: Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractor, "IDLE_SECONDS", 0.01)
    await read(words, office.docx(office.paragraph("x")))
    process = words._process
    assert process is not None
    await waiting.until(lambda: words.pid is None)
    await waiting.until(lambda: process._popen.returncode is not None)
    # It is killed, since it holds nothing that an ending would save, unless it was quicker to see that it is alone.
    assert process._popen.returncode in (-signal.SIGKILL, 0)


async def test_a_job_that_ends_takes_its_process_along_in_the_middle_of_a_file(pdfs: Extractor) -> None:
    await read(pdfs, office.pdf(["first"]))
    process = pdfs._process
    assert process is not None
    reading = asyncio.ensure_future(read(pdfs, SLOW))
    await waiting.until(lambda: process.asked == 2)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert pdfs.pid is None
    await waiting.until(lambda: process._popen.returncode == -signal.SIGKILL)


async def test_a_process_whose_worker_is_gone_ends_by_itself(words: Extractor) -> None:
    await read(words, office.docx(office.paragraph("x")))
    process = words._process
    assert process is not None
    process._sock.close()
    assert await asyncio.to_thread(process._popen.wait, 5) == 0


async def test_a_process_that_cannot_start_fails_the_job_and_not_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractor, "_BOOT", "raise SystemExit(3)")
    reads = Extractor(Format.DOCX, confined=False)
    with pytest.raises(JobFailed, match="the process that reads files ended with 3"):
        await read(reads, b"")
    assert reads.pid is None


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("os.write(0, b'\\xff' * 4)", "broke the process that reads it, which gave no proper answer"),
        ("os.write(0, b'\\0\\0\\0\\3abc')", "broke the process that reads it, which gave no proper answer"),
        ("os.close(0); signal.pause()", "broke the process that reads it, which closed its end"),
        ("signal.pause()", "takes longer than 0.3 s"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "broke the process that reads it, which ended with signal 11"),
    ],
    ids=["long", "other", "closed", "silent", "crashed"],
)
async def test_a_process_that_a_file_has_taken_over_gets_no_further(
    monkeypatch: pytest.MonkeyPatch, does: str, told: str
) -> None:
    ready = wire.encode(wire.Reply())
    monkeypatch.setattr(
        extractor, "_BOOT", f"import os, signal\nos.write(0, {ready!r})\nos.read(0, 1)\n{does}\nsignal.pause()"
    )
    monkeypatch.setattr(extractor, "GRACE_SECONDS", 0.1)
    reads = Extractor(Format.DOCX, confined=False)
    assert await refusal(reads, b"x", seconds=0.3) == told
    assert reads.pid is None


@pytest.mark.parametrize(
    "answer",
    [wire.LENGTH.pack(wire.MOST_REPLY_BYTES + 1), wire.LENGTH.pack(3) + b"\xc1\xc1\xc1", wire.LENGTH.pack(1) + b"\x01"],
    ids=["long", "broken", "other"],
)
def test_an_answer_that_is_none_is_refused(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"frame|MessagePack|Expected"):
        wire.length(answer[:4], wire.MOST_REPLY_BYTES)
        wire.parse(answer[4:], wire.Reply)
