"""Jobs with windows: where they begin, and where they go on after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core.dsl.component import Event, Run
from core.dsl.language import window
from core.errors import JobFailed
from tests import waiting
from tests.dsl import rig
from tests.dsl.rig import Worker
from tests.filepolicies import everywhere

pytestmark = pytest.mark.anyio
EVENT = '{"from": "${time|start_time_secs}", "to": "${time|end_time_secs}"}'
SECOND = 1_000_000_000


def source(**schedule: Any) -> dict[str, Any]:
    return {"echo": {"event": EVENT, "json": True, "trigger": {"interval": {"duration": "1h", **schedule}}}}


async def spans(worker: Worker, document: dict[str, Any], count: int, process: rig.Process = rig.pass_on) -> list[Any]:
    before = len(worker.printed)
    executor = worker.executor(document, {"print": "STDOUT"}, process)
    task = asyncio.create_task(executor.run())
    await waiting.until(lambda: len(worker.printed) >= before + count or task.done())
    await executor.drain(1)
    await task
    return [(int(e["from"]), int(e["to"])) for e in map(orjson.loads, worker.printed[before:])]


async def test_a_tracked_window_resumes_after_the_last_successful_one(worker: Worker, tmp_path: Path) -> None:
    mark = tmp_path / "marks" / "mark"
    mark.parent.mkdir()
    mark.write_text("2026-01-01 00:00:00\n")
    document = source(window={"size": "1m", "tracked": str(mark)})
    first = await spans(worker, document, 3)
    start = window.parse("2026-01-01 00:00:00") // SECOND
    assert first[:3] == [(start, start + 60), (start + 60, start + 120), (start + 120, start + 180)]
    reached = window.parse(mark.read_text())
    again = await spans(worker, document, 1)
    assert again[0][0] * SECOND == reached
    assert again[0][0] <= first[-1][1], "nothing was left out"


async def test_a_failed_run_does_not_move_the_mark(worker: Worker, tmp_path: Path) -> None:
    def fail(events: list[Event], run: Run) -> list[Event]:
        raise OSError("no")

    mark = tmp_path / "mark"
    mark.write_text("2026-01-01 00:00:00\n")
    with pytest.raises(JobFailed, match="no"):
        await spans(worker, source(window={"size": "1m", "tracked": str(mark)}), 1, fail)
    assert mark.read_text() == "2026-01-01 00:00:00\n"


async def test_a_sequence_from_a_start_time_remembers_its_place_until_the_start_time_changes(worker: Worker) -> None:
    document = source(window={"size": "1m", "start-time": "2026-01-01 00:00:00"})
    first = await spans(worker, document, 2)
    again = await spans(worker, document, 1)
    assert again[0][0] >= first[1][0]
    moved = await spans(worker, source(window={"size": "1m", "start-time": "2025-01-01 00:00:00"}), 1)
    assert moved[0][0] == window.parse("2025-01-01 00:00:00") // SECOND


async def test_a_file_that_holds_no_watermark_fails_the_job_and_is_left_alone(worker: Worker, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    mark.write_text("what is this\n")
    with anyio.fail_after(5), pytest.raises(JobFailed, match="holds no watermark"):
        await spans(worker, source(window={"tracked": str(mark)}), 1)
    assert mark.read_text() == "what is this\n"


async def test_a_watermark_where_no_job_may_write_is_refused(worker: Worker, tmp_path: Path) -> None:
    worker.limits = rig.Limits(files=everywhere("", tmp_path / "home"))
    (tmp_path / "home").mkdir()
    with anyio.fail_after(5), pytest.raises(JobFailed, match="no job may enter"):
        await spans(worker, source(window={"tracked": str(tmp_path / "home" / "mark")}), 1)
