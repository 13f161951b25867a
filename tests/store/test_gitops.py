"""GitOps in the store: one run at a time in a scope, dead runs, owners; an older database gets the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core import errors
from core.model.principal import Caller, Principal, Role
from core.model.states import GitopsRunState
from core.store import audit, gitops
from core.store.database import Database, open_database

pytestmark = pytest.mark.anyio
CALLER = Caller(Principal("alice", Role.ADMIN), "t")
DEV, PROD = ("t", "dev", "default"), ("t", "prod", "default")
SAID = {"action": "create", "kind": "job", "name": "j", "state": "done", "message": ""}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(tmp_path / "sluice.db")
    yield opened
    await opened.close()


def run(id: str, at_ns: int = 1, environment: str = "dev") -> dict[str, Any]:
    return {
        "id": id,
        "tenant": "t",
        "environment": environment,
        "manifest": "default",
        "action": "apply",
        "state": "running",
        "commit_sha": "",
        "source": {},
        "approval": {},
        "username": "alice",
        "surface": "cli",
        "started_at_ns": at_ns,
        "finished_at_ns": None,
        "summary": {},
        "reason": "",
    }


async def begin(database: Database, id: str, *, alive: tuple[str, ...] = (), **more: Any) -> None:
    row = run(id, **more)
    note = audit.row(int(id[1:]), CALLER, "gitops_apply", "t/dev")
    await database.write(gitops.begin, row, [{"kind": "job"}], frozenset(alive), note)


async def test_a_scope_has_one_run_at_a_time(database: Database) -> None:
    await begin(database, "r1")
    with pytest.raises(errors.Busy, match="Run r1"):
        await begin(database, "r2", alive=("r1",))
    await begin(database, "r3", alive=("r1",), environment="prod")
    await database.write(gitops.finish, "r1", GitopsRunState.SUCCEEDED, 5, {"create": 1}, "")
    await begin(database, "r4", alive=("r3",), at_ns=6)
    rows = await database.read(gitops.runs, "t", "dev")
    assert [(row["id"], row["state"]) for row in rows] == [("r4", "running"), ("r1", "succeeded")]
    assert await database.read(gitops.body, "r1") == [{"kind": "job"}]


async def test_a_run_whose_engine_is_gone_is_put_down_as_interrupted(database: Database) -> None:
    await begin(database, "r1")
    await begin(database, "r2", at_ns=2)
    row = await database.read(gitops.run, "r1")
    assert row is not None
    assert (row["state"], row["finished_at_ns"]) == ("interrupted", 2)
    assert "apply again" in row["reason"]
    with pytest.raises(errors.Internal):
        await database.write(gitops.finish, "r1", GitopsRunState.SUCCEEDED, 3, {}, "")


async def test_the_oldest_runs_go_with_their_events(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gitops, "KEPT_RUNS", 2)
    for number in range(1, 5):
        await begin(database, f"r{number}", at_ns=number)
        await database.write(gitops.event, f"r{number}", number, SAID)
        await database.write(gitops.event, f"r{number}", number, SAID)
    assert [row["id"] for row in await database.read(gitops.runs, "t")] == ["r4", "r3"]
    assert await database.read(gitops.events, "r1") == []
    assert [event["seq"] for event in await database.read(gitops.events, "r4")] == [1, 2]


async def owners(database: Database) -> list[tuple[str, str, int]]:
    rows = await database.read(gitops.items, "t")
    return sorted((row["environment"], row["name"], row["created"]) for row in rows)


async def own(database: Database, label: tuple[str, str, str], name: str, *, created: bool) -> None:
    await database.write(lambda db: gitops.own(db, label, [("job", name)], created=created, run_id="r"))


async def test_who_created_a_thing_stays_its_creator_until_it_lets_go(database: Database) -> None:
    await own(database, DEV, "a", created=True)
    await own(database, DEV, "a", created=False)
    await own(database, PROD, "a", created=False)
    await own(database, DEV, "b", created=False)
    assert await owners(database) == [("dev", "a", 1), ("dev", "b", 0), ("prod", "a", 0)]
    await database.write(gitops.disown, DEV, [("job", "a"), ("job", "b"), ("job", "none")])
    assert await owners(database) == [("prod", "a", 1)]
    await database.write(gitops.disown, PROD, [("job", "a")])
    assert await owners(database) == []


async def test_what_was_only_named_passes_to_nobody(database: Database) -> None:
    await own(database, DEV, "a", created=False)
    await own(database, PROD, "a", created=False)
    await database.write(gitops.disown, DEV, [("job", "a")])
    assert await owners(database) == [("prod", "a", 0)]


async def test_an_older_database_gets_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "sluice.db"
    await open_database(path).close()
    with sqlite3.connect(path) as older:  # as it was before the step
        for table in ("gitops_runs", "gitops_events", "gitops_items"):
            older.execute(f"DROP TABLE {table}")
        older.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0008_gitops'")
    older.close()
    database = open_database(path)
    await begin(database, "r1")
    assert len(await database.read(gitops.runs, "t")) == 1
    await database.close()
