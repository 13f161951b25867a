"""Readers of a spool: replays happen once and miss nothing, and only what every reader has read is deleted."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import clock
from core.dsl.component import Batch, Run
from core.dsl.inputs import spooled
from core.dsl.inputs.objects import ObjectSource
from core.dsl.language import compile as compiler
from core.dsl.stores import LocalStore, Object
from core.errors import Forbidden, InvalidDocument
from tests import waiting
from tests.dsl import rig
from tests.dsl.rig import Worker

pytestmark = pytest.mark.anyio
BASE = 1_700_000_000.0  # 2023-11-14T22:13:20Z


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    monkeypatch.setattr(spooled, "SWEEP_SECONDS", 0.0)
    return Spool(tmp_path / "spool")


class Spool:
    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, name: str, at: float = BASE, size: int = 0) -> None:
        path = self.root / "c" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"o": name, "pad": "x" * size}) + "\n")
        os.utime(path, (at, at))

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.root / "c").glob("*"))

    def source(self, **keys: Any) -> dict[str, Any]:
        config = {"path": str(self.root), "object-names": ["c/"], "json": True, "fingerprinting": True, **keys}
        return {"file-store": config}


async def read(worker: Worker, source: dict[str, Any], name: str = "job") -> list[str]:
    """One start of a job that reads what there is."""
    seen: list[str] = []

    def keep(events: list[Any], run: Run) -> list[Any]:
        seen.extend(event["o"] for event in events)
        return rig.pass_on(events, run)

    await worker.executor(source, {"discard": {}}, keep, name).run()
    return seen


# ---- firings that overlap


class Firing:
    """One firing of a source, read to its end; its batches are settled by hand."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches
        self.objects = [event["o"] for batch in batches for event in batch.events]

    def settle(self, name: str, error: Exception | None = None) -> None:
        """The output has accepted what was read of an object, or has not."""
        at = next(n for n, batch in enumerate(self._batches) if name in [event["o"] for event in batch.events])
        for batch in self._batches[at : at + 2]:  # the events, and the end of the object
            batch.settle(error)


async def fire(source: ObjectSource, letters: Letters | None = None) -> Firing:
    return Firing([batch async for batch in source.batches(Run(letters=letters))])


class Letters:
    """Where refused events go."""

    def __init__(self) -> None:
        self.lost = 0

    def take(self, run: Run, refused: Any) -> None:
        raise AssertionError("nothing is refused by the source")


@pytest.fixture
def source(worker: Worker, spool: Spool) -> ObjectSource:
    for name in ("o1", "o2"):
        spool.put(name)
    source = rig.declare("input", spool.source()).open(worker.env())
    assert isinstance(source, ObjectSource)
    return source


async def test_what_is_accepted_while_another_firing_lists_is_not_read_by_it(
    source: ObjectSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await fire(source)
    assert first.objects == ["o1", "o2"]
    listing = LocalStore.listing

    async def slow(store: LocalStore, prefixes: Sequence[str], keep: Callable[[Object], bool]) -> list[Object]:
        found = await listing(store, prefixes, keep)
        for name in first.objects:
            first.settle(name)
        return found

    monkeypatch.setattr(LocalStore, "listing", slow)
    assert (await fire(source)).objects == []


async def test_what_is_accepted_before_what_was_read_earlier_is_not_read_again(source: ObjectSource) -> None:
    first = await fire(source)
    first.settle("o2")
    assert (await fire(source)).objects == []
    first.settle("o1")
    assert (await fire(source)).objects == []


async def test_what_was_read_after_an_object_that_failed_is_read_again(source: ObjectSource) -> None:
    first = await fire(source)
    first.settle("o2")
    first.settle("o1", OSError("full"))
    second = await fire(source)
    assert second.objects == ["o1", "o2"]
    for name in second.objects:
        second.settle(name)
    assert (await fire(source)).objects == []


async def test_what_is_all_that_is_left_of_a_refused_event_is_not_deleted(worker: Worker, spool: Spool) -> None:
    def source(**more: Any) -> ObjectSource:
        config = spool.source(retention={"age": "0s"}, **more)
        opened = rig.declare("input", config).open(worker.env())
        assert isinstance(opened, ObjectSource)
        return opened

    for name in ("bad", "good"):
        spool.put(name)
    letters, opened = Letters(), source()
    first = await fire(opened, letters)
    first.settle("good")  # refused before it: nothing yet
    letters.lost += 1
    first.settle("bad")
    assert (await fire(opened, letters)).objects == []
    assert spool.names() == ["bad"]
    assert (await fire(source(), Letters())).objects == [], "nor after a restart"
    assert spool.names() == ["bad"] and ["c/bad is kept" in text for text in worker.warnings] == [True]
    again = source(replay={"from": "beginning", "marker": "mended"})
    (await fire(again, Letters())).settle("bad")
    assert (await fire(again, Letters())).objects == []
    assert spool.names() == [], "it has come through now"


async def test_what_was_lost_before_there_was_retention_is_not_deleted_either(worker: Worker, spool: Spool) -> None:
    spool.put("bad")
    letters = Letters()
    source = rig.declare("input", spool.source()).open(worker.env())
    first = await fire(source, letters)
    letters.lost += 1
    first.settle("bad")
    assert not worker.warnings, "nobody would delete it"
    source = rig.declare("input", spool.source(retention={"age": "0s"})).open(worker.env())
    assert (await fire(source, letters)).objects == []
    assert spool.names() == ["bad"]


# ---- replay


async def test_a_new_reader_begins_at_the_point_and_misses_nothing_after_it(worker: Worker, spool: Spool) -> None:
    spool.put("old", BASE)
    spool.put("new", BASE + 10)
    late = spool.source(replay="2023-11-14T22:13:25Z")
    assert await read(worker, late) == ["new"]
    assert await read(worker, late) == []
    spool.put("later", BASE + 20)
    assert await read(worker, late) == ["later"]


@pytest.mark.parametrize("replay", ["beginning", "2023-11-14", {"from": "beginning", "marker": "x"}])
async def test_a_new_reader_from_the_beginning_reads_all(worker: Worker, spool: Spool, replay: Any) -> None:
    spool.put("a")
    assert await read(worker, spool.source(replay=replay)) == ["a"]


async def test_a_new_reader_from_now_reads_only_what_comes(worker: Worker, spool: Spool) -> None:
    spool.put("old", clock.now_ns() / clock.NANOSECONDS - 100)
    source = spool.source(replay="now")
    assert await read(worker, source) == []
    spool.put("new", clock.now_ns() / clock.NANOSECONDS + 1)
    assert await read(worker, source) == ["new"]


async def test_a_reader_from_now_that_found_no_spool_has_begun_all_the_same(worker: Worker, spool: Spool) -> None:
    source = spool.source(replay="now", trigger={"interval": "1h"})
    executor = worker.executor(source, {"discard": {}})
    running = asyncio.create_task(executor.run())
    await waiting.until(lambda: worker.reports)
    await executor.drain(1)
    await running
    spool.put("between", clock.now_ns() / clock.NANOSECONDS + 1)
    assert await read(worker, spool.source(replay="now")) == ["between"]


async def test_a_changed_replay_reads_once_more_what_came_since_and_all_that_was_not_read(
    worker: Worker, spool: Spool
) -> None:
    for number in range(4):
        spool.put(f"o{number}", BASE + number)
    assert await read(worker, spool.source()) == ["o0", "o1", "o2", "o3"]
    spool.put("unread", BASE - 5)
    again = spool.source(replay={"from": "2023-11-14T22:13:22Z", "marker": "first"})
    assert await read(worker, again) == ["unread", "o2", "o3"]
    assert await read(worker, again) == []
    again["file-store"]["replay"]["marker"] = "second"
    assert await read(worker, again) == ["o2", "o3"]
    assert await read(worker, spool.source(replay="now")) == []
    assert await read(worker, spool.source(replay="beginning")) == ["unread", "o0", "o1", "o2", "o3"]


async def test_an_earlier_replay_brings_what_a_later_beginning_left_out(worker: Worker, spool: Spool) -> None:
    spool.put("old", BASE)
    spool.put("new", BASE + 10)
    assert await read(worker, spool.source(replay="2023-11-14T22:13:25Z")) == ["new"]
    assert await read(worker, spool.source(replay="2023-11-14")) == ["old", "new"]


async def test_what_lies_before_the_point_is_passed_over_when_that_is_asked(worker: Worker, spool: Spool) -> None:
    for number in range(4):
        spool.put(f"o{number}", BASE + number)
    assert await read(worker, spool.source()) == ["o0", "o1", "o2", "o3"]
    spool.put("unread", BASE - 5)
    at = {"from": "2023-11-14T22:13:22Z", "marker": "first", "skip-unread": True}
    assert await read(worker, spool.source(replay=at)) == ["o2", "o3"]
    spool.put("end", BASE + 9)
    end = {"from": "now", "marker": "second", "skip-unread": True}
    assert await read(worker, spool.source(replay=end)) == []
    spool.put("late", BASE + 1)  # written afterwards, though its time is an older one
    assert await read(worker, spool.source(replay=end)) == ["late"]
    assert await read(worker, spool.source()) == [], "what was passed over stays so without the key"


async def test_a_beginning_stays_when_the_key_goes(worker: Worker, spool: Spool) -> None:
    spool.put("old", BASE)
    assert await read(worker, spool.source(replay="2023-11-14T22:13:25Z")) == []
    assert await read(worker, spool.source()) == []


@pytest.mark.parametrize("replay", ["yesterday", "2023-13-01", "2023-11-14T25:00:00Z", "2023-11-14T22:13", "17"])
async def test_a_point_that_is_none_is_refused(replay: str) -> None:
    document = {
        "name": "j",
        "input": {"file-store": {"path": "/x", "fingerprinting": True, "replay": replay}},
        "output": {"discard": {}},
    }
    with pytest.raises(InvalidDocument) as caught:
        compiler.check_job(document)
    assert "is no point to read from" in str([p.message for p in caught.value.errors or ()])


# ---- retention


async def test_only_what_was_read_is_deleted_when_it_is_old_enough(worker: Worker, spool: Spool) -> None:
    now = clock.now_ns() / clock.NANOSECONDS
    source = spool.source(retention={"age": "1h"})
    spool.put("old", now - 7200)
    spool.put("young", now - 60)
    assert await read(worker, source) == ["old", "young"]
    assert spool.names() == ["old", "young"]  # the output had not accepted it when the firing looked
    spool.put("old-unread", now - 9000)
    assert await read(worker, source) == ["old-unread"]
    assert spool.names() == ["old-unread", "young"]
    assert await read(worker, source) == []
    assert spool.names() == ["young"]


@pytest.mark.parametrize(
    ("bounds", "left"),
    [({"max-objects": 2}, ["o3", "o4"]), ({"max-bytes": 250}, ["o3", "o4"]), ({"max-bytes": 1}, []), ({}, None)],
)
async def test_the_oldest_go_until_there_are_few_enough(
    worker: Worker, spool: Spool, bounds: dict[str, int], left: list[str] | None
) -> None:
    for number in range(5):
        spool.put(f"o{number}", BASE + number, size=80)
    source = spool.source(retention=bounds)
    await read(worker, source)
    await read(worker, source)
    assert spool.names() == (["o0", "o1", "o2", "o3", "o4"] if left is None else left)


async def test_what_another_reader_has_not_read_stays(worker: Worker, spool: Spool) -> None:
    both = {"age": "0s", "readers": ["one", "two"], "receipts": "c.taken/"}
    source = spool.source(retention=both)
    spool.put("a")
    spool.put("b", BASE + 1)
    assert await read(worker, source, "one") == ["a", "b"]
    await read(worker, source, "one")
    assert spool.names() == ["a", "b"]
    assert await read(worker, source, "two") == ["a", "b"]
    spool.put("c", BASE + 2)
    assert await read(worker, source, "two") == ["c"]
    assert spool.names() == ["c"]
    await read(worker, source, "two")
    assert spool.names() == ["c"]  # the first has not seen it
    (spool.root / "c.taken" / "two.json").write_text("no receipt")
    assert await read(worker, source, "one") == ["c"]
    await read(worker, source, "one")
    assert spool.names() == ["c"]


async def test_a_spool_that_cannot_be_swept_is_read_all_the_same(
    worker: Worker, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: Any, names: Any) -> None:
        raise Forbidden("this store is not yours")

    monkeypatch.setattr(LocalStore, "delete", refuse)
    source = spool.source(retention={"age": "0s"})
    spool.put("a")
    await read(worker, source)
    spool.put("b")
    assert await read(worker, source) == ["b"]
    assert "could not be deleted: this store is not yours" in worker.warnings[-1]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"fingerprinting": False, "replay": "now"}, "need fingerprinting"),
        ({"fingerprinting": False, "retention": {"age": "1d"}}, "need fingerprinting"),
        ({"fingerprinting": True, "retention": {"readers": ["a"]}}, "need receipts"),
        ({"fingerprinting": True, "retention": {"receipts": "../x/"}}, "receipts"),
        ({"fingerprinting": True, "retention": {"max-bytes": 0}}, "max-bytes"),
    ],
)
async def test_settings_that_cannot_work_are_refused(keys: dict[str, Any], told: str) -> None:
    document = {"name": "j", "input": {"file-store": {"path": "/x", **keys}}, "output": {"discard": {}}}
    with pytest.raises(InvalidDocument) as caught:
        compiler.check_job(document)
    assert told in str([f"{p.pointer} {p.message}" for p in caught.value.errors or ()])


OBJECTS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 50), st.booleans()), max_size=30)


@given(
    objects=OBJECTS,
    age=st.none() | st.integers(0, 100),
    size=st.none() | st.integers(1, 500),
    most=st.none() | st.integers(1, 20),
)
def test_retention_never_takes_what_is_unread_and_takes_no_more_than_it_must(
    objects: list[tuple[int, int, bool]], age: int | None, size: int | None, most: int | None
) -> None:
    listed = [Object(f"o{n}", bytes_, float(at), "") for n, (at, bytes_, _) in enumerate(objects)]
    read = {f"o{n}" for n, (_, _, seen) in enumerate(objects) if seen}
    given_ = {"age": None if age is None else float(age), "max-bytes": size, "max-objects": most}
    config = spooled.Retention.model_validate({key: value for key, value in given_.items() if value is not None})
    gone = config.over(listed, read, 100.0)
    assert set(gone) <= read
    left = [one for one in listed if one.name not in gone]
    in_bounds = (size is None or sum(o.size for o in left) <= size) and (most is None or len(left) <= most)
    unread_left = [o for o in left if o.name in read]
    if not in_bounds:
        assert unread_left == []  # everything that may go is gone
    if age is not None:
        assert all(100.0 - o.modified < age for o in unread_left)
    if age is None and gone:  # the last one had to go
        last = next(o for o in listed if o.name == gone[-1])
        before = [*left, last]
        assert (size is not None and sum(o.size for o in before) > size) or (most is not None and len(before) > most)
