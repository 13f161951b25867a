from __future__ import annotations

import asyncio
import base64
import gzip
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core import clock
from core.dsl.component import Event, Limits, Run
from core.dsl.files import memory
from core.dsl.inputs import globs
from core.dsl.stores import base
from core.errors import JobFailed
from core.guard import file_access
from tests import waiting
from tests.dsl import rig
from tests.dsl.rig import Worker
from tests.filepolicies import EVERYWHERE, everywhere

pytestmark = pytest.mark.anyio


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


def raws(events: list[Event]) -> list[str]:
    return [event["_raw"] for event in events]


# ---- what is remembered


@given(st.lists(st.booleans(), max_size=30), st.randoms())
def test_a_place_is_reached_only_when_everything_before_it_is_settled(oks: list[bool], random: Any) -> None:
    reached: list[int] = []
    settled = memory.Settled[int](reached.append)
    expected = [(number, settled.expect(number)) for number in range(len(oks))]
    done: dict[int, bool] = {}
    random.shuffle(expected)
    for number, settle in expected:
        settle(None if oks[number] else OSError())
        done[number] = oks[number]
        assert reached == list(range(len(reached)))
        assert all(done.get(place) for place in reached)
    first_fault = oks.index(False) if False in oks else len(oks)
    assert len(reached) <= first_fault
    if first_fault == len(oks):
        assert reached == list(range(len(oks)))


def test_places_survive_in_their_file_and_a_torn_file_is_an_empty_one(tmp_path: Path) -> None:
    places = memory.Places(tmp_path / "deep" / "places.json")
    places.set("a", {"at": 5})
    places.save()
    assert memory.Places(tmp_path / "deep" / "places.json").data == {"a": {"at": 5}}
    (tmp_path / "deep" / "places.json").write_bytes(b'{"a": {"a')
    assert memory.Places(tmp_path / "deep" / "places.json").data == {}


def test_fingerprints_are_kept_in_a_journal_and_forgotten_by_age_or_absence(tmp_path: Path) -> None:
    path = tmp_path / "state" / "fingerprints"
    old, new = "a" * 32, "b" * 32
    marks = memory.Fingerprints(path, None, 1000)
    marks.add([old], 1000)
    marks.add([new], 2000)
    again = memory.Fingerprints(path, 500, 2100)
    assert new in again
    assert old not in again
    again.keep_only(set())
    assert new not in again


def test_a_journal_is_rewritten_when_most_of_it_is_history(tmp_path: Path) -> None:
    path = tmp_path / "fingerprints"
    marks = memory.Fingerprints(path, None, 0)
    for number in range(3000):
        marks.add([f"{number:032x}"], 1)
    marks.keep_only({f"{1:032x}"})
    assert path.read_text() == f"{1:032x} 1\n"


# ---- patterns


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.log", ["a.log", "b.log"]),
        ("?.log", ["a.log", "b.log"]),
        ("[!a].log", ["b.log"]),
        ("[a-b].log", ["a.log", "b.log"]),
        ("**/*.log", ["a.log", "b.log", "sub/c.log", "sub/deep/d.log"]),
        ("sub/**", ["sub/c.log", "sub/deep/d.log"]),
        ("*/c.log", ["sub/c.log"]),
        ("a.log", ["a.log"]),
        ("sub", ["sub/c.log"]),
        ("", ["a.log", "b.log", "x.txt"]),
        ("none*", []),
        ("nothing.log", []),
        ("no/such/way/*", []),
    ],
)
async def test_a_pattern_finds_regular_files_in_order(
    worker: Worker, data: Path, pattern: str, names: list[str]
) -> None:
    for name in ("b.log", "a.log", "x.txt", ".hidden.log", "sub/c.log", "sub/deep/d.log"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text("x")
    (data / "link.log").symlink_to(data / "a.log")
    access = file_access.FileAccess(EVERYWHERE, "default")
    found = [Path(one.path).relative_to(data).as_posix() for one in globs.find(access, f"{data}/{pattern}".rstrip("/"))]
    assert found == names


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"files": {"path": "DATA/**/*.log", "mode": "batch"}}, ["current", "old.log"]),
        ({"files": {"path": "DATA/*/*.log", "mode": "batch"}}, ["current"]),
        ({"files": {"path": "DATA/*.log", "mode": "batch"}}, ["old.log"]),
        ({"files": {"path": "DATA/sub/**", "mode": "batch"}}, []),
        ({"file-store": {"path": "DATA"}}, ["current", "old.log"]),
        ({"file-store": {"path": "DATA", "object-names": ["current/a"]}}, ["current"]),
        ({"file-store": {"path": "DATA", "object-names": ["sub"]}}, []),
    ],
)
async def test_a_link_that_is_left_out_is_skipped_and_told_once_a_firing(
    worker: Worker, data: Path, source: dict[str, Any], told: list[str]
) -> None:
    (data / "sub").mkdir()
    (data / "sub" / "c.log").write_text("x")
    (data.parent / "elsewhere").mkdir()
    (data.parent / "elsewhere" / "a.log").write_text("hidden")
    (data / "current").symlink_to(data.parent / "elsewhere")
    (data / "old.log").symlink_to(data / "sub" / "c.log")
    ((name, body),) = source.items()
    opened = rig.declare("input", {name: {**body, "path": body["path"].replace("DATA", str(data))}}).open(worker.env())
    events = []
    for _ in range(2):
        run = Run()
        events += [event async for batch in opened.batches(run) for event in batch.events]
        assert (run.skipped, run.errors) == (len(told), len(told))
    await opened.close()
    links = [line for line in worker.warnings if "is a symbolic link and links are never followed" in line]
    assert sorted(line.split(" is a ")[0].rpartition("/")[2] for line in links) == sorted(2 * told)
    assert {"_raw": "hidden"} not in events


# ---- files, to the end


async def test_files_are_read_line_by_line_in_the_order_of_their_names(worker: Worker, data: Path) -> None:
    (data / "b.log").write_text("three\nno line end")
    (data / "a.log").write_text("one\r\n\ntwo\n")
    source = {"files": {"path": f"{data}/*.log", "mode": "batch"}}
    assert raws(await worker.read(source)) == ["one", "two", "three", "no line end"]


async def test_a_second_firing_reads_only_what_is_new(worker: Worker, data: Path) -> None:
    source = {"files": {"paths": [f"{data}/*.log"], "mode": "batch", "json": True}}
    (data / "a.log").write_text('{"n":1}\n{"n":2}\n')
    assert await worker.read(source) == [{"n": 1}, {"n": 2}]
    with (data / "a.log").open("a") as log:
        log.write('{"n":3}\n')
    (data / "b.log").write_text('{"n":4}\n')
    assert await worker.read(source) == [{"n": 3}, {"n": 4}]
    assert await worker.read(source) == []


async def test_a_replay_reads_files_again_that_changed_since_and_may_pass_over_the_rest(
    worker: Worker, data: Path
) -> None:
    def source(**replay: Any) -> dict[str, Any]:
        more = {"replay": replay} if replay else {}
        return {"files": {"paths": [f"{data}/*.log"], "mode": "batch", **more}}

    def put(name: str, text: str, at: float) -> None:
        (data / name).write_text(text)
        os.utime(data / name, (at, at))

    point = {"from": "2023-11-14T22:13:25Z"}  # 1_700_000_005
    put("a.log", "a1\n", 1_700_000_000)
    put("b.log", "b1\n", 1_700_000_010)
    assert raws(await worker.read(source())) == ["a1", "b1"]
    assert raws(await worker.read(source(**point))) == ["b1"]
    assert raws(await worker.read(source(**point))) == [], "once"
    put("a.log", "a1\na2\n", 1_700_000_000)
    assert raws(await worker.read(source(**point, marker="2"))) == ["a2", "b1"], "and what was not read"
    put("a.log", "a1\na2\na3\n", 1_700_000_000)
    assert raws(await worker.read(source(**point, marker="3", **{"skip-unread": True}))) == ["b1"]
    assert raws(await worker.read(source())) == []
    append(data / "a.log", "a4\n")
    append(data / "b.log", "b2\n")
    end = source(**{"from": "now", "marker": "4", "skip-unread": True})
    assert raws(await worker.read(end)) == []
    append(data / "a.log", "a5\n")
    assert raws(await worker.read(end)) == ["a5"]
    assert raws(await worker.read(source(**{"from": "beginning"}))) == ["a1", "a2", "a3", "a4", "a5", "b1", "b2"]


async def test_a_replay_decides_where_a_reader_without_a_past_begins(worker: Worker, data: Path) -> None:
    (data / "a.log").write_text("a\n")
    with gzip.open(data / "b.gz", "wt") as packed:
        packed.write("b\n" * 100)
    source = {"paths": [str(data)], "mode": "batch", "preprocessors": ["extension"]}
    assert await worker.read({"files": {**source, "replay": "now", "start-at": "beginning"}}) == []
    assert await worker.read({"files": {**source, "replay": "now"}}) == [], "of a packed file nothing is read either"
    again = {"from": "beginning", "marker": "2"}
    assert len(await worker.read({"files": {**source, "replay": again, "start-at": "end"}})) == 101


async def test_whole_files_are_one_event_with_ignore_linebreaks(worker: Worker, data: Path) -> None:
    (data / "a.json").write_text('{\n "a": 1\n}\n')
    source = {"files": {"path": str(data / "a.json"), "mode": "batch", "ignore-linebreaks": True, "json": True}}
    assert await worker.read(source) == [{"a": 1}]


async def test_reading_resumes_behind_the_last_line_that_the_output_accepted(worker: Worker, data: Path) -> None:
    lines = [f'{{"n":{n},"pad":"{"x" * 200}"}}' for n in range(1000)]
    (data / "a.log").write_text("\n".join(lines) + "\n")
    source = {"files": {"path": str(data), "mode": "batch", "json": True}}
    seen: list[int] = []

    def fail_half_way(events: list[Event], run: Run) -> list[Event]:
        if len(seen) > 400:
            raise OSError("crash")
        seen.extend(event["n"] for event in events)
        return rig.pass_on(events, run)

    with pytest.raises(JobFailed, match="crash"):
        await worker.run(source, {"discard": {}}, fail_half_way)
    assert 0 < len(seen) < 1000
    rest = [event["n"] for event in await worker.read(source)]
    assert 0 < rest[0] <= len(seen)  # a batch that had gone through in part comes again
    assert rest == list(range(rest[0], 1000))


async def test_nothing_is_remembered_of_a_batch_that_the_output_refused(worker: Worker, data: Path) -> None:
    (data / "a.log").write_text("one\ntwo\n")
    source = {"files": {"path": str(data), "mode": "batch"}}
    worker.bus_fault = OSError("no engine")
    with pytest.raises(JobFailed, match="no engine"):
        await worker.run(source, {"message": {}})
    assert raws(await worker.read(source)) == ["one", "two"]


async def test_a_line_beyond_the_limit_fails_the_job_with_its_file(worker: Worker, data: Path) -> None:
    worker.limits = Limits(max_line_bytes=100_000, files=EVERYWHERE)
    (data / "big.log").write_bytes(b"x" * 1_000_000)
    with pytest.raises(JobFailed, match=r"big\.log: a line is longer than 100000 bytes"):
        await worker.read({"files": {"path": str(data), "mode": "batch"}})


async def test_a_file_that_may_not_be_read_is_skipped_and_counted(worker: Worker, data: Path) -> None:
    (data / "a.log").write_text("fine\n")
    os.link(data / "a.log", data / "b.log")
    (data / "c.log").write_text("good\n")
    source = {"files": {"path": f"{data}/*.log", "mode": "batch"}}
    assert raws(await worker.read(source)) == ["good"]
    assert worker.reports[-1].errors >= 1
    assert any("more than one name" in text for text in worker.warnings)


async def test_the_home_of_the_engine_cannot_be_read(worker: Worker, data: Path) -> None:
    worker.limits = Limits(files=everywhere("", data))
    (data / "sluice.db").write_text("rows")
    for pattern in (f"{data}/*", f"{data}/sluice.db"):
        with pytest.raises(JobFailed, match="no job may enter"):
            await worker.read({"files": {"path": pattern, "mode": "batch"}})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"path": "x", "trigger": {"interval": "1s"}}, "mode: batch"),
        ({"path": "x", "ignore-linebreaks": True}, "mode: batch"),
        ({"path": "x", "poll-interval": "1ms"}, "at least 10ms"),
        ({"paths": []}, "paths"),
        ({"path": "a[b"}, None),
        ({}, "paths"),
    ],
)
def test_a_files_input_that_makes_no_sense_is_refused(body: dict[str, Any], told: str | None) -> None:
    if told is None:
        assert rig.declare("input", {"files": body})
        return
    with pytest.raises(ValidationError, match=told):
        rig.declare("input", {"files": body})


async def test_a_store_without_an_object_that_matches_tells_so(worker: Worker, data: Path) -> None:
    (data / "a.txt").write_text("one\n")
    source = {"path": str(data), "object-names": ["no-such"]}
    assert await worker.read({"file-store": source}) == []
    assert worker.warnings == ["file-store: no object matches (no-such)"]
    worker.log_lines.clear()
    assert raws(await worker.read({"file-store": {**source, "object-names": ["a"]}})) == ["one"]
    assert worker.warnings == []


async def test_a_path_that_matches_no_regular_file_is_told_and_no_fault(worker: Worker, data: Path) -> None:
    os.mkfifo(data / "pipe")
    for path in (f"{data}/nothere.txt", f"{data}/pipe"):
        worker.log_lines.clear()
        assert await worker.read({"files": {"paths": path, "mode": "batch"}}) == []
        assert worker.warnings == [f"files: no regular file matches {path}"]
    (data / "a.txt").write_text("one\n")
    worker.log_lines.clear()
    assert raws(await worker.read({"files": {"paths": f"{data}/a.txt", "mode": "batch"}})) == ["one"]
    assert worker.warnings == []


# ---- files, followed


class Tail:
    def __init__(self) -> None:
        self.seen: list[str] = []
        self._arrived = asyncio.Event()

    def keep(self, events: list[Event], run: Run) -> list[Event]:
        self.seen.extend(raws(events))
        self._arrived.set()
        return rig.pass_on(events, run)

    async def until(self, *lines: str) -> None:
        while self.seen != list(lines):
            assert list(lines)[: len(self.seen)] == self.seen, "an event that should not have come, or came twice"
            self._arrived.clear()
            await self._arrived.wait()


@asynccontextmanager
async def tailing(worker: Worker, path: Path, **options: Any) -> AsyncIterator[Tail]:
    tail = Tail()
    source = {"files": {"path": f"{path}/*.log", "poll-interval": "10ms", **options}}
    executor = worker.executor(source, {"discard": {}}, tail.keep)
    task = asyncio.create_task(executor.run())
    try:
        with anyio.fail_after(5):
            yield tail
    finally:
        await executor.drain(2)
        await task


def append(path: Path, text: str) -> None:
    with path.open("a") as log:
        log.write(text)


async def test_tail_follows_a_file_and_finds_new_ones(worker: Worker, data: Path) -> None:
    append(data / "a.log", "one\nhal")
    async with tailing(worker, data) as tail:
        await tail.until("one")
        append(data / "a.log", "f\n")
        await tail.until("one", "half")
        append(data / "b.log", "new\n")
        await tail.until("one", "half", "new")
    assert tail.seen == ["one", "half", "new"], "nothing more until it was drained"


async def test_tail_reads_the_rest_of_a_rotated_file_and_then_the_new_one(worker: Worker, data: Path) -> None:
    append(data / "a.log", "one\n")
    async with tailing(worker, data) as tail:
        await tail.until("one")
        append(data / "a.log", "last of the old\n")
        (data / "a.log").rename(data / "a.log.1")
        append(data / "a.log", "first of the new\n")
        await tail.until("one", "last of the old", "first of the new")
    assert tail.seen == ["one", "last of the old", "first of the new"]


async def test_tail_reads_a_file_that_was_truncated_from_its_start(worker: Worker, data: Path) -> None:
    append(data / "a.log", "a long first line\n")
    async with tailing(worker, data) as tail:
        await tail.until("a long first line")
        (data / "a.log").write_text("short\n")
        await tail.until("a long first line", "short")
    assert tail.seen == ["a long first line", "short"]


async def test_tail_resumes_after_a_restart_and_reads_no_line_twice(worker: Worker, data: Path) -> None:
    append(data / "a.log", "one\ntwo\nunfinished")
    async with tailing(worker, data) as tail:
        await tail.until("one", "two")
    append(data / "a.log", " line\nthree\n")
    async with tailing(worker, data) as tail:
        await tail.until("unfinished line", "three")
    assert tail.seen == ["unfinished line", "three"]


async def test_tail_can_start_at_the_end_of_what_is_there(worker: Worker, data: Path) -> None:
    append(data / "a.log", "old\n")
    async with tailing(worker, data, **{"start-at": "end"}) as tail:
        await waiting.until(worker.env().state_dir.joinpath("files.json").exists)
        append(data / "a.log", "new\n")
        append(data / "b.log", "all of it\n")
        await waiting.until(lambda: len(tail.seen) == 2)
        assert sorted(tail.seen) == ["all of it", "new"]


async def test_a_new_file_with_the_inode_of_an_old_one_is_read_from_its_start(worker: Worker, data: Path) -> None:
    append(data / "a.log", "old content\n")
    source = {"files": {"path": f"{data}/*.log", "mode": "batch"}}
    assert raws(await worker.read(source)) == ["old content"]
    with (data / "a.log").open("r+") as log:  # the same inode with other, longer content
        log.truncate()
        log.write("new content which is longer\n")
    assert raws(await worker.read(source)) == ["new content which is longer"]


# ---- file-store


def store(data: Path, **options: Any) -> dict[str, Any]:
    return {"file-store": {"path": str(data), **options}}


async def test_objects_are_read_oldest_first(worker: Worker, data: Path) -> None:
    for age, name in enumerate(["new", "middle/x", "old"]):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text(f"{name}\n")
        os.utime(data / name, (1_000_000 - age, 1_000_000 - age))
    assert raws(await worker.read(store(data))) == ["old", "middle/x", "new"]


async def test_with_fingerprinting_each_object_is_read_once_and_again_when_it_changes(
    worker: Worker, data: Path
) -> None:
    source = store(data, fingerprinting=True)
    (data / "a").write_text("one\n")
    assert raws(await worker.read(source)) == ["one"]
    assert await worker.read(source) == []
    (data / "a").write_text("one and more\n")
    (data / "b").write_text("two\n")
    assert sorted(raws(await worker.read(source))) == ["one and more", "two"]
    assert raws(await worker.read(store(data))) == ["one and more", "two"]  # without it: everything, every time


async def test_an_object_that_was_not_accepted_is_read_again(worker: Worker, data: Path) -> None:
    (data / "a").write_text("one\n")
    worker.bus_fault = OSError("no engine")
    with pytest.raises(JobFailed):
        await worker.run(store(data, fingerprinting=True), {"message": {}})
    assert raws(await worker.read(store(data, fingerprinting=True))) == ["one"]


@pytest.mark.parametrize("mode", ["list", "list-objects"])
async def test_listing_gives_an_event_for_each_object(worker: Worker, data: Path, mode: str) -> None:
    (data / "sub").mkdir()
    (data / "sub" / "a.json").write_text("12345")
    os.utime(data / "sub" / "a.json", (0, 0))
    assert await worker.read(store(data, mode=mode)) == [
        {"name": "sub/a.json", "size": 5, "last_modified": "1970-01-01T00:00:00.000Z"}
    ]


async def test_objects_are_chosen_by_prefix_pattern_and_age(worker: Worker, data: Path) -> None:
    for name in ("in/a.json", "in/b.txt", "out/c.json"):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text(name)
    os.utime(data / "out/c.json", (0, 0))
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"object-names": ["in/"]}, ["in/a.json", "in/b.txt"]),
        ({"include-regex": [r"\.json$"]}, ["in/a.json", "out/c.json"]),
        ({"exclude-regex": [r"^in/"]}, ["out/c.json"]),
        ({"maximum-age": "1d"}, ["in/a.json", "in/b.txt"]),
        ({"mode": "download", "object-names": ["in/b.txt"]}, ["in/b.txt"]),
    ]
    for options, names in cases:
        assert sorted(raws(await worker.read(store(data, **options)))) == names


async def test_the_age_can_come_from_the_name(worker: Worker, data: Path) -> None:
    for name in ("log-2020-01-02", "log-2020-01-01", "log-undated", "log-2020-99-99"):
        (data / name).write_text(name)
    assert raws(await worker.read(store(data, **{"timestamp-mode": {"pattern": "%Y-%m-%d"}}))) == [
        "log-2020-01-01",
        "log-2020-01-02",
    ]


async def test_a_named_object_that_is_missing_fails_the_job(worker: Worker, data: Path) -> None:
    with pytest.raises(JobFailed, match="there is no object nothing"):
        await worker.read(store(data, mode="download-objects", **{"object-names": ["nothing"]}))


async def test_preprocessors_are_undone_in_order_and_by_extension(worker: Worker, data: Path) -> None:
    text = b"one\ntwo\n"
    (data / "a.gz").write_bytes(gzip.compress(text) + gzip.compress(b"three\n"))
    assert raws(await worker.read(store(data, preprocessors=["gzip"]))) == ["one", "two", "three"]
    (data / "b.b64").write_bytes(base64.encodebytes(text * 10_000))
    (data / "c.txt").write_bytes(b"plain\n")
    assert len(await worker.read(store(data, preprocessors=["extension"]))) == 3 + 20_000 + 1
    (data / "a.gz").unlink()
    (data / "b.b64").unlink()
    (data / "c.txt").write_bytes(base64.b64encode(gzip.compress(text)))
    assert raws(await worker.read(store(data, preprocessors=["base64", "gzip"]))) == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "steps", "told"),
    [
        (gzip.compress(os.urandom(100_000))[:50_000], ["gzip"], "the gzip data is cut off"),
        (b"no gzip at all", ["gzip"], "not valid gzip"),
        (b"!!!!", ["base64"], "not valid base64"),
        (b"YWJj" * 10 + b"YW", ["base64"], "the base64 data is cut off"),
    ],
)
async def test_an_object_that_cannot_be_decoded_is_skipped_told_and_tried_again(
    worker: Worker, data: Path, content: bytes, steps: list[str], told: str
) -> None:
    (data / "bad").write_bytes(content)
    source = store(data, preprocessors=steps, fingerprinting=True, **{"ignore-linebreaks": True})
    for _ in range(2):
        assert await worker.read(source) == []
        assert worker.reports[-1].ok
        assert worker.reports[-1].errors == 1
        assert told in worker.warnings[-1]


async def test_a_small_object_that_inflates_without_end_is_stopped_at_the_limit(worker: Worker, data: Path) -> None:
    worker.limits = Limits(max_line_bytes=1_000_000, files=EVERYWHERE)
    (data / "bomb.gz").write_bytes(gzip.compress(b"0" * 50_000_000))
    for options in ({}, {"ignore-linebreaks": True}):
        assert await worker.read(store(data, preprocessors=["gzip"], **options)) == []
        assert "bomb.gz was skipped" in worker.warnings[-1]


async def test_a_store_that_is_not_there_yet_is_empty_for_a_poll_and_a_fault_for_a_single_run(
    worker: Worker, tmp_path: Path
) -> None:
    with pytest.raises(JobFailed, match="does not exist"):
        await worker.read(store(tmp_path / "later"))
    executor = worker.executor(store(tmp_path / "later", trigger={"interval": "10ms"}), {"print": "STDOUT"})
    task = asyncio.create_task(executor.run())
    with anyio.fail_after(5):
        await waiting.until(lambda: len(worker.reports) >= 3)
        (tmp_path / "later").mkdir()
        (tmp_path / "later" / "a").write_text("here\n")
        await waiting.until(lambda: worker.printed)
        await executor.drain(1)
        await task
    assert orjson.loads(worker.printed[0]) == {"_raw": "here"}


@pytest.mark.parametrize("pattern", ["(", "a{1001}", r"(?<=a)b"])
def test_a_pattern_that_re2_cannot_run_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="RE2"):
        rig.declare("input", {"file-store": {"path": "/x", "include-regex": [pattern]}})


async def test_more_objects_than_fit_in_memory_are_refused_with_the_way_out(
    worker: Worker, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "MOST_OBJECTS", 3)
    for number in range(4):
        (data / f"{number}.log").write_text("x")
    with pytest.raises(JobFailed, match="more than 3 objects") as caught:
        await worker.read(store(data))
    assert "include-regex" in caught.value.hint
    assert len(await worker.read(store(data, **{"include-regex": ["[12]"]}))) == 2


async def test_a_fingerprint_is_forgotten_by_age_while_the_job_runs(
    worker: Worker, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "a").write_text("one\n")
    source = rig.declare("input", store(data, fingerprinting=True, **{"maximum-fingerprint-age": "1h"}))
    opened = source.open(worker.env())

    async def fire() -> int:
        count = 0
        async for batch in opened.batches(Run()):
            count += len(batch.events)
            batch.settle(None)
        return count

    assert [await fire(), await fire()] == [1, 0]
    now = clock.now_ns()
    monkeypatch.setattr(clock, "now_ns", lambda: now + 2 * 3600 * clock.NANOSECONDS)
    assert [await fire(), await fire()] == [1, 0]


async def test_names_with_strange_characters_are_read_and_shown_escaped(worker: Worker, data: Path) -> None:
    name = "a\nb\u202e\x1b[31m.gz"
    (data / name).write_bytes(b"not packed")
    assert await worker.read(store(data, preprocessors=["gzip"])) == []
    assert "not valid gzip" in worker.warnings[-1]
    assert worker.warnings[-1].isprintable()
    assert (await worker.read(store(data, mode="list")))[0]["name"] == name


async def test_an_object_that_vanishes_after_the_listing_is_skipped(worker: Worker, data: Path) -> None:
    (data / "a").write_text("one\n")
    (data / "b").write_text("two\n")

    def remove(events: list[Event], run: Run) -> list[Event]:
        (data / "b").unlink(missing_ok=True)
        return rig.pass_on(events, run)

    report = await worker.run(store(data, **{"timestamp-mode": "none"}), {"discard": {}}, remove)
    assert (report.events_in, report.errors) == (1, 1)
    assert "b was skipped" in worker.warnings[-1]
