"""The step m0027: a database from before the reasons of people were kept."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.engines import ADMIN, engine_on
from tests.operations.test_deployments import apply, plan

pytestmark = pytest.mark.anyio


async def test_a_database_from_before_keeps_its_history_and_takes_reasons(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await apply(engine, await plan(engine, tmp_path / "store"), wait_seconds=0)
    with sqlite3.connect(tmp_path / "home" / "sluice.db") as older:
        older.execute("ALTER TABLE audit DROP COLUMN reason")
        older.execute("ALTER TABLE deployment_history DROP COLUMN to_revision")
        older.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0027_reasons'")
    older.close()
    async with engine_on(tmp_path / "home") as engine:
        await apply(engine, await plan(engine, tmp_path / "other"), wait_seconds=0, reason="a new disk")
        listed = await engine.call("deployment_history", {"name": "demo"}, ADMIN)
        assert [(row["revision"], row["reason"], row["to_revision"]) for row in listed["items"]] == [
            (2, "a new disk", None),
            (1, "", None),
        ]
        audit = await engine.call("audit_list", {"operation": "deployment_apply"}, ADMIN)
        assert [row["reason"] for row in audit["items"]] == ["a new disk", ""]
