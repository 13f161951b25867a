"""kill -9 of owners, attached clients and workers at random moments: nothing accepted is lost, nothing runs twice in
the records, and no state moves where its table has no way."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import anyio
import psutil
import pytest
from engines import ADMIN, EXAMPLES, deploy, engine_on

from core.engine import Engine
from core.model import invocation
from core.store import invocations
from tests import processes, waiting

pytestmark = pytest.mark.anyio

CLIENT = Path(__file__).with_name("crash_client.py")
DEADLINE_SECONDS = 600


class Fleet:
    """Client processes on one home; any of them may be the owner, and any may be killed."""

    def __init__(self, home: Path, clients: int, runs: int, in_flight: int) -> None:
        self.home = home
        self.runs = runs
        self.in_flight = in_flight
        self.names = [f"client{n}" for n in range(clients)]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kills: Counter[str] = Counter()
        self.random = random.Random(7)

    def start(self, name: str) -> None:
        self.processes[name] = subprocess.Popen(
            [sys.executable, str(CLIENT), str(self.home), name, str(self.runs), str(self.in_flight)]
        )

    def running(self) -> list[str]:
        return [name for name in self.names if self.processes[name].poll() is None]

    def told(self) -> int:
        """How many runs the clients have been told the end of."""
        ledgers = (self.home.parent / f"{name}.ledger" for name in self.names)
        return sum(ledger.read_bytes().count(b"\n") for ledger in ledgers if ledger.exists())

    def worker_pids(self) -> list[int]:
        pids = []
        for name in self.running():
            try:
                pids += [child.pid for child in processes.children("core.worker", of=self.processes[name].pid)]
            except psutil.NoSuchProcess:
                continue
        return pids

    def kill_one(self) -> None:
        """Kill a worker, a client (owner or not), or, every fourth time, all clients together."""
        running = self.running()
        number = self.kills.total()
        if number % 4 == 3:
            victims = running
        elif number % 2 and running:
            victims = [self.random.choice(running)]
        else:
            pids = self.worker_pids()
            if pids:
                psutil.Process(self.random.choice(pids)).kill()
                self.kills["worker"] += 1
            return
        for name in victims:
            self.processes[name].send_signal(signal.SIGKILL)
            self.processes[name].wait()
            self.kills["client"] += 1
            self.start(name)


async def _crash(tmp_path: Path, *, clients: int, runs: int, in_flight: int, kills: int) -> Fleet:
    home = tmp_path / "home"
    with anyio.fail_after(30):
        async with engine_on(home) as engine:
            definition = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
            await engine.call("trigger_publish", {**definition, "response_timeout_seconds": 60}, ADMIN)
            await deploy(engine, (EXAMPLES / "smoke_trigger_handler.yaml").read_text(), replicas=1)
    fleet = Fleet(home, clients, runs, in_flight)
    for name in fleet.names:
        fleet.start(name)
    deadline = time.monotonic() + DEADLINE_SECONDS
    try:
        pace = clients * runs // (kills + kills // 4)  # so that the kills are spread over all the runs
        due = 0
        while fleet.running():
            assert time.monotonic() < deadline, f"not done after {DEADLINE_SECONDS} s: {fleet.kills}"
            await waiting.pause(fleet.random.uniform(0.005, 0.02))  # the moment of the kill is what is random here
            if fleet.kills.total() < kills and fleet.told() >= due:
                due = fleet.told() + fleet.random.randrange(pace)
                try:
                    fleet.kill_one()
                except psutil.NoSuchProcess:
                    continue
    finally:
        for process in fleet.processes.values():
            process.kill()
            process.wait()
    return fleet


async def _verify(engine: Engine, fleet: Fleet, tmp_path: Path) -> None:
    told: dict[str, str] = {}
    for name in fleet.names:
        for line in (tmp_path / f"{name}.ledger").read_text().split("\n"):
            if line.endswith("."):
                key, id, state, _ = line.split(" ")
                assert told.setdefault(key, id) == id, f"{key} was answered with two invocations"
                assert state == "succeeded", line
    assert len(told) == len(fleet.names) * fleet.runs

    rows = await engine.database.read(lambda db: list(db.query("SELECT * FROM invocations")))
    by_key = Counter(row["idempotency_key"] for row in rows)
    assert max(by_key.values()) == 1, "two rows for one key"
    assert set(by_key) == set(told), "accepted and told must be the same runs"
    for row in rows:
        assert told[row["idempotency_key"]] == invocation.text_id(row["id"], row["nonce"])
        assert row["state"] == "succeeded"
        path = [event["type"] for event in json.loads(row["events"])]
        assert path[:2] == ["accepted", "dispatched"]
        assert path[-1] == "succeeded"
        assert path.count("succeeded") == 1
        assert set(path[2:-1]) <= {"redelivered", "run_failed"}
    noted = await engine.database.read(
        lambda db: db.table("audit").count_where("operation = 'trigger_invoke' AND decision = 'allowed'")
    )
    assert noted == len(rows), "each write has its row in the audit log, and each row its write"
    assert await engine.database.read(invocations.open_ones) == []
    checked = await engine.database.read(lambda db: db.conn.execute("PRAGMA integrity_check").fetchone()[0])
    assert checked == "ok"


@pytest.mark.parametrize(
    ("clients", "runs", "in_flight", "kills"),
    [
        pytest.param(2, 400, 8, 16, id="ci"),
        pytest.param(3, 3400, 16, 200, id="full", marks=pytest.mark.soak),
    ],
)
async def test_kills_at_random_lose_and_double_nothing(
    tmp_path: Path, clients: int, runs: int, in_flight: int, kills: int
) -> None:
    fleet = await _crash(tmp_path, clients=clients, runs=runs, in_flight=in_flight, kills=kills)
    assert fleet.kills["client"] > 0
    async with engine_on(tmp_path / "home") as engine:
        await _verify(engine, fleet, tmp_path)
