"""What readers have skipped: the letters of it are settled when it was read, whatever ended in between."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.dsl.component import Refusal, Run
from core.dsl.files import skips
from core.dsl.files.skips import Skips
from tests.dsl import rig
from tests.dsl.rig import Worker

pytestmark = pytest.mark.anyio


class Box:
    """Takes what is told of, and puts it on record when it is let."""

    def __init__(self) -> None:
        self.skipped: list[Any] = []
        self.read: list[Any] = []
        self._told: list[Callable[[], None]] = []
        self.lost = 0

    def take(self, run: Run, refused: Refusal) -> None:
        if refused.read is None:
            self.skipped.append(refused.event)
        else:
            self.read.append(refused.event)
            self._told.append(refused.read)

    def answer(self) -> None:
        for then in self._told:
            then()
        self._told.clear()


def test_what_was_skipped_is_remembered_until_it_is_on_record_that_it_was_read(worker: Worker) -> None:
    box, env = Box(), worker.env()
    run, first = Run(letters=box), Skips(env)
    first.skip(run, "a", "broken", {"path": "a"})
    first.skip(run, "a", "broken", {"path": "a"})
    first.skip(run, "a", "refused", {"path": "a"})
    first.read(run, "b")
    first.save()
    assert (len(box.skipped), box.read, run.errors) == (3, [], 3)
    second = Skips(env)
    second.read(run, "a")
    assert box.read == [{"path": "a"}] * 2, "once in the words of each letter"
    Skips(env).read(run, "a")
    assert len(box.read) == 4, "nobody has heard of it"
    box.answer()
    Skips(env).read(run, "a")
    assert len(box.read) == 4


def test_what_is_skipped_again_before_that_is_remembered(worker: Worker) -> None:
    box, env = Box(), worker.env()
    run, first = Run(letters=box), Skips(env)
    first.skip(run, "a", "broken", {"path": "a"})
    first.read(run, "a")
    first.skip(run, "a", "broken", {"path": "a"})
    box.answer()
    first.save()
    Skips(env).read(run, "a")
    assert len(box.read) == 2


def test_no_more_is_remembered_than_is_of_use(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skips, "MOST_NAMES", 2)
    monkeypatch.setattr(skips, "MOST_TELLINGS", 2)
    box = Box()
    run, ours = Run(letters=box), Skips(worker.env())
    for number in range(3):
        for size in range(3):
            ours.skip(run, f"o{number}", "broken", {"name": f"o{number}", "size": size})
    for number in range(3):
        ours.read(run, f"o{number}")
    assert box.read == [{"name": f"o{number}", "size": size} for number in (0, 1) for size in (1, 2)]


async def test_a_file_that_was_read_by_whoever_ended_before_it_was_on_record_is_told_of_later(
    worker: Worker, tmp_path: Path
) -> None:
    path, box = tmp_path / "a.gz", Box()
    path.write_bytes(b"\x1f\x8b no gzip at all")
    files = {"files": {"paths": [str(path)], "mode": "batch", "preprocessors": ["gzip"]}}

    async def fire() -> int:
        source = rig.declare("input", files).open(worker.env())
        events = 0
        async for batch in source.batches(Run(letters=box)):
            events += len(batch.events)
            batch.settle(None)
        await source.close()
        return events

    assert await fire() == 0
    assert (box.skipped, box.read) == ([{"path": str(path)}], [])
    path.write_bytes(gzip.compress(b"one\n"))
    assert await fire() == 1
    assert await fire() == 0
    assert box.read == [{"path": str(path)}] * 2
    box.answer()
    assert await fire() == 0
    assert len(box.read) == 2
