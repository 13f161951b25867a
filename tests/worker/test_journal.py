"""The journal of a worker: what jobs write goes to the engine together, and a log never holds up its job."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core import clock
from core.model import frames
from core.model.log_line import LogLine
from core.model.log_lines import Bundle
from core.store import log_chunks
from core.worker import journal
from core.worker.journal import Journal
from tests import waiting

pytestmark = pytest.mark.anyio
A, B = "t/a#0", "t/b#0"
SECOND = clock.NANOSECONDS


class Link:
    """The channel of a worker, as far as its journal knows it."""

    def __init__(self) -> None:
        self.sent: list[frames.Logs] = []

    def clean(self, workload: str, text: str, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return text.replace("secret", "***"), fields

    def logs(self, lines: frames.Logs) -> None:
        self.sent.append(lines)

    def lines(self, workload: str) -> list[LogLine]:
        told = [part for frame in self.sent for part in frame.parts if part.workload == workload]
        bundles = [Bundle(1, part.lines, part.columns, part.text) for part in told]
        return [line for bundle in bundles for line in log_chunks.of_bundle(bundle).lines()]

    def texts(self, workload: str) -> list[str]:
        return [line.text for line in self.lines(workload)]


class Written:
    """A journal with its clock in hand."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000 * SECOND
        self.link = Link()
        self.journal = Journal(lambda: self.link, lambda: self.now_ns)  # type: ignore[arg-type,return-value]

    def write(self, workload: str, *texts: str, level: str = "info") -> None:
        for text in texts:
            self.journal.write(workload, level, text)


async def test_lines_of_several_jobs_go_together_as_they_were_written() -> None:
    at = Written()
    at.write(A, "one", "zwei ü\nlines", "\x1b[31mred\x1b[0m", "half \ud800")
    at.journal.write(B, "error", "secret", {"n": {"ü": 1}})
    assert at.link.sent == [], "a line waits for others"
    await waiting.until(lambda: at.link.sent)
    (frame,) = at.link.sent
    assert [part.workload for part in frame.parts] == [A, B]
    assert at.link.texts(A) == ["one", "zwei ü\nlines", "\x1b[31mred\x1b[0m", "half \\ud800"]
    assert at.link.lines(B) == [LogLine(1, at.now_ns, "error", "***", {"n": {"ü": 1}})]


async def test_a_line_may_be_written_in_any_thread() -> None:
    at = Written()
    log = at.journal.of(A)
    log("info", "here")
    await asyncio.to_thread(log, "warning", "elsewhere", path="p")
    await waiting.until(lambda: len(at.link.texts(A)) == 2)
    assert at.link.lines(A)[1] == LogLine(2, at.now_ns, "warning", "elsewhere", {"path": "p"})


async def test_many_lines_do_not_wait_and_only_so_many_are_under_way() -> None:
    at = Written()
    line = "x" * 8_000
    for number in range(300):
        at.write(A, f"{number:04}{line}")
    sent = sum(len(memoryview(part.text)) for frame in at.link.sent for part in frame.parts)
    assert journal.UNCONFIRMED_BYTES <= sent < journal.UNCONFIRMED_BYTES + 2 * journal.SEND_BYTES
    at.journal.taken(at.link.sent[0].sequence)
    assert len(at.link.sent) > sent // journal.SEND_BYTES - 1
    while len(at.link.texts(A)) < 150:
        at.journal.taken(at.link.sent[-1].sequence)
    assert [text[:4] for text in at.link.texts(A)] == [f"{n:04}" for n in range(len(at.link.texts(A)))]


async def test_an_engine_that_takes_nothing_costs_bounded_memory_and_warnings_last() -> None:
    at = Written()
    line = "x" * 8_000
    for _ in range(1_000):
        at.write(A, line)
    at.write(A, "a warning", level="warning")
    at.write(B, "another job")
    at.now_ns += 2 * SECOND
    before = len(at.link.sent)
    for number in range(100):
        at.journal.taken(at.link.sent[-1].sequence)
        if len(at.link.sent) == before + number:
            at.journal.flush()
    at.journal.close()
    lines = at.link.lines(A)
    kept = [one for one in lines if one.level == "info"]
    (mark,) = (one for one in lines if "dropped" in one.fields)
    assert journal.UNCONFIRMED_BYTES < len(kept) * len(line) < 2.2 * journal.UNCONFIRMED_BYTES
    assert (mark.level, mark.fields["dropped"]["reason"]) == ("warning", "slow-engine")
    assert mark.fields["dropped"]["count"] + len(kept) == 1_000
    assert "a warning" in [one.text for one in lines]
    assert at.link.texts(B) == ["another job"]
    assert sum(frame.slow_engine for frame in at.link.sent) == mark.fields["dropped"]["count"]
    assert sum(frame.too_many for frame in at.link.sent) == 0


async def test_a_job_that_goes_on_writing_too_much_is_told_of_it_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LINES_PER_SECOND", 100)
    monkeypatch.setattr(journal, "BURST", 100)
    at = Written()
    for _ in range(3_000):  # over three seconds
        at.write(A, "x")
        at.now_ns += SECOND // 1_000
    at.journal.close()
    marks = [line.fields["dropped"] for line in at.link.lines(A) if line.fields]
    assert 3 <= len(marks) <= 4
    kept = len(at.link.lines(A)) - len(marks)
    assert 300 <= kept <= 400
    assert sum(mark["count"] for mark in marks) + kept == 3_000
    assert sum(frame.too_many for frame in at.link.sent) == 3_000 - kept
    assert all(mark["from"] < mark["to"] for mark in marks)


async def test_one_job_that_writes_much_holds_up_no_other() -> None:
    at = Written()
    for number in range(400):
        at.write(A, "x" * 8_000)
        if number == 200:
            at.write(B, "mine")
    for _ in range(3):
        at.journal.taken(at.link.sent[-1].sequence)
    assert at.link.texts(B) == ["mine"]
