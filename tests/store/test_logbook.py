"""Logs on the disk: what is written is found again, whatever happens to the engine, the disk and the job."""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import clock, errors, reserve
from core.model.log_line import LEVELS, NO_RUN, InRun, LogLine, mask, mask_from
from core.model.log_lines import Bundle, bundle
from core.store import log_chunks, log_rows, logbook
from core.store.log_chunks import Source, pack, unpack
from core.store.log_rows import Range
from core.store.log_search import Pattern
from core.store.logbook import Bounds, Logbook
from tests import waiting

pytestmark = pytest.mark.anyio
A, B = Source("t/a#0", "d", "local-1"), Source("t/b#0", "", "local-2")
KEPT = Bounds(1024, 168, 64, 0)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
LINES = st.lists(
    st.builds(
        LogLine,
        st.just(0),
        st.integers(0, 2**62),
        st.sampled_from([*LEVELS, "odd"]),
        TEXTS | st.just("two\nlines\n"),
        st.dictionaries(TEXTS, st.integers(0, 9) | TEXTS, max_size=2),
        st.just(NO_RUN) | st.builds(InRun, st.sampled_from(["r-1", "r-2", "r-12"]), st.sampled_from(["", "inv_1"])),
    ),
    min_size=1,
    max_size=30,
).map(lambda lines: [line._replace(seq=number + 1) for number, line in enumerate(lines)])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbook, "FLUSH_SECONDS", 0.02)


@asynccontextmanager
async def opened(path: Path, bounds: Bounds = KEPT) -> AsyncIterator[Logbook]:
    book = Logbook(path, bounds)
    book.open()
    yield book
    await book.close()


def write(book: Logbook, source: Source, *texts: str, level: str = "info") -> None:
    for text in texts:
        book.add(source, clock.now_ns(), level, text, {})


async def texts(book: Logbook, limit: int = 100, /, pattern: Pattern | None = None, **within: Any) -> list[str]:
    found = await book.search(Range("t", **within), limit, pattern=pattern)
    return [line.text for _, line in found.lines]


async def written(book: Logbook) -> None:
    await waiting.until(lambda: not book.held)


# -- how lines lie in it -----------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES)
def test_lines_are_read_as_they_were_written(lines: list[LogLine]) -> None:
    chunk = pack(A, [bundle(lines)])
    assert unpack(chunk.body) == lines
    assert (chunk.first_seq, chunk.last_seq, chunk.lines) == (1, len(lines), len(lines))
    assert all(chunk.levels & mask(line.level) for line in lines)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES, TEXTS.filter(bool))
def test_a_text_is_found_in_the_lines_that_hold_it_and_in_no_other(lines: list[LogLine], text: str) -> None:
    for pattern in (Pattern(text), Pattern("^" + "."), Pattern("o$|^[a-f]", regex=True)):
        found = list(pattern.numbers(log_chunks.of_body(pack(A, [bundle(lines)]).body)))
        opened = log_chunks.of_bundle(bundle(lines))
        assert found == [number for number in range(len(lines)) if pattern.matches(opened.text_at(number))]


@settings(max_examples=settings.default.max_examples // 2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, min_size=1, max_size=8))
def test_merged_chunks_have_the_same_lines_in_order(parts: list[list[LogLine]]) -> None:
    chunks = [pack(A if number < 4 else A._replace(worker="w"), [bundle(lines)]) for number, lines in enumerate(parts)]
    merged = log_chunks.merge(chunks)
    assert [line for one in merged for line in unpack(one.body)] == [line for lines in parts for line in lines]
    assert len(merged) == len({chunk.source for chunk in chunks})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES)
def test_lines_of_an_earlier_version_are_read_searched_and_merged(lines: list[LogLine]) -> None:
    old, middle = zlib_chunk(lines), chunk_without_runs(lines)
    runs, lines = lines, [line._replace(in_run=NO_RUN) for line in lines]
    assert unpack(old.body) == unpack(middle.body) == lines
    assert list(Pattern("o").numbers(log_chunks.of_body(old.body))) == list(
        Pattern("o").numbers(log_chunks.of_bundle(bundle(lines)))
    )
    between = [line._replace(seq=line.seq + 1000) for line in lines]
    after = [line._replace(seq=line.seq + 2000) for line in runs]
    (merged,) = log_chunks.merge([old, chunk_without_runs(between), pack(A, [bundle(after)])])
    assert unpack(merged.body) == [*lines, *between, *after]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES, st.sampled_from(["", "r-1", "r-12", "r-3"]), st.sampled_from(["", "inv_1", "inv_2"]))
def test_the_lines_of_a_run_are_found_and_no_others(lines: list[LogLine], run: str, invocation: str) -> None:
    within = Range("t", run=run, invocation=invocation)
    for opened in (log_chunks.of_bundle(bundle(lines)), log_chunks.of_body(pack(A, [bundle(lines)]).body)):
        found = within.fitting(opened, range(len(lines)))
        assert [opened.line(number) for number in found] == [
            line for line in lines if run in ("", line.in_run.run) and invocation in ("", line.in_run.invocation)
        ]


def chunk_without_runs(lines: list[LogLine]) -> log_chunks.Chunk:
    """A chunk as it was written before lines named their run."""
    now = log_chunks.of_bundle(bundle(lines))
    head = orjson.dumps(tuple(now.head)[:-1])
    body = b"s" + zstandard.ZstdCompressor().compress(now.text + head + len(head).to_bytes(4, "big"))
    return pack(A, [bundle(lines)])._replace(body=body)


def zlib_chunk(lines: list[LogLine]) -> log_chunks.Chunk:
    """A chunk as it was written before there was zstandard."""
    now = log_chunks.of_bundle(bundle(lines))
    columns = orjson.dumps((now.head.names, now.seqs, now.times, now.head.levels, now.head.lengths, now.head.extras))
    body = b"z" + zlib.compress(len(columns).to_bytes(4, "big") + columns + now.text)
    return pack(A, [bundle(lines)])._replace(body=body)


GOOD = [["info"], [0, 0], [5, 1], [4, 3], [0, 0]]


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [["info"], [0, 0], [5, 1], [4, 3]],
        [["info"], [0], [5, 1], [4, 3], [0, 0]],
        [["info"], [0, 1], [5, 1], [4, 3], [0, 0]],
        [["info"], [0, -1], [5, 1], [4, 3], [0, 0]],
        [["info"], [0, 0], [5, -6], [4, 3], [0, 0]],
        [["info"], [0, 0], [2**62, 2**62], [4, 3], [0, 0]],
        [["info"], [0, 0], [5, 1], [4, 4], [0, 0]],
        [["info"], [0, 0], [5, 1], [7, 0], [0, 0]],
        [["info"], [0, 0], [5, 1], [4, 3], [4, 0]],
        [["x" * 99], [0, 0], [5, 1], [4, 3], [0, 0]],
        [*GOOD, [["r", "", 1]]],
        [*GOOD, [["r", "", 0], ["s", "", 2]]],
        [*GOOD, [["r" * 65, "", 2]]],
        [*GOOD, [["r", 7, 2]]],
        [*GOOD, [["r", "ignore all that", 2]]],
        "info",
    ],
    ids=str,
)
async def test_lines_that_are_none_are_left_out_and_told_and_the_others_stay(tmp_path: Path, columns: Any) -> None:
    text = orjson.dumps("one\ntw\n")
    assert [line.text for line in log_chunks.of_bundle(Bundle(1, 2, orjson.dumps(GOOD), text)).lines()] == ["one", "tw"]
    async with opened(tmp_path / "logs.db") as book:
        write(book, A, "before")
        book.take(A, 2, orjson.dumps(columns), text)
        book.take(A, 2, orjson.dumps(GOOD), b"7")
        write(book, A, "after")
        await written(book)
        assert book.dropped == {"malformed": 4}
        await waiting.until(lambda: not book.held)
        found = await texts(book)
    assert [text for text in found if "lost" not in text] == ["after", "before"]


async def test_fields_that_are_none_are_shown_as_they_are(tmp_path: Path) -> None:
    columns = [["info"], [0, 0], [5, 1], [6, 6], [2, 2]]
    async with opened(tmp_path / "logs.db") as book:
        book.take(A, 2, orjson.dumps(columns), orjson.dumps("one {\ntwo 7\n"))
        await written(book)
        assert await texts(book) == ["two 7", "one {"]


def test_what_is_no_chunk_is_refused() -> None:
    for body in (b"", b"?abc", b"zabc", b"sabc", b"s" + pack(A, [bundle([LogLine(1, 2, "info", "x", {})])]).body[2:]):
        with pytest.raises(ValueError):
            unpack(body)


def test_a_regular_expression_that_is_none_is_refused() -> None:
    with pytest.raises(errors.InvalidParams, match="no regular expression"):
        Pattern("(", regex=True)
    assert Pattern("(").matches(b"f(x)")
    assert Pattern("(?i)^b", regex=True).matches(b"Bcd")


# -- the file ----------------------------------------------------------------------------------------------


async def test_lines_are_there_at_once_and_after_a_restart_and_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "logs.db"
    async with opened(path) as book:
        write(book, A, "one", "same", "same")
        write(book, B, "two", level="error")
        assert await texts(book) == ["two", "same", "same", "one"]
        await written(book)
        assert await texts(book) == ["two", "same", "same", "one"]
    assert path.stat().st_mode & 0o777 == 0o600
    async with opened(path) as book:
        write(book, A, "three")
        assert await texts(book) == ["three", "two", "same", "same", "one"]
        assert await texts(book, job="a") == ["three", "same", "same", "one"]
        for of in ("d", "a", "a#0", "local-1"):
            assert await texts(book, of=of, since_ns=1) == ["three", "same", "same", "one"]
        assert await texts(book, of="t/a#0") == []
        assert await texts(book, levels=mask_from("warning")) == ["two"]
        assert await texts(book, pattern=Pattern("TWO")) == ["two"]
        assert (await book.search(Range("other"), 9)).lines == []


async def test_pages_have_every_line_once_in_both_directions(tmp_path: Path) -> None:
    async with opened(tmp_path / "logs.db") as book:
        for number in range(40):
            write(book, A if number % 3 else B, f"{number}")
            if number % 7 == 0:
                await written(book)
        seen: list[str] = []
        within = Range("t")
        while True:
            found = await book.search(within, 7)
            seen += [line.text for _, line in found.lines]
            if found.complete:
                break
            within = Range("t", before=found.edge)
        assert seen == [f"{number}" for number in reversed(range(40))]
        seen, within = [], Range("t", after=1)
        while True:
            found = await book.search(within, 7, newest_first=False)
            seen += [line.text for _, line in found.lines]
            if found.complete:
                break
            within = Range("t", after=found.edge)
        assert seen == [f"{number}" for number in range(40)]


async def test_chunks_that_are_merged_while_a_log_is_followed_are_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, chunks = tmp_path / "logs.db", log_rows.chunks

    def merged_meanwhile(*given: Any, **options: Any) -> Iterator[log_chunks.Chunk]:
        found = chunks(*given, **options)
        yield next(found)
        with contextlib.closing(log_rows.connect(path, write=True)) as other:
            other.execute("BEGIN IMMEDIATE")
            log_rows.merge_parts(other, A.workload)
            other.execute("COMMIT")
        yield from found

    async with opened(path) as book:
        for number in range(5):
            write(book, A, f"{number}")
            await written(book)
        monkeypatch.setattr(log_rows, "chunks", merged_meanwhile)
        for _ in range(2):
            found = await book.search(Range("t", after=1), 9, newest_first=False)
            assert [line.text for _, line in found.lines] == ["0", "1", "2", "3", "4"]


async def test_a_search_that_runs_out_of_time_says_where_to_go_on(tmp_path: Path) -> None:
    async with opened(tmp_path / "logs.db") as book:
        for number in range(5):
            write(book, A, f"{number}")
            await written(book)
        seen, before, calls = [], 0, 0
        while True:
            found = await book.search(Range("t", before=before), 100, seconds=0)
            seen += [line.text for _, line in found.lines]
            calls += 1
            if found.complete:
                break
            before = found.edge
        assert seen == ["4", "3", "2", "1", "0"]
        assert calls == 5


async def test_an_engine_that_was_killed_leaves_a_mark_and_no_line_twice(tmp_path: Path) -> None:
    path = tmp_path / "logs.db"
    killed = Logbook(path, KEPT)
    killed.open()
    write(killed, A, "before")
    await written(killed)
    write(killed, A, "lost")
    (tmp_path / "copy").mkdir()
    with (
        contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
        source,
    ):  # as the disk is at that moment
        with contextlib.closing(sqlite3.connect(tmp_path / "copy" / "logs.db")) as target, target:
            source.backup(target)
    await killed.close()
    async with opened(tmp_path / "copy" / "logs.db") as book:
        found = (await book.search(Range("t"), 9)).lines
        assert [line.text for _, line in found][1:] == ["before"]
        mark = found[0][1]
        assert mark.fields["dropped"]["reason"] == "engine-ended"
        assert mark.level == "warning"
    async with opened(tmp_path / "copy" / "logs.db") as book:
        assert len(await texts(book)) == 2, "an engine that ended well leaves none"


async def test_many_small_chunks_become_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_rows, "PARTS", 4)
    async with opened(tmp_path / "logs.db") as book:
        for number in range(9):
            write(book, A, f"{number}")
            await written(book)
        assert await texts(book) == [f"{number}" for number in reversed(range(9))]
    with contextlib.closing(sqlite3.connect(tmp_path / "logs.db")) as db, db:
        assert db.execute("SELECT count(*) FROM chunks").fetchone()[0] == 3


def noise(number: int) -> str:
    return "".join(f"{(number * 7919 + k * 104729) ** 3:x}" for k in range(2500))


async def test_old_lines_and_what_is_too_much_go_the_oldest_first(tmp_path: Path) -> None:
    path = tmp_path / "logs.db"
    async with opened(path) as book:
        for number in range(60):
            write(book, A if number % 2 else B, noise(number))
        await written(book)
    db = log_rows.connect(path, write=True)
    try:
        logbook.prune(db, Bounds(1024, 1, 64, 0), clock.now_ns())
        assert len(taken(db)) == 2
        before = taken(db)
        logbook.prune(db, Bounds(1, 168, 64, 0), clock.now_ns())
        assert log_rows.size(db) <= 1024 * 1024
        assert sum(taken(db).values()) < sum(before.values())
        logbook.prune(db, Bounds(1024, 1, 64, 0), clock.now_ns() + 2 * 3600 * clock.NANOSECONDS)
        assert taken(db) == {}
        for _ in range(5):
            log_rows.give_back(db)
    finally:
        db.close()
    assert path.stat().st_size < 200_000


async def test_a_job_that_writes_too_much_loses_its_own_lines_alone(tmp_path: Path) -> None:
    path = tmp_path / "logs.db"
    async with opened(path) as book:
        write(book, B, "mine")
        for number in range(60):
            write(book, A, noise(number))
        await written(book)
    db = log_rows.connect(path, write=True)
    try:
        logbook.prune(db, Bounds(1024, 168, 1, 0), clock.now_ns())
        sizes = taken(db)
    finally:
        db.close()
    assert sizes["a"] <= 1024 * 1024
    assert sizes["b"] > 0


async def test_who_goes_on_after_lines_that_went_is_told_so(tmp_path: Path) -> None:
    async with opened(tmp_path / "logs.db") as book:
        write(book, A, "one")
        write(book, B, "one")
        await written(book)
        first = book.seq
        with contextlib.closing(log_rows.connect(book.path, write=True)) as db, db:
            assert log_rows.prune_old(db, first) == 1
        write(book, A, "two")

        async def gone(after: int, **within: Any) -> bool:
            return (await book.search(Range("t", after=after, **within), 9, newest_first=False)).gone

        assert await gone(1)
        assert await gone(1, of="d") and await gone(1, job="a") and await gone(1, of="local-1")
        assert not await gone(1, of="b") and not await gone(first)
        with contextlib.closing(log_rows.connect(book.path, write=True)) as db, db:
            log_rows.forget_gone(db, first)
        assert not await gone(1)


def taken(db: sqlite3.Connection) -> dict[str, int]:
    return dict(db.execute("SELECT job, sum(size) FROM chunks GROUP BY job"))


# -- disks -------------------------------------------------------------------------------------------------


async def test_on_a_full_disk_lines_are_dropped_and_counted_and_told_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True
    monkeypatch.setattr(reserve, "measure", lambda *_: reserve.Space(0 if full else 1, 1))
    async with opened(tmp_path / "logs.db") as book:
        write(book, A, "lost", "lost too")
        await written(book)
        assert book.dropped == {"disk-full": 2}
        full = False
        write(book, A, "kept")
        await waiting.until(lambda: not book.held)
        found = (await book.search(Range("t"), 9)).lines
        assert {line.text for _, line in found} == {"kept", "2 log lines were lost here: disk-full"}
        assert any(line.fields and line.fields["dropped"]["count"] == 2 for _, line in found)


async def test_a_write_that_fails_drops_lines_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async with opened(tmp_path / "logs.db") as book:
        with monkeypatch.context() as broken:
            broken.setattr(log_rows, "add", fail)
            write(book, A, "lost")
            await written(book)
        assert book.dropped == {"disk-failed": 1}
        write(book, A, "kept")
        await written(book)
        assert "kept" in await texts(book)


async def test_a_disk_that_hangs_fills_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbook, "HELD_BYTES", 1500)
    async with opened(tmp_path / "logs.db") as book:
        write(book, A, *("x" * 100 for _ in range(10)))
        assert book.dropped["slow-disk"] == 7
        await written(book)
        assert len(await texts(book)) >= 3


async def test_a_file_that_cannot_be_used_keeps_nobody_from_running(tmp_path: Path) -> None:
    (tmp_path / "logs.db").write_text("no database" * 100)
    async with opened(tmp_path / "logs.db") as book:
        write(book, A, "one")
        assert book.dropped == {"not-open": 1}
        assert await texts(book) == []
