"""Two processes apply two plans from one base, or one plan, at the same moment: exactly one wins, every time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.text import TextReceiveStream, TextSendStream

from core.engine import Engine
from tests import figures
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio

CLIENT = Path(__file__).with_name("apply_client.py")
ROOT = Path(__file__).parents[2]


class Applier:
    """One attached process."""

    def __init__(self, process: Any) -> None:
        self._send = TextSendStream(process.stdin)
        self._receive = TextReceiveStream(process.stdout)
        self._rest = ""

    async def line(self) -> str:
        while "\n" not in self._rest:
            self._rest += await self._receive.receive()
        line, _, self._rest = self._rest.partition("\n")
        return line

    async def apply(self, plan_id: str, ended: list[str]) -> None:
        await self._send.send(plan_id + "\n")
        ended.append(await self.line())


async def plan(engine: Engine, prefix: str) -> str:
    values = {"path": "store", "guid_prefix": prefix}
    arguments = {"name": "race", "source": "workflow:quickstart-file-store-roundtrip@1", "values": values}
    made = await engine.call("deployment_plan", arguments, ADMIN)
    assert made["blockers"] == []
    return str(made["plan_id"])


@pytest.mark.parametrize("rounds", [pytest.param(4, id="ci"), pytest.param(200, id="full", marks=pytest.mark.soak)])
async def test_of_two_processes_exactly_one_wins_and_the_other_changes_nothing(
    tmp_path: Path, rounds: int, record_property: figures.Recorder
) -> None:
    figures.record(record_property, rounds=rounds)
    command = [sys.executable, str(CLIENT), str(tmp_path / "home")]
    async with engine_on(tmp_path / "home") as engine:
        with anyio.fail_after(60 + rounds * 5):
            async with (
                await anyio.open_process(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stderr=None) as one,
                await anyio.open_process(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stderr=None) as other,
            ):
                appliers = [Applier(one), Applier(other)]
                for applier in appliers:
                    assert await applier.line() == "attached"
                for number in range(rounds):
                    same = number % 4 == 3  # the same plan twice, every fourth time
                    first = await plan(engine, f"a{number}")
                    plans = [first, first if same else await plan(engine, f"b{number}")]
                    ended: list[str] = []
                    async with anyio.create_task_group() as group:
                        for applier, plan_id in zip(appliers, plans, strict=True):
                            group.start_soon(applier.apply, plan_id, ended)
                    assert sorted(ended) == sorted([f"revision {number + 1}", "plan_used" if same else "stale_plan"])
                for process in (one, other):
                    assert process.stdin is not None
                    await process.stdin.aclose()
        found = await engine.call("deployment_history", {"name": "race", "limit": 200}, ADMIN)
        assert found["total"] == rounds
        assert len({row["plan_id"] for row in found["items"]}) == rounds
