"""A rate limit holds for a user over all processes and doors together, also while the wall clock jumps."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from core import clock
from tests import figures
from tests.attacks.rig import Target, target
from tests.engines import ADMIN

pytestmark = pytest.mark.anyio

CLIENT = Path(__file__).with_name("limit_client.py")
PER_USER, PER_SECONDS = 12, 1
USER = "ada"  # the user behind the rig's token `admin`
DAY_NS = 86_400 * clock.NANOSECONDS
DEFINITION = {
    "slug": "limited",
    "tenant_id": "tenant-a",
    "target_job_name": "none",
    "publication": {"mcp": True},
    "invoke_policy": {"rate_limit": {"per_user": PER_USER, "per_seconds": PER_SECONDS}},
}


@dataclass
class Clients:
    """Processes of one user, and what they have been told so far."""

    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    accepted: list[tuple[float, float]] = field(default_factory=list)  # began, ended
    told: Counter[tuple[str, str]] = field(default_factory=Counter)  # (door, answer)
    readers: list[asyncio.Task[None]] = field(default_factory=list)
    news: anyio.Event = field(default_factory=anyio.Event)

    async def start(self, door: str, where: str, who: str) -> None:
        """Start a client, and wait for its first answer."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(CLIENT), door, where, who), stdout=subprocess.PIPE
        )
        self.processes.append(process)
        before = self._answers(door)
        self.readers.append(asyncio.create_task(self._read(door, process)))
        while self._answers(door) == before:
            await self.news.wait()

    def _answers(self, door: str) -> int:
        return sum(count for (name, _), count in self.told.items() if name == door)

    async def _read(self, door: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            began, ended, answer = line.decode().split()
            self.told[door, answer] += 1
            if answer == "accepted":
                self.accepted.append((float(began), float(ended)))
            self.news.set()
            self.news = anyio.Event()

    async def until_accepted(self, count: int) -> None:
        while len(self.accepted) < count:
            await self.news.wait()

    async def stop(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
        await asyncio.gather(*self.readers)


async def _storm(server: Target, patch: pytest.MonkeyPatch, rounds: int, runs: int) -> Clients:
    """Until so many more runs are accepted in each round, which begins with a jump of the clock."""
    clients = Clients()
    real = clock.now_ns
    try:
        # The slow doors first, so that each of them is let in before the fast ones use up every window.
        await clients.start("cli", str(server.home), USER)
        await clients.start("mcp", str(server.home), USER)
        for _ in range(2):
            await clients.start("http", server.url, server.tokens["admin"])
        for round in range(rounds):
            jump = (1, -1, 0)[round % 3] * DAY_NS
            patch.setattr(clock, "now_ns", lambda jump=jump: real() + jump)
            await clients.until_accepted(len(clients.accepted) + runs)
    finally:
        patch.setattr(clock, "now_ns", real)
        await clients.stop()
    return clients


@pytest.mark.parametrize(
    ("rounds", "runs"),
    [pytest.param(3, PER_USER, id="ci"), pytest.param(90, 2 * PER_USER, id="full", marks=pytest.mark.soak)],
)
async def test_a_user_is_limited_over_all_processes_and_doors_while_the_clock_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int, runs: int, record_property: figures.Recorder
) -> None:
    async with target(tmp_path / "home") as server:
        await server.engine.call("trigger_publish", DEFINITION, ADMIN)
        with anyio.fail_after(120 + 10 * rounds):
            clients = await _storm(server, monkeypatch, rounds, runs)
        users = set(server.rows("SELECT DISTINCT username FROM invocations WHERE slug = 'limited'"))
        surfaces = set(server.rows("SELECT DISTINCT surface FROM invocations WHERE slug = 'limited'"))
        recorded = server.rows("SELECT count(*) FROM invocations WHERE slug = 'limited'")[0]
    figures.record(record_property, rounds=rounds, requests=clients.told.total(), runs=recorded)
    assert users == {USER} and surfaces == {"cli", "mcp", "http"}
    assert {answer for _, answer in clients.told} == {"accepted", "rate_limited"}
    for door in ("http", "mcp"):
        assert clients.told[door, "rate_limited"] > 0
    # A call that was cut off by the end of its process may be recorded, and its answer was read by nobody.
    assert len(clients.accepted) <= recorded <= len(clients.accepted) + len(clients.processes)
    # A run was accepted at some moment between the beginning and the end of its call.
    for first, _ in clients.accepted:
        within = [1 for began, ended in clients.accepted if first <= began and ended <= first + PER_SECONDS]
        assert len(within) <= PER_USER
