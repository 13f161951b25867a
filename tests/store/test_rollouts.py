"""The step m0006: deployments that an older Sluice applied go on, and so do applies that were under way."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.engines import ADMIN, engine_on
from tests.operations.test_deployments import deployed, get, plan

pytestmark = pytest.mark.anyio


async def test_an_apply_that_an_older_sluice_left_under_way_comes_to_its_end(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, tmp_path / "store")
        await plan(engine, tmp_path / "other")
    with sqlite3.connect(tmp_path / "home" / "sluice.db") as older:
        older.execute("ALTER TABLE deployments DROP COLUMN gate")
        older.execute("ALTER TABLE deployment_history DROP COLUMN reason")
        older.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0006_rollouts'")
        older.execute("UPDATE deployments SET state = 'applying'")
    older.close()
    async with engine_on(tmp_path / "home") as engine:
        with anyio.fail_after(40):
            await engine.rollouts.reached(ADMIN.tenant, "demo", 30)
        assert (await get(engine))["state"] == "running"
        found = await engine.call("deployment_history", {"name": "demo"}, ADMIN)
        assert [(row["revision"], row["reason"]) for row in found["items"]][-1] == (1, "")
        stored: list[dict[str, Any]] = await engine.database.read(
            lambda db: list(db.query("SELECT * FROM deployments"))
        )
        assert (stored[0]["state"], stored[0]["gate"]) == ("running", "")
        assert (await engine.call("plan_list", {}, ADMIN))["total"] == 2
