"""The files input on files that grow, rotate, vanish, are packed, are many, or are hard to read."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from core.dsl.component import Event, Limits, Run
from core.dsl.inputs import lines, tracked
from core.errors import JobFailed
from tests import waiting
from tests.dsl import rig
from tests.dsl.rig import Worker
from tests.filepolicies import EVERYWHERE

pytestmark = pytest.mark.anyio


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


class Tail:
    def __init__(self) -> None:
        self.seen: list[str] = []
        self._arrived = asyncio.Event()

    def keep(self, events: list[Event], run: Run) -> list[Event]:
        self.seen.extend(event["_raw"] for event in events)
        self._arrived.set()
        return rig.pass_on(events, run)

    async def until(self, *wanted: str) -> None:
        while sorted(self.seen) != sorted(wanted):
            assert len(self.seen) < len(wanted) or sorted(self.seen) == sorted(wanted), self.seen
            self._arrived.clear()
            await self._arrived.wait()


@asynccontextmanager
async def tailing(worker: Worker, pattern: str, **options: Any) -> AsyncIterator[Tail]:
    tail = Tail()
    source = {"files": {"path": pattern, "poll-interval": "10ms", **options}}
    executor = worker.executor(source, {"discard": {}}, tail.keep)
    task = asyncio.create_task(executor.run())
    try:
        with anyio.fail_after(10):
            yield tail
    finally:
        await executor.drain(2)
        await task


def append(path: Path, text: str) -> None:
    with path.open("a") as log:
        log.write(text)


def batch(pattern: Path | str, **options: Any) -> dict[str, Any]:
    return {"files": {"path": str(pattern), "mode": "batch", **options}}


def raws(events: list[Event]) -> list[str]:
    return [event["_raw"] for event in events]


# ---- rotation


async def test_a_file_that_was_copied_and_truncated_is_read_on_although_it_grew_beyond_its_place(
    worker: Worker, data: Path
) -> None:
    log = data / "a.log"
    append(log, "first\n")
    async with tailing(worker, f"{data}/*.log") as tail:
        await tail.until("first")
        with log.open("r+") as file:  # longer than before at once: the size tells nothing
            file.truncate()
            file.write("second and longer\n")
        await tail.until("first", "second and longer")
        assert any("other content" in line or "shorter" in line for line in worker.warnings)


async def test_a_file_that_was_rotated_while_nobody_held_it_open_is_found_by_its_inode(
    worker: Worker, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracked, "MOST_OPEN_FILES", 1)
    append(data / "a.log", "a1\n")
    append(data / "b.log", "b1\n")
    async with tailing(worker, f"{data}/*.log") as tail:
        await tail.until("a1", "b1")
        append(data / "a.log", "a2\n")
        (data / "a.log").rename(data / "a.1")  # out of the pattern, and closed since b.log was read
        append(data / "a.log", "a3\n")
        await tail.until("a1", "b1", "a2", "a3")
    assert not [line for line in worker.warnings if "vanished" in line]


async def test_rotation_while_the_job_is_down_loses_nothing_that_still_matches(worker: Worker, data: Path) -> None:
    append(data / "a.log", "one\n")
    async with tailing(worker, f"{data}/a.log*") as tail:
        await tail.until("one")
    append(data / "a.log", "two\n")
    (data / "a.log").rename(data / "a.log.1")
    append(data / "a.log", "three\n")
    async with tailing(worker, f"{data}/a.log*") as tail:
        await tail.until("two", "three")
    assert sorted(tail.seen) == ["three", "two"], "nothing more until it was drained"


async def test_the_last_line_of_a_deleted_file_is_an_event_although_it_has_no_end(worker: Worker, data: Path) -> None:
    append(data / "a.log", "one\nunfinished")
    async with tailing(worker, f"{data}/*.log") as tail:
        await tail.until("one")
        (data / "a.log").unlink()
        await tail.until("one", "unfinished")
    assert tail.seen == ["one", "unfinished"]


async def test_another_file_with_the_same_inode_size_and_first_lines_is_read_from_its_start(
    worker: Worker, data: Path
) -> None:
    header = "h" * 300 + "\n"
    (data / "a.csv").write_text(header + "old,1\n")
    assert raws(await worker.read(batch(data / "*.csv"))) == [header.strip(), "old,1"]
    with (data / "a.csv").open("r+") as file:
        file.truncate()
        file.write(header + "new,1\nnew,2\n")
    assert raws(await worker.read(batch(data / "*.csv"))) == [header.strip(), "new,1", "new,2"]


# ---- many files


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_many_files_are_followed_with_few_descriptors(worker: Worker, data: Path, count: int) -> None:
    most = 0
    for number in range(count):
        (data / f"{number:05}.log").write_bytes(b"%d\n" % number)
    seen: set[int] = set()
    done, more = asyncio.Event(), asyncio.Event()

    def keep(events: list[Event], run: Run) -> list[Event]:
        nonlocal most
        if len(seen) % 50 == 0:
            most = max(most, len(os.listdir("/proc/self/fd")))  # noqa: PTH208
        seen.update(int(event["_raw"]) for event in events)
        if len(seen) >= count:
            done.set()
        if len(seen) == count + 1:
            more.set()
        return rig.pass_on(events, run)

    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    executor = worker.executor({"files": {"path": str(data), "poll-interval": "10ms"}}, {"discard": {}}, keep)
    task = asyncio.create_task(executor.run())
    with anyio.fail_after(60):
        await done.wait()
        append(data / "00777.log", f"{count}\n")
        await more.wait()
        await executor.drain(5)
        await task
    assert most - before < tracked.MOST_OPEN_FILES + 20
    assert seen == set(range(count + 1))
    assert await worker.read(batch(data)) == []  # every place is remembered


async def test_what_is_remembered_does_not_grow_with_files_that_are_gone(
    worker: Worker, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracked, "_SPARE_PLACES", 10)
    for number in range(100):
        path = data / f"{number}.log"
        path.write_text("x\n")
        (data / f"keep-{number}.tmp").write_text("takes the next inode number\n")
        await worker.read(batch(data / "*.log"))
        path.unlink()
    await worker.read(batch(data / "*.log"))
    places = (worker.env().state_dir / "files.json").read_bytes()
    assert places.count(b'"path"') <= 13


# ---- packed files


async def test_packed_and_plain_files_are_read_side_by_side(worker: Worker, data: Path) -> None:
    (data / "a.log").write_text("plain\n")
    (data / "b.log.gz").write_bytes(gzip.compress(b"packed\n"))
    source = batch(data / "*", preprocessors=["extension"], **{"path-field": "path"})
    assert await worker.read(source) == [
        {"_raw": "plain", "path": f"{data}/a.log"},
        {"_raw": "packed", "path": f"{data}/b.log.gz"},
    ]
    assert await worker.read(source) == []


async def test_a_packed_file_that_is_still_being_written_is_tried_again_when_it_has_grown(
    worker: Worker, data: Path
) -> None:
    whole = gzip.compress("".join(f"line {number}\n" for number in range(20_000)).encode())
    (data / "a.gz").write_bytes(whole[: len(whole) // 2])
    async with tailing(worker, f"{data}/*", preprocessors=["gzip"]) as tail:
        await waiting.until(lambda: worker.warnings)
        assert "cut off" in worker.warnings[-1]
        (data / "a.gz").write_bytes(whole)
        await tail.until(*(f"line {number}" for number in range(20_000)))
    assert len([line for line in worker.warnings if "cut off" in line]) == 1  # told once, however often it was tried


async def test_reading_a_packed_file_resumes_where_the_output_stopped(worker: Worker, data: Path) -> None:
    (data / "a.gz").write_bytes(gzip.compress("".join(f"{number:06}\n" for number in range(50_000)).encode()))
    source, seen = batch(data / "*", preprocessors=["gzip"]), list[str]()

    def stop_half_way(events: list[Event], run: Run) -> list[Event]:
        if len(seen) > 20_000:
            raise OSError("crash")
        seen.extend(raws(events))
        return rig.pass_on(events, run)

    with pytest.raises(JobFailed, match="crash"):
        await worker.run(source, {"discard": {}}, stop_half_way)
    rest = raws(await worker.read(source))
    assert 0 < int(rest[0]) <= len(seen)  # a batch that had gone through in part comes again
    assert rest == [f"{number:06}" for number in range(int(rest[0]), 50_000)]


# ---- lines that are too long


@pytest.mark.parametrize("ending", ["\n", ""])
@pytest.mark.parametrize(("mode", "kept"), [("skip", ["before", "after"]), ("cut", ["before", "x" * 1000, "after"])])
async def test_a_line_beyond_the_limit_is_skipped_or_cut_and_counted(
    worker: Worker, data: Path, mode: str, kept: list[str], ending: str
) -> None:
    worker.limits = Limits(max_line_bytes=1000, files=EVERYWHERE)
    for length in (1001, 40_000, 1_000_000):
        (data / f"{length}.log").write_text(f"before\n{'x' * length}\nafter{ending}")
        source = batch(data / f"{length}.log", **{"long-lines": mode})
        assert raws(await worker.read(source)) == kept
        assert worker.reports[-1].errors == 1
        assert (
            f"a line is longer than 1000 bytes and was {'cut' if mode == 'cut' else 'left out'}" in worker.warnings[-1]
        )


@pytest.mark.parametrize("mode", ["skip", "cut"])
async def test_a_long_line_at_the_end_is_not_taken_for_a_new_one_after_a_restart(
    worker: Worker, data: Path, mode: str
) -> None:
    worker.limits = Limits(max_line_bytes=1000, files=EVERYWHERE)
    log = data / "a.log"
    append(log, "before\n" + "x" * 50_000)
    async with tailing(worker, f"{data}/*.log", **{"long-lines": mode}) as tail:
        await tail.until("before")
        await waiting.until(lambda: worker.warnings)
    append(log, "x" * 5000 + "\nafter\n")
    async with tailing(worker, f"{data}/*.log", **{"long-lines": mode}) as tail:
        await tail.until(*(["x" * 1000] if mode == "cut" else []), "after")
    assert tail.seen[-1] == "after"


def test_a_splitter_never_holds_more_than_the_limit() -> None:
    long = lines.LongLines("skip", 1000, "x", lambda text, lost: None)
    splitter = lines.Splitter(1000, "x", long)
    for _ in range(1000):
        assert splitter.feed(b"y" * 10_000) == []
        assert len(splitter._rest) <= 1000
    assert splitter.pending == 10_000_000
    assert splitter.feed(b"end\nnext\n") == [b"next"]
    assert splitter.pending == 0


# ---- what cannot be read


async def test_a_file_that_cannot_be_read_is_told_once_and_read_when_it_can(worker: Worker, data: Path) -> None:
    append(data / "a.log", "one\n")
    os.link(data / "a.log", data / "other")
    async with tailing(worker, f"{data}/*.log") as tail:
        await waiting.until(lambda: worker.warnings)
        append(data / "b.log", "two\n")
        await tail.until("two")
        (data / "other").unlink()
        await tail.until("two", "one")
    assert len(worker.warnings) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
async def test_a_file_without_permission_is_skipped(worker: Worker, data: Path) -> None:
    append(data / "a.log", "secret\n")
    (data / "a.log").chmod(0)
    append(data / "b.log", "open\n")
    assert raws(await worker.read(batch(data / "*.log"))) == ["open"]
    assert "Permission denied" in worker.warnings[0]


async def test_the_path_may_hold_facts_of_the_job_and_variables(worker: Worker, data: Path) -> None:
    worker.variables["DIR"] = str(data)
    append(data / "job.log", "one\n")
    assert raws(await worker.read(batch("${dyn|DIR}/@{job}.log"))) == ["one"]
    with pytest.raises(JobFailed, match="cannot be empty"):
        await worker.read(batch("${dyn|NOTHING||}"))


def test_a_path_with_a_broken_placeholder_is_refused() -> None:
    with pytest.raises(ValidationError, match="not closed"):
        rig.declare("input", batch("/data/${dyn|X"))
