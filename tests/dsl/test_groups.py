"""The `batch` block of inputs and the numbers of outputs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.dsl.component import Batch, Event, Run
from core.dsl.inputs import groups
from core.dsl.inputs.groups import Group
from core.dsl.outputs.numbers import Numbers
from tests.dsl import rig
from tests.dsl.rig import Worker

pytestmark = pytest.mark.anyio
ALL = {
    "uuid-field": "id",
    "invocation-time-field": "at",
    "line-num-field": "n",
    "line-count-field": "count",
    "begin-marker-field": "begin",
    "end-marker-field": "end",
}


async def mark(worker: Worker, config: dict[str, str], *batches: tuple[int, bool]) -> list[list[Event]]:
    async def source() -> AsyncIterator[Batch]:
        for size, end in batches:
            yield Batch([{} for _ in range(size)], document_end=end)

    found = groups.marked(Group.model_validate(config), source(), Run(), worker.env())
    return [batch.events async for batch in found]


async def test_events_of_a_group_share_an_id_and_know_their_number_and_the_ends(worker: Worker) -> None:
    found = await mark(worker, ALL, (2, False), (1, True), (1, True))
    events = [event for batch in found for event in batch]
    assert [event["n"] for event in events] == [1, 2, 3, 1]
    assert [event.get("begin") for event in events] == [True, None, None, True]
    assert [event.get("end") for event in events] == [None, None, True, True]
    assert [event.get("count") for event in events] == [None, None, 3, 1]
    ids = [event["id"] for event in events]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert all(event["at"].endswith("Z") for event in events)


@pytest.mark.parametrize(
    "batches",
    [
        [(2, False), (0, True)],
        [(2, False), (0, False), (0, False), (0, True)],
        [(1, False), (1, False)],
        [(1, False), (0, False), (1, False), (0, False)],
    ],
)
async def test_the_last_event_is_marked_also_when_the_end_comes_without_events(
    worker: Worker, batches: list[tuple[int, bool]]
) -> None:
    found = await mark(worker, {"end-marker-field": "end"}, *batches)
    assert [len(batch) for batch in found] == [size for size, _ in batches]
    assert [event.get("end") for batch in found for event in batch] == [None, True]


async def test_nothing_is_made_up_for_a_group_without_events(worker: Worker) -> None:
    assert await mark(worker, ALL, (0, True), (0, True)) == [[], []]


async def test_objects_of_a_store_are_groups(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a").write_text('{"x":1}\n{"x":2}\n')
    (tmp_path / "s" / "b").write_text('{"x":3}\n')
    batch = {"end-marker-field": "last", "line-num-field": "n"}
    events = await worker.read({"file-store": {"path": str(tmp_path / "s"), "json": True, "batch": batch}})
    assert events == [{"x": 1, "n": 1}, {"x": 2, "n": 2, "last": True}, {"x": 3, "n": 1, "last": True}]


def test_a_group_that_marks_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="names at least one field"):
        rig.declare("input", {"file-store": {"path": "/x", "batch": {}}})


# ---- numbers


def numbered(numbers: Numbers, worker: Worker, *datas: bytes) -> dict[str, Any]:
    run = Run()
    numbers.begin(list(datas), run, worker.env())
    return run.stat


def test_batch_numbers_go_on_after_a_restart_and_jump_after_a_crash(worker: Worker, tmp_path: Path) -> None:
    first = Numbers(tmp_path, track_schema=False)
    assert [numbered(first, worker, b"{}")["_BATCH_NUMBER"] for _ in range(3)] == [1, 2, 3]
    first.close()
    second = Numbers(tmp_path, track_schema=False)
    assert numbered(second, worker, b"{}", b"{}") == {"_BATCH_NUMBER": 4, "_BATCH_SIZE": 2}
    crashed = Numbers(tmp_path, track_schema=False)  # without close: what was set aside is never used again
    assert numbered(crashed, worker, b"{}")["_BATCH_NUMBER"] > 1000


def test_the_schema_number_rises_when_fields_or_types_change(worker: Worker, tmp_path: Path) -> None:
    numbers = Numbers(tmp_path, track_schema=True)

    def number(*datas: bytes) -> int:
        found: int = numbered(numbers, worker, *datas)["__SCHEMA_NUMBER"]
        return found

    assert number(b'{"a":1,"b":"x"}') == 1
    assert number(b'{"b":"y","a":2.5}', b'{"a":3}') == 1  # another order, another number, a field that may be missing
    assert number(b'{"a":null,"b":"x"}', b'{"a":1}') == 1  # null says nothing of the type
    assert number(b'{"a":"1","b":"x"}') == 2
    assert number(b'{"a":"1","b":"x","c":{"d":1}}') == 3
    assert number(b'{"a":"1","b":"x","c":{"d":true}}') == 4
    numbers.close()
    numbers = Numbers(tmp_path, track_schema=True)
    assert number(b'{"a":"1","b":"x","c":{"d":false}}') == 4
    assert number(b"text") == 5
    assert "is not JSON" in worker.warnings[-1]


async def test_object_names_can_hold_the_numbers(worker: Worker, tmp_path: Path) -> None:
    sink = {
        "file-store": {
            "path": str(tmp_path / "s"),
            "object-name": "v${stat|__SCHEMA_NUMBER}/${stat|_BATCH_NUMBER}-of-${stat|_BATCH_SIZE}",
            "disable-object-name-guid": True,
            "track-schema": True,
            "batch": {"fixed_size": 2},
        }
    }
    await worker.write('{"a":1}\n{"a":2}\n{"a":"x"}', sink)
    await worker.write('{"a":"y"}', sink)
    names = sorted(path.relative_to(tmp_path / "s").as_posix() for path in (tmp_path / "s").rglob("*-of-*"))
    assert names == ["v1/1-of-2", "v2/2-of-1", "v2/3-of-1"]
