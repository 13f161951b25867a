"""kill -9 of workers and of the engine while a job refuses events: each of them is a letter at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.engine import Engine
from tests import waiting
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio

CHILD = Path(__file__).with_name("engine_child.py")
EVENTS = 8_000
JOB = """
name: sort
input: {{files: {{path: {source}, mode: batch, json: true}}}}
actions:
  - script: "for i = 1, 3000 do end"
output: {{file: "{target}/${{kind}}.jsonl"}}
"""


def write(source: Path) -> tuple[set[int], set[int]]:
    """Events of which every third has no kind; the numbers of those that have, and of those that have not."""
    with source.open("wb") as file:
        for n in range(EVENTS):
            file.write(orjson.dumps({"n": n, "text": "x" * 100} | ({"kind": "a"} if n % 3 else {})) + b"\n")
    return {n for n in range(EVENTS) if n % 3}, {n for n in range(EVENTS) if not n % 3}


def state(engine: Engine) -> str:
    return engine.fleet.workload_views(tenant=ADMIN.tenant, job="sort")[0].state


async def exported(engine: Engine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await engine.call("dead_letter_export", {"job": "sort", "limit": 200, "cursor": cursor}, ADMIN)
        found += page["items"]
        if (cursor := page["next_cursor"]) is None:
            return found


async def test_whoever_is_killed_each_refused_event_is_a_letter(tmp_path: Path) -> None:
    home, source, target = tmp_path / "home", tmp_path / "in.jsonl", tmp_path / "out" / "a.jsonl"
    good, bad = write(source)
    size = waiting.size(source)
    async with engine_on(home) as engine:
        await deploy(engine, JOB.format(source=source, target=target.parent))
        for kill in (1, 2):
            await waiting.until(lambda most=kill * size // 8: waiting.size(target) >= most, seconds=60)
            pid = engine.fleet.workers["local-1"].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert await engine.fleet.wait(lambda dead=pid: engine.fleet.workers["local-1"].pid not in (None, dead), 20)
    for _ in range(2):
        command = [sys.executable, str(CHILD), str(home)]
        process = subprocess.Popen(command)  # noqa: ASYNC220
        try:
            before = waiting.size(target)
            await waiting.until(lambda most=before + size // 10: waiting.size(target) >= most, seconds=60)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    async with engine_on(home) as engine:
        assert await engine.fleet.wait(lambda: state(engine) == "completed", 120), state(engine)
        letters = await exported(engine)
    assert {orjson.loads(line)["n"] for line in waiting.lines(target)} == good
    assert {letter["event"]["n"] for letter in letters} == bad, "none is lost, and nothing else is one"
    assert {letter["code"] for letter in letters} == {"empty-placeholder"}
