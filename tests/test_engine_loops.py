"""Every loop that lasts as long as the engine goes on after a fault at any line of it."""

from __future__ import annotations

import asyncio
import errno
import inspect
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from core import engine as engines
from core import forever, measures, ownership
from core.deployments import watcher
from core.fleet import fleet, sampling, timetables
from core.forever import Step
from core.kv import local
from tests import waiting
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio


def _code(step: Step) -> CodeType:
    function = step.func if isinstance(step, partial) else step
    return inspect.unwrap(function).__code__


def _tracing(code: CodeType, at_line: Callable[[int], None]) -> Callable[[FrameType, str, Any], Any]:
    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code is not code:
            return None
        if event == "line":
            at_line(frame.f_lineno)
        return trace

    return trace


async def test_a_fault_at_any_line_of_any_loop_is_counted_and_the_loop_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: dict[str, Step] = {}
    rounds: Counter[str] = Counter()
    start = forever.Loops.start

    def started(self: forever.Loops, name: str, step: Step, *more: float) -> asyncio.Task[None]:
        steps[name] = step

        async def counted() -> None:
            await step()
            rounds[name] += 1

        return start(self, name, counted, *more)

    monkeypatch.setattr(forever.Loops, "start", started)
    monkeypatch.setattr(forever, "FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(engines, "RETENTION_SECONDS", 0.005)
    monkeypatch.setattr(local, "PRUNE_SECONDS", 0.005)
    monkeypatch.setattr(ownership, "ALIVE_SECONDS", 0.005)
    monkeypatch.setattr(watcher, "FOLD_SECONDS", 0.005)
    monkeypatch.setattr(watcher, "ALL_SECONDS", 0.005)
    monkeypatch.setattr(fleet, "AGE_SECONDS", 0.005)
    monkeypatch.setattr(timetables, "LOOK_SECONDS", 0.005)
    monkeypatch.setattr(sampling, "STEP_SECONDS", 0.005)
    monkeypatch.setattr(measures, "LOOK_SECONDS", 0.005)
    before = sys.gettrace()
    async with engine_on(
        tmp_path / "home", workers=0, heartbeat_seconds=0.01, reconcile_interval_seconds=0.01
    ) as engine:
        loops = {loop.name: loop for loop in engine.loops}
        assert set(loops) == set(steps) and len(steps) >= 4
        try:
            for name, step in steps.items():
                code, reached, thrown = _code(step), set[int](), list[int]()
                sys.settrace(_tracing(code, reached.add))
                done = rounds[name] + 2  # the first one may have begun before
                await waiting.until(lambda name=name, done=done: rounds[name] >= done)  # type: ignore[misc]
                sys.settrace(before)
                assert reached, name
                for line in sorted(reached):
                    thrown.clear()

                    def at_line(number: int, line: int = line, thrown: list[int] = thrown) -> None:
                        if number == line and not thrown:
                            thrown.append(number)
                            raise OSError(errno.EMFILE, "Too many open files")

                    failures = loops[name].failures
                    sys.settrace(_tracing(code, at_line))
                    await waiting.until(lambda thrown=thrown: bool(thrown))  # type: ignore[misc]
                    sys.settrace(before)
                    await waiting.until(lambda loop=loops[name]: loop.in_a_row == 0)  # type: ignore[misc]
                    assert loops[name].failures == failures + 1, (name, line)
        finally:
            sys.settrace(before)
        told = await engine.call("engine_status", {}, ADMIN)
        assert {loop["name"] for loop in told["loops"]} == set(steps)
        assert all(loop["failures"] > 0 and not loop["failing"] and loop["reason"] for loop in told["loops"])
