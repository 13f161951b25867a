"""The step m0022: a database from before ends of workers were kept."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from core.clock import NANOSECONDS
from core.store import deaths
from core.store.deaths import DeathRow
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio
JOB = "name: kept\ninput: {echo: {event: x, trigger: {interval: 1h}}}\noutput: {discard: {}}"


async def test_a_database_from_before_keeps_its_workloads_and_takes_deaths(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, JOB)
    with sqlite3.connect(tmp_path / "home" / "sluice.db") as older:
        older.execute("DROP TABLE worker_deaths")
        older.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0022_worker_deaths'")
    older.close()
    async with engine_on(tmp_path / "home") as engine:
        assert engine.fleet.wants("tenant-a/kept#0")
        old = DeathRow(0, *["x"] * 6)
        new = DeathRow(2 * NANOSECONDS, "tenant-a", "kept", "1", "tenant-a/kept#0", "local-1", "silent")
        for death in (old, new):
            await engine.database.write(deaths.record, death, NANOSECONDS, "", None)
        assert await engine.database.read(deaths.since, 0) == [new]
        await engine.database.write(deaths.release, ADMIN.tenant, ["kept"], 1, None)
        assert await engine.database.read(deaths.since, 0) == []
