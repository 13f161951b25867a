"""A worker that is killed in the middle of a job: what it had not delivered comes again, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests import waiting

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).resolve().parents[2]
KILLS = 4


def size_of(target: Path) -> int:
    total = 0
    for path in target.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # one that was being written has its name now
            total += path.stat().st_size if path.is_file() else 0
    return total


async def grown(target: Path, size: int, ended: asyncio.Task[Any]) -> bool:
    """Wait until the target is so large; whether that comes before the end of the process."""
    await waiting.until(lambda: ended.done() or size_of(target) >= size, seconds=60, every=0.001)
    return not ended.done()


async def run_and_kill(
    state: Path,
    source: dict[str, Any],
    sink: dict[str, Any],
    target: Path,
    sizes: list[int],
    actions: Sequence[dict[str, Any]] = (),
) -> int:
    """Start the job, kill it when the target has grown to each of the sizes, let it end; how often it was killed."""
    kills = 0
    while True:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.dsl.crash_child",
            str(state),
            json.dumps(source),
            json.dumps(sink),
            json.dumps(actions),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        ended = asyncio.create_task(process.communicate())
        if sizes and await grown(target, sizes[0], ended):
            process.send_signal(signal.SIGKILL)
            sizes.pop(0)
            kills += 1
        output, _ = await ended
        if output == b"done":
            return kills
        assert process.returncode == -signal.SIGKILL


def numbers_in(target: Path) -> tuple[list[int], int]:
    """The numbers of all whole events, and how many lines are none."""
    found, torn = [], 0
    for path in sorted(target.rglob("*")):
        if not path.is_file() or path.name.endswith(".sluice-tmp"):
            continue
        for line in path.read_bytes().splitlines():
            try:
                found.append(json.loads(line)["n"])
            except ValueError:
                torn += 1
    return found, torn


@pytest.mark.parametrize("kind", ["files-to-file", "files-to-file-truncating", "store-to-store"])
async def test_every_event_arrives_at_least_once_although_the_process_is_killed(tmp_path: Path, kind: str) -> None:
    count, objects = 60_000, 30
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for number in range(objects):
        each = range(number * count // objects, (number + 1) * count // objects)
        (tmp_path / "in" / f"{number:03}.jsonl").write_text("".join(f'{{"n":{n},"pad":"{"x" * 100}"}}\n' for n in each))
    if kind == "store-to-store":
        source: dict[str, Any] = {"file-store": {"path": str(tmp_path / "in"), "json": True, "fingerprinting": True}}
        sink: dict[str, Any] = {
            "file-store": {"path": str(tmp_path / "out"), "object-name": "part", "batch": {"fixed-size": 2000}}
        }
    else:
        source = {"files": {"path": str(tmp_path / "in"), "mode": "batch", "json": True}}
        sink = {"file": {"path": str(tmp_path / "out" / "all.jsonl"), "truncate": kind.endswith("truncating")}}
    whole = size_of(tmp_path / "in")
    sizes = sorted(random.Random(kind).randrange(whole // 2, whole * 9 // 10) for _ in range(KILLS))
    with anyio.fail_after(60):
        kills = await run_and_kill(tmp_path / "state", source, sink, tmp_path / "out", sizes)
    found, torn = numbers_in(tmp_path / "out")
    assert kills >= 2
    assert set(found) == set(range(count))
    assert len(found) < 3 * count  # what comes twice is a part, not everything
    assert torn <= kills  # a line that a kill cut off stays a line of its own
