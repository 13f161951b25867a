"""Databases that earlier states of Sluice have written, each with its own engine: all of them open, without loss.

`homes/STEP.db.zst` is a home whose last step of the schema was STEP: a trigger with invocations (two of them just asked
for), a job, a deployment with its workloads and history, plans, tokens, secrets, messages and the audit log, as far as
that state had them. A new step of the schema comes with a new one.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlite_utils
import zstandard

from core import errors
from core.store import upgrades
from core.store.database import open_database
from core.store.migrations import STEPS
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio

HOMES = sorted((Path(__file__).parent / "homes").glob("*.db.zst"))
FOLDED = {"_sqlite_migrations", "usage", "usage_counted", "home", "kv_clock", "kv_revision"}
"""What is counted or set anew, and no record of anything."""


def laid(fixture: Path, home: Path) -> Path:
    home.mkdir(mode=0o700)
    database = home / "sluice.db"
    database.write_bytes(zstandard.ZstdDecompressor().decompress(fixture.read_bytes()))
    database.chmod(0o600)
    return database


def counts(database: Path) -> dict[str, int]:
    """How many rows each table has."""
    with closing(sqlite3.connect(database)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found = {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}
        return {name: count for name, count in found.items() if count and name not in FOLDED}


def steps(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as db:
        return {step.name for step in STEPS.applied(sqlite_utils.Database(db))}


@pytest.mark.parametrize("fixture", HOMES, ids=lambda path: path.name.partition(".")[0])
async def test_a_home_of_every_earlier_schema_opens_without_loss(tmp_path: Path, fixture: Path) -> None:
    database = laid(fixture, tmp_path / "home")
    before, had = counts(database), steps(database)
    assert had <= {step.name for step in STEPS._migrations}
    opened = open_database(database)
    await opened.close()
    after = counts(database)
    assert {name: after.get(name, 0) for name in before} == before
    assert steps(database) == {step.name for step in STEPS._migrations}
    kept = list(database.parent.glob(f"{database.name}{upgrades.BEFORE}*"))
    if had == steps(database):  # of this state: there is nothing to go back to
        assert kept == []
        return
    assert len(kept) == 1 and counts(kept[0]) == before and steps(kept[0]) == had
    assert kept[0].stat().st_mode & 0o777 == 0o600


async def test_a_schema_of_which_there_is_no_home_opens_too(tmp_path: Path) -> None:
    """Steps that came together in one state, each alone: what a power cut within an upgrade leaves."""
    names = [step.name for step in STEPS._migrations]
    written = {fixture.name.partition(".")[0]: fixture for fixture in HOMES}
    base = HOMES[0]
    for number, name in enumerate(names[:-1]):
        if name in written:
            base = written[name]
            continue
        if names.index(base.name.partition(".")[0]) > number:
            continue  # older than the oldest home
        database = laid(base, tmp_path / name)
        with closing(sqlite3.connect(database, isolation_level=None)) as db:
            STEPS.apply(sqlite_utils.Database(db), stop_before=names[number + 1])
        before = counts(database)
        assert steps(database) == set(names[: number + 1])
        await open_database(database).close()
        after = counts(database)
        assert {name: after.get(name, 0) for name in before} == before
        assert steps(database) == set(names)


@pytest.mark.parametrize("fixture", [HOMES[0], HOMES[len(HOMES) // 2], HOMES[-1]], ids=lambda path: path.name[:5])
async def test_what_an_earlier_sluice_has_written_is_told_and_gone_on_with(tmp_path: Path, fixture: Path) -> None:
    database = laid(fixture, tmp_path / "home")
    with closing(sqlite3.connect(database)) as db:
        jobs = {name for (name,) in db.execute("SELECT DISTINCT name FROM jobs")}
        runs = db.execute("SELECT id, state, params FROM invocations ORDER BY id").fetchall()
        deployments = {name for (name,) in db.execute("SELECT name FROM deployments WHERE state <> 'removed'")}
    async with engine_on(tmp_path / "home", workers=0, adopt=True) as engine:
        assert engine.triggers.get("tenant-a", "smoke_trigger") is not None
        listed = (await engine.call("trigger_invocation_list", {"limit": 100}, ADMIN))["items"]
        assert len(listed) == len(runs) > 0
        for one in listed:
            detail = await engine.call("trigger_invocation_get", {"invocation_id": one["invocation_id"]}, ADMIN)
            assert detail["params"]["env"] in {json.loads(params)["env"] for _, _, params in runs}
        assert {one["name"] for one in (await engine.call("job_list", {}, ADMIN))["items"]} >= jobs
        assert {one["name"] for one in (await engine.call("deployment_list", {}, ADMIN))["items"]} >= deployments
        assert (await engine.call("token_list", {}, ADMIN))["items"]


async def test_a_database_is_not_migrated_without_room_for_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = laid(HOMES[-2], tmp_path / "home")
    had = steps(database)
    monkeypatch.setattr(upgrades, "SPARE_BYTES", 1 << 60)
    with pytest.raises(errors.StorageUnavailable, match="copied before it is brought up to date") as refused:
        open_database(database)
    assert "older Sluice runs on it as before" in refused.value.hint
    assert steps(database) == had and not list(database.parent.glob("*before*"))


async def test_the_last_copies_stay_and_a_newer_home_is_refused_with_the_way_back(tmp_path: Path) -> None:
    database = laid(HOMES[-2], tmp_path / "home")
    for number in (1, 2, 3):
        (database.parent / f"{database.name}{upgrades.BEFORE}m000{number}_x").touch()
    await open_database(database).close()
    assert len(list(database.parent.glob(f"*{upgrades.BEFORE}*"))) == upgrades.KEPT
    with closing(sqlite3.connect(database)) as db, db:
        db.execute(LATER)
    had = steps(database)
    with pytest.raises(errors.StorageUnavailable, match=r"newer Sluice \(it has m9999_later\)") as refused:
        open_database(database)
    assert "Upgrade sluice-mcp" in refused.value.hint and "upgrade.md" in refused.value.hint
    assert steps(database) == had


LATER = (
    "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
    " SELECT migration_set, 'm9999_later', applied_at FROM _sqlite_migrations LIMIT 1"
)
