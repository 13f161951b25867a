"""The wall clock of a running `sluice serve` is set, as by NTP, an operator or an attacker with faketime(1)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import clock
from mcp_server.cli import stage
from tests import waiting
from tests.engines import EXAMPLES

pytestmark = pytest.mark.anyio

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("**/faketime/libfaketime.so.1"))), None)
NEEDS_FAKETIME = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (Debian package faketime)")
TENANT = {"tenant": "tenant-a"}
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


@pytest.fixture
def wall(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@asynccontextmanager
async def running(home: Path, wall: Clock, workers: int) -> AsyncIterator[stage.Stage]:
    """`sluice serve` under that clock."""
    made = stage.Stage(home, **wall.environment())
    with anyio.fail_after(90):
        try:
            await made.start(workers)
            yield made
        finally:
            await made.stop()


@pytest.fixture
async def server(tmp_path: Path, wall: Clock) -> AsyncIterator[stage.Stage]:
    async with running(tmp_path / "home", wall, workers=1) as made:
        yield made


async def deploy(server: stage.Stage, document: str) -> None:
    name = document.split()[1]
    await server.must("POST", "/api/jobs", **TENANT, document=document)
    await server.must("POST", f"/api/jobs/{name}/deploy", **TENANT)


async def queue(server: stage.Stage, namespace: str = "jobs") -> dict[str, Any]:
    return await server.must("GET", f"/api/kv/queue?namespace={namespace}", **TENANT)


async def there(server: stage.Stage, key: str) -> bool:
    return not (await server.http("GET", f"/api/kv/value?namespace=locks&key={key}", **TENANT)).code


async def free(server: stage.Stage) -> bool:
    return not await there(server, "lock")


@NEEDS_FAKETIME
@pytest.mark.parametrize("offset", ["-1d", pytest.param("+49h", marks=pytest.mark.soak)])
async def test_locks_and_leases_last_as_long_as_they_were_to_last(
    server: stage.Stage, wall: Clock, offset: str
) -> None:
    async def leased() -> bool:
        return bool((await queue(server))["leased"])

    async def dead() -> bool:
        return bool((await queue(server))["dead"])

    await deploy(server, TAKER)
    lease_begins = clock.monotonic()  # at the earliest; and at the latest when it is seen
    await deploy(server, GIVER)
    await waiting.until(leased)
    lock_begins = clock.monotonic()
    lock = {"namespace": "locks", "key": "lock", "value": "me", "ttl_ms": LENGTH_MS}
    await server.must("POST", "/api/kv/set", **TENANT, **lock)
    wall.set(offset)
    set_at = clock.monotonic()
    await waiting.until(dead)
    assert clock.monotonic() - lease_begins >= LENGTH_MS / 1000
    await waiting.until(lambda: free(server))
    assert clock.monotonic() - lock_begins >= LENGTH_MS / 1000
    assert clock.monotonic() - set_at < LENGTH_MS / 1000 + 5


@NEEDS_FAKETIME
async def test_no_lock_outlives_a_restart_by_more_than_its_length(tmp_path: Path, wall: Clock) -> None:
    lock = {"namespace": "locks", "key": "lock", "value": "me", "ttl_ms": LENGTH_MS}
    wall.set("+49h")
    async with running(tmp_path / "home", wall, workers=0) as server:
        await server.must("POST", "/api/kv/set", **TENANT, **lock)
    wall.set("-1d")
    async with running(tmp_path / "home", wall, workers=0) as server:
        begun = clock.monotonic()
        await waiting.until(lambda: free(server))
        assert clock.monotonic() - begun < LENGTH_MS / 1000 + 1


@NEEDS_FAKETIME
async def test_runs_and_schedules_go_on_while_the_clock_jumps(server: stage.Stage, wall: Clock) -> None:
    """P9: no worker is taken for lost, no run is handed out twice or timed out, no tick of an interval is left out."""
    await deploy(server, (EXAMPLES / "smoke_trigger_handler.yaml").read_text())
    await deploy(server, TICKER)
    await server.must("POST", "/api/triggers/publish", **TENANT, **TRIGGER)
    begun = clock.monotonic()
    before = (await queue(server, "ticks"))["depth"]
    jumps = ("-1h", "+1h", "-1d", "+1d", "+49h", "-49h", "+30d", "+0")
    for number in range(3 * len(jumps)):
        wall.set(jumps[number % len(jumps)])
        body = {"params": {"env": "x"}, "idempotency_key": f"k{number}", "wait_timeout_seconds": 10}
        run = await server.must("POST", "/api/triggers/smoke_trigger/invoke", **TENANT, **body)
        assert (run["state"], run["attempts"]) == ("succeeded", 1), run
    ticks = (await queue(server, "ticks"))["depth"] - before
    due = (clock.monotonic() - begun) / 0.5
    assert due / 3 - 3 <= ticks <= due + 3, f"{ticks} ticks of {due:.0f}"
    workers = (await server.must("GET", "/api/workers", **TENANT))["items"]
    assert [worker["state"] for worker in workers] == ["online"]
    log = (server.home.parent / "serve.log").read_text()
    assert "worker_lost" not in log
