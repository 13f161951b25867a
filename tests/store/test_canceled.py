"""The step m0031: a database from before runs could be canceled."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.engines import ADMIN, engine_on
from tests.triggers.rig import FILTER, JOB, Rig

pytestmark = pytest.mark.anyio


async def test_a_database_from_before_lists_the_runs_that_are_canceled(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        await Rig(engine).publish()
    with sqlite3.connect(tmp_path / "home" / "sluice.db") as older:
        older.execute("DROP INDEX invocations_bad")
        bad = "state IN ('failed', 'timed_out')"
        older.execute(f"CREATE INDEX invocations_bad ON invocations (tenant, id) WHERE {bad}")
        older.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0031_canceled'")
    older.close()
    async with engine_on(tmp_path / "home", workers=0) as engine:
        rig = Rig(engine)
        engine.bus.declare(("tenant-a", JOB), FILTER)
        record = await rig.invoke()
        await engine.call("trigger_invocation_cancel", {"invocation_id": record["invocation_id"]}, ADMIN)
        listed = await engine.call("trigger_invocation_list", {"state": "canceled"}, ADMIN)
        assert [one["invocation_id"] for one in listed["items"]] == [record["invocation_id"]]
