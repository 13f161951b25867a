"""Three MCP sessions and one server on one home, killed at random: nothing accepted is lost, nothing is done twice, and
every session that was not killed goes on."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from core import ownership
from core.engine import Engine
from core.model import invocation
from core.store import invocations
from tests import figures, processes, waiting
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on
from tests.scenarios.sessions import HttpClient, Ledger, McpSession, Program

pytestmark = pytest.mark.anyio


class Killer:
    """Kills after every so many answers: the owner, anyone, a worker, the owner again, or all at once."""

    def __init__(self, home: Path, programs: Sequence[Program], answers: int, kills: int) -> None:
        self._home = home
        self._programs = programs
        self._every = max(1, answers // (kills + 1))
        self._random = random.Random(11)
        self._told = 0
        self._strikes = kills
        self.kills: Counter[str] = Counter()
        self._due = asyncio.Event()

    def told(self) -> None:
        """One more call was answered."""
        self._told += 1
        if self._told % self._every == 0:
            self._due.set()

    async def run(self) -> None:
        for number in range(self._strikes):
            await self._due.wait()
            self._due.clear()
            await waiting.pause(self._random.uniform(0, 0.05))  # somewhere within the next calls
            self._strike(number)

    def _strike(self, number: int) -> None:
        running = [program for program in self._programs if program.running]
        match number % 5:
            case 0 | 3:
                owner = ownership.owner_pid(self._home)
                victims = [program for program in running if program.process and program.process.pid == owner]
            case 2:
                return self._worker()
            case 4:
                victims = running
            case _:
                victims = [self._random.choice(running)] if running else []
        for victim in victims:
            victim.kill()
            self.kills[victim.name] += 1

    def _worker(self) -> None:
        owner = ownership.owner_pid(self._home)
        try:
            workers = processes.children("core.worker", of=owner) if owner else []
            self._random.choice(workers).kill()
            self.kills["worker"] += 1
        except (psutil.NoSuchProcess, IndexError):
            return  # its owner was killed a moment ago


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("calls", "kills", "seconds"),
    [
        pytest.param(16, 5, 120, id="ci"),
        pytest.param(800, 100, 2400, id="full", marks=pytest.mark.soak),
    ],
)
async def test_kills_lose_nothing_double_nothing_and_end_no_other_session(
    tmp_path: Path, calls: int, kills: int, seconds: int, record_property: figures.Recorder
) -> None:
    home = tmp_path / "home"
    with anyio.fail_after(30):
        async with engine_on(home) as engine:
            definition = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
            await engine.call("trigger_publish", {**definition, "response_timeout_seconds": 120}, ADMIN)
            await deploy(engine, (EXAMPLES / "smoke_trigger_handler.yaml").read_text())
    ledger = Ledger()
    clients = [*(McpSession(f"session{n}", home) for n in range(3)), HttpClient(home, _free_port())]
    programs = [client.program for client in clients]
    killer = Killer(home, programs, calls * len(clients), kills)
    try:
        with anyio.fail_after(seconds):
            killing = asyncio.create_task(killer.run())
            async with asyncio.TaskGroup() as group:
                for client in clients:
                    keys = [f"{client.program.name}-{n}" for n in range(calls)]
                    group.create_task(client.work(ledger, keys, killer.told))
            killing.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await asyncio.gather(*(program.stop() for program in programs))
    figures.record(record_property, kills=killer.kills.total(), requests=4 * calls, runs=len(ledger.runs))
    assert set(killer.kills) >= {program.name for program in programs}, killer.kills
    for program in programs:
        assert program.starts <= 1 + killer.kills[program.name], "only what was killed was started anew"
    with anyio.fail_after(60):
        async with engine_on(home) as engine:
            await _verify(engine, ledger, calls * 4)


async def _verify(engine: Engine, ledger: Ledger, calls: int) -> None:
    assert len(ledger.runs) + len(ledger.values) == calls

    def look(db: Any) -> tuple[list[dict[str, Any]], dict[str, int], int, dict[str, int]]:
        runs = list(db.query("SELECT * FROM invocations"))
        values = {row["key"]: json.loads(row["value"]) for row in db.query("SELECT key, value FROM kv_entries")}
        revision = db.execute("SELECT last FROM kv_revision").fetchone()[0]
        noted = db.query("SELECT operation, count(*) AS n FROM audit WHERE decision = 'allowed' GROUP BY operation")
        return runs, values, revision, {row["operation"]: row["n"] for row in noted}

    runs, values, revision, noted = await engine.database.read(look)
    told = {row["idempotency_key"]: invocation.text_id(row["id"], row["nonce"]) for row in runs}
    assert len(told) == len(runs), "two runs for one key"
    assert told == ledger.runs, "accepted and told are the same runs"
    for row in runs:
        path = [event["type"] for event in json.loads(row["events"])]
        assert row["state"] == "succeeded" and path.count("succeeded") == 1 and path[-1] == "succeeded", path
        assert path[:2] == ["accepted", "dispatched"] and set(path[2:-1]) <= {"redelivered", "run_failed"}, path
    assert values == ledger.values
    # Every write has its row in the audit log, and every row its write, whatever was killed between them.
    assert (noted["trigger_invoke"], noted["kv_set"]) == (len(runs), revision)
    assert await engine.database.read(invocations.open_ones) == []
    checked = await engine.database.read(lambda db: db.conn.execute("PRAGMA integrity_check").fetchone()[0])
    assert checked == "ok"
