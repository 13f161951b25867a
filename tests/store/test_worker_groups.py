"""Worker groups in the store, and how a database from before them is brought up to date."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlite_utils

from core import errors
from core.model.principal import SYSTEM
from core.model.worker_group import WorkerGroup, WorkerSetting
from core.store import audit, deployments, worker_groups
from core.store.database import open_database

pytestmark = pytest.mark.anyio
NOTE = audit.row(1, SYSTEM, "x", "")


async def test_a_database_from_before_groups_gets_the_default_group_and_deployments_that_keep_themselves(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sluice.db"
    first = open_database(path)
    await first.close()
    older = sqlite_utils.Database(path)
    with older.conn:
        for statement in (
            "DROP TABLE worker_groups",
            "DROP TABLE workers",
            "ALTER TABLE deployments DROP COLUMN reconcile",
            "ALTER TABLE deployments DROP COLUMN reconcile_interval_seconds",
            "ALTER TABLE deployments DROP COLUMN ignored",
            "DELETE FROM _sqlite_migrations WHERE name = 'm0007_groups_and_reconcile'",
            "DELETE FROM _sqlite_migrations WHERE name LIKE '%_admitted_tenants'",
            "INSERT INTO deployments"
            " (tenant, name, revision, state, reason, source, desired, updated_at_ns, updated_by)"
            " VALUES ('t', 'd', 1, 'running', '', 's', '{}', 1, 'a')",
        ):
            older.conn.execute(statement)
    older.conn.close()
    database = open_database(path)
    try:
        assert await database.read(worker_groups.groups) == [WorkerGroup("default")]
        assert await database.read(worker_groups.workers) == []
        row = await database.read(deployments.get, "t", "d")
        assert row is not None
        assert (row.reconcile, row.reconcile_interval_seconds, row.ignored) == ("auto", None, [])
    finally:
        await database.close()


async def test_a_group_that_has_workers_of_other_machines_goes_on_admitting_who_uses_it(tmp_path: Path) -> None:
    path = tmp_path / "sluice.db"
    await open_database(path).close()
    older = sqlite_utils.Database(path)
    with older.conn:
        for statement in (
            "ALTER TABLE worker_groups DROP COLUMN tenants",
            "DELETE FROM _sqlite_migrations WHERE name LIKE '%_admitted_tenants'",
            "INSERT INTO worker_groups VALUES ('edge', NULL, '[]', 1, 'a'), ('idle', NULL, '[]', 1, 'a'),"
            " ('local', NULL, '[]', 1, 'a')",
            "INSERT INTO external_workers VALUES ('e1', 'edge', 64, 1), ('e2', 'local', 64, 1)",
            "INSERT INTO workers VALUES ('e2', 'idle', '[]', 0, 1, 'a')",
        ):
            older.conn.execute(statement)
        for tenant, group in (("b", "edge"), ("a", "edge"), ("a", "local")):
            row = {"id": f"{tenant}/{group}#0", "tenant": tenant, "job": group, "group_name": group, "worker": "e1"}
            filled = {column.name: 0 if column.type == "INTEGER" else "" for column in older.table("workloads").columns}
            older.table("workloads").insert({**filled, **row})
    older.conn.close()
    database = open_database(path)
    try:
        found = {group.name: group.tenants for group in await database.read(worker_groups.groups)}
        assert found == {"default": ("*",), "edge": ("a", "b"), "idle": (), "local": ("*",)}
        kept = WorkerGroup("edge", None, (), ("a",))
        with pytest.raises(errors.AlreadyExists, match="runs jobs of b"):
            await database.write(worker_groups.update, "edge", kept, [], 1, "a", NOTE)
    finally:
        await database.close()


async def test_what_is_said_about_groups_and_workers_is_kept(tmp_path: Path) -> None:
    database = open_database(tmp_path / "sluice.db")
    try:
        group = WorkerGroup("etl", 3, ("zone=eu",))
        await database.write(worker_groups.create, group, 1, "a", NOTE)
        said = WorkerSetting("local-1", "etl", ("gpu",), True)
        await database.write(worker_groups.set_worker, said, 1, "a", (2, *NOTE[1:]))
        assert await database.read(worker_groups.groups) == [WorkerGroup("default"), group]
        assert await database.read(worker_groups.workers) == [said]
        with pytest.raises(errors.AlreadyExists):
            await database.write(worker_groups.delete, "etl", (3, *NOTE[1:]))
        await database.write(
            worker_groups.update, "etl", WorkerGroup("new"), ["local-1", "local-2"], 2, "a", (4, *NOTE[1:])
        )
        assert await database.read(worker_groups.workers) == [
            WorkerSetting("local-1", "new", ("gpu",), True),
            WorkerSetting("local-2", "new"),
        ]
        for name in ("etl", "none"):
            with pytest.raises(errors.NotFound):
                await database.write(worker_groups.delete, name, (5, *NOTE[1:]))
    finally:
        await database.close()
