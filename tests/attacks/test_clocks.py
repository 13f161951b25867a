"""The wall clock of a running `sluice serve` is set, as by NTP, an operator or an attacker with faketime(1)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import clock
from mcp_server.cli import stage
from tests import figures, forkserver, waiting
from tests.engines import EXAMPLES

pytestmark = pytest.mark.anyio

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("**/faketime/libfaketime.so.1"))), None)
NEEDS_FAKETIME = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (Debian package faketime)")
TENANT = "tenant-a"
TRIGGER = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
LENGTH_MS = 3_000
TAKER = f"""
name: taker
input:
  worker-kv:
    namespace: jobs
    operation: {{pop-batch: {{size: 1, lease-ms: {LENGTH_MS}, max-attempts: 1, ack: manual}}}}
output: {{discard: {{}}}}
"""
GIVER = """
name: giver
input: {echo: {event: work}}
actions:
  - worker-kv: {namespace: jobs, operation: push}
output: {discard: {}}
"""
TICKER = """
name: ticker
input: {echo: {event: tick, trigger: {interval: {duration: 500ms}}}}
actions:
  - worker-kv: {namespace: ticks, operation: push}
output: {discard: {}}
"""


class Clock:
    """The wall clock of the server, which reads it anew each time that it is asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set("+0")

    def set(self, offset: str) -> None:
        """`offset` as faketime(1) takes it: +0, -1d, +49h."""
        new = self._path.with_suffix(".new")
        new.write_text(offset + "\n")
        new.replace(self._path)

    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@asynccontextmanager
async def running(home: Path, wall: Clock, workers: int) -> AsyncIterator[stage.Stage]:
    """`sluice serve` under that clock."""
    made = stage.Stage(home, **wall.environment())
    try:
        with anyio.fail_after(60):
            await made.start(workers)
        yield made
    finally:
        with anyio.fail_after(30, shield=True):
            await made.stop()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clock]:
    """The clock of all servers of this file, which are forked from a process that has it."""
    made = Clock(tmp_path_factory.mktemp("wall") / "clock")
    with forkserver.beginning_with(made.environment()):
        yield made


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, wall: Clock) -> AsyncIterator[stage.Stage]:
    """A server that tests share, each with a tenant of its own."""
    async with running(tmp_path_factory.mktemp("served") / "home", wall, workers=1) as server:
        yield server


async def deploy(server: stage.Stage, document: str, tenant: str) -> None:
    name = document.split()[1]
    await server.must("POST", "/api/jobs", tenant, document=document)
    await server.must("POST", f"/api/jobs/{name}/deploy", tenant)


async def queue(server: stage.Stage, tenant: str, namespace: str) -> dict[str, Any]:
    return await server.must("GET", f"/api/kv/queue?namespace={namespace}", tenant)


async def free(server: stage.Stage, tenant: str) -> bool:
    return bool((await server.http("GET", "/api/kv/value?namespace=locks&key=lock", tenant)).code)


@NEEDS_FAKETIME
@pytest.mark.parametrize("offset", ["-1d", pytest.param("+49h", marks=pytest.mark.soak)])
async def test_locks_and_leases_last_as_long_as_they_were_to_last(
    served: stage.Stage, wall: Clock, offset: str
) -> None:
    wall.set("+0")
    tenant = f"clock{offset[1:]}"

    async def leased() -> bool:
        return bool((await queue(served, tenant, "jobs"))["leased"])

    async def dead() -> bool:
        return bool((await queue(served, tenant, "jobs"))["dead"])

    await deploy(served, TAKER, tenant)
    lease_begins = clock.monotonic()  # at the earliest; and at the latest when it is seen
    await deploy(served, GIVER, tenant)
    await waiting.until(leased)
    lock_begins = clock.monotonic()
    lock = {"namespace": "locks", "key": "lock", "value": "me", "ttl_ms": LENGTH_MS}
    await served.must("POST", "/api/kv/set", tenant, **lock)
    wall.set(offset)
    set_at = clock.monotonic()
    await waiting.until(dead)
    assert clock.monotonic() - lease_begins >= LENGTH_MS / 1000
    await waiting.until(lambda: free(served, tenant))
    assert clock.monotonic() - lock_begins >= LENGTH_MS / 1000
    assert clock.monotonic() - set_at < LENGTH_MS / 1000 + 5


@NEEDS_FAKETIME
async def test_no_lock_outlives_a_restart_by_more_than_its_length(tmp_path: Path, wall: Clock) -> None:
    lock = {"namespace": "locks", "key": "lock", "value": "me", "ttl_ms": LENGTH_MS}
    wall.set("+49h")
    async with running(tmp_path / "home", wall, workers=0) as server:
        await server.must("POST", "/api/kv/set", TENANT, **lock)
    wall.set("-1d")
    async with running(tmp_path / "home", wall, workers=0) as server:
        begun = clock.monotonic()
        await waiting.until(lambda: free(server, TENANT))
        assert clock.monotonic() - begun < LENGTH_MS / 1000 + 1


@NEEDS_FAKETIME
@pytest.mark.parametrize("rounds", [1, pytest.param(100, marks=pytest.mark.soak)])
async def test_runs_and_schedules_go_on_while_the_clock_jumps(
    served: stage.Stage, wall: Clock, rounds: int, record_property: figures.Recorder
) -> None:
    """P9: no worker is taken for lost, no run is handed out twice or timed out, no tick of an interval is left out."""
    await deploy(served, (EXAMPLES / "smoke_trigger_handler.yaml").read_text(), TENANT)
    await deploy(served, TICKER, TENANT)
    await served.must("POST", "/api/triggers/publish", TENANT, **TRIGGER)
    begun = clock.monotonic()
    before = (await queue(served, TENANT, "ticks"))["depth"]
    jumps = ("-1h", "+1h", "-1d", "+1d", "+49h", "-49h", "+30d", "+0")
    for number in range(rounds * len(jumps)):
        wall.set(jumps[number % len(jumps)])
        body = {"params": {"env": "x"}, "idempotency_key": f"{rounds}-{number}", "wait_timeout_seconds": 10}
        run = await served.must("POST", "/api/triggers/smoke_trigger/invoke", TENANT, **body)
        assert (run["state"], run["attempts"]) == ("succeeded", 1), run
    figures.record(record_property, rounds=rounds, runs=rounds * len(jumps))
    ticks = (await queue(served, TENANT, "ticks"))["depth"] - before
    due = (clock.monotonic() - begun) / 0.5
    assert due / 3 - 3 <= ticks <= due + 3, f"{ticks} ticks of {due:.0f}"
    workers = (await served.must("GET", "/api/workers", TENANT))["items"]
    assert [worker["state"] for worker in workers] == ["online"]
    log = (served.home.parent / "serve.log").read_text()
    assert "worker_lost" not in log
