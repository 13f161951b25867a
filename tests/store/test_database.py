"""The database: group commit, isolation of bad writes, bounded reads, and what a full disk does."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlite_utils

from core import errors
from core.store import migrations, stray_opens
from core.store.database import Database, open_database
from tests import waiting

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(tmp_path / "sluice.db")
    yield opened
    await opened.close()


def _make(db: sqlite_utils.Database) -> None:
    db.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY)")


def _put(db: sqlite_utils.Database, n: int) -> int:
    db.conn.execute("INSERT INTO t VALUES (?)", (n,))
    return n


def _all(db: sqlite_utils.Database) -> list[int]:
    return [row[0] for row in db.conn.execute("SELECT n FROM t ORDER BY n")]


async def test_it_is_durable_by_its_settings_and_private_by_its_mode(database: Database) -> None:
    def pragmas(db: sqlite_utils.Database) -> tuple[Any, ...]:
        return tuple(db.conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous"))

    assert await database.write(lambda db: db.conn.in_transaction) is True
    assert await database.read(pragmas) == ("wal", 2)
    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600


async def test_writes_of_one_tick_share_a_commit(database: Database) -> None:
    await database.write(_make)
    before = database.commits
    with anyio.fail_after(5):
        await asyncio.gather(*(database.write(_put, n) for n in range(200)))
    assert database.commits - before <= 2
    assert await database.read(_all) == list(range(200))


async def test_a_bad_write_fails_alone(database: Database) -> None:
    await database.write(_make)
    with anyio.fail_after(5):
        results = await asyncio.gather(*(database.write(_put, n) for n in (1, 2, 2, 3)), return_exceptions=True)
    assert [r for r in results if isinstance(r, int)] == [1, 2, 3]
    assert [type(r) for r in results if not isinstance(r, int)] == [sqlite3.IntegrityError]
    assert await database.read(_all) == [1, 2, 3]


async def test_nobody_is_told_of_a_write_before_another_connection_can_see_it(database: Database) -> None:
    await database.write(_make)
    for n in range(50):
        await database.write(_put, n)
        assert n in await database.read(_all)


async def test_a_reader_cannot_write(database: Database) -> None:
    await database.write(_make)
    with pytest.raises(errors.StorageUnavailable):
        await database.read(_put, 1)


async def test_a_read_that_takes_too_long_is_stopped(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.store.database.READ_DEADLINE_SECONDS", 0.05)
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    with anyio.fail_after(5), pytest.raises(errors.Busy):
        await database.read(lambda db: db.conn.execute(endless).fetchone())


async def test_a_full_disk_refuses_the_write_and_goes_on_when_there_is_room(database: Database) -> None:
    await database.write(_make)
    await database.write(_put, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(p.stat().st_size for p in database.path.parent.iterdir())
    blob = "x" * 200_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        with anyio.fail_after(5), pytest.raises(errors.StorageUnavailable):
            await database.write(lambda db: db.execute("CREATE TABLE big AS SELECT ? AS x", [blob]))
        assert await database.read(_all) == [1], "reads go on"
        assert "Free disk space" in database.unwritable
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with anyio.fail_after(10):  # nobody writes, and it finds out
        await waiting.until(lambda: not database.unwritable)
    await database.write(_put, 2)
    assert await database.read(_all) == [1, 2]


async def test_close_commits_what_was_submitted_and_then_refuses(tmp_path: Path) -> None:
    database = open_database(tmp_path / "sluice.db")
    await database.write(_make)
    write = asyncio.ensure_future(database.write(_put, 7))
    await waiting.begun(write)
    await database.close()
    await database.close()
    assert await write == 7
    with pytest.raises(errors.StorageUnavailable):
        await database.write(_put, 8)


async def test_code_of_the_owner_cannot_open_the_database_by_name(database: Database) -> None:
    for name in ("sluice.db", "sluice.db-wal", "sluice.db-shm"):
        path = database.path.parent / name
        with pytest.raises(stray_opens.DatabaseOpenedByName):
            path.read_bytes()
        with pytest.raises(stray_opens.DatabaseOpenedByName):
            os.open(path, os.O_RDONLY)


def _descriptor_of(file: Path) -> Path:
    return next(fd for fd in Path("/proc/self/fd").iterdir() if fd.exists() and fd.resolve() == file)


async def test_no_other_name_of_the_database_opens_it_either(database: Database, tmp_path: Path) -> None:
    await database.write(_make)
    (tmp_path / "elsewhere").mkdir()
    for suffix in ("", "-wal", "-shm"):
        file = database.path.with_name(database.path.name + suffix)
        hard, soft = tmp_path / "elsewhere" / f"hard{suffix}", tmp_path / "elsewhere" / f"soft{suffix}"
        hard.hardlink_to(file)
        soft.symlink_to(file)
        for name in (hard, soft, _descriptor_of(file)):
            with pytest.raises(stray_opens.DatabaseOpenedByName):
                os.open(name, os.O_RDONLY)
            with pytest.raises(stray_opens.DatabaseOpenedByName):
                shutil.copy(name, tmp_path / "copy")
    (tmp_path / "elsewhere" / "mine").write_text("other files are nobody's business")
    assert await database.read(_all) == []


async def test_a_database_of_a_newer_sluice_is_refused_without_a_write(tmp_path: Path) -> None:
    path = tmp_path / "sluice.db"
    await open_database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('sluice', 'm9999_future', 'x')"
        )
    connection.close()
    digest = path.read_bytes()
    with pytest.raises(errors.StorageUnavailable, match="newer Sluice"):
        open_database(path)
    assert path.read_bytes() == digest


def test_a_file_that_is_no_database_is_left_closed(tmp_path: Path) -> None:
    path = tmp_path / "sluice.db"
    path.write_bytes(b"no database" * 1_000)
    with pytest.raises(errors.StorageUnavailable, match="cannot be opened") as caught:
        open_database(path)
    assert caught.value.__traceback__ is not None, "what a traceback holds is not ended by being forgotten"
    held = [file.readlink() for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    assert path not in held


def test_migrations_are_numbered_without_gaps() -> None:
    names = [step.name for step in migrations.STEPS._migrations]
    assert [name[:5] for name in names] == [f"m{n:04d}" for n in range(1, len(names) + 1)]


def test_the_record_of_migrations_is_made_at_once_and_mended_where_a_power_cut_took_its_index() -> None:
    def no_index(action: int, *_: str | None) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_CREATE_INDEX else sqlite3.SQLITE_OK

    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        db = sqlite_utils.Database(connection)
        connection.set_authorizer(no_index)
        with pytest.raises(sqlite3.DatabaseError):
            migrations.migrate(db)
        assert db.table_names() == [], "the table is not there without its index"
        connection.set_authorizer(None)
        migrations.migrate(db)
        record = db.table(migrations.STEPS.migrations_table)
        (index,) = record.indexes
        db.execute(f"DROP INDEX {index.name}")  # as an older Sluice could leave it
        migrations.migrate(db)
        assert record.indexes[0].columns == ["migration_set", "name"] and record.indexes[0].unique


async def test_a_caller_whose_callback_fails_does_not_silence_its_neighbours(database: Database) -> None:
    await database.write(_make)
    told: list[int] = []
    faults: list[str] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: faults.append(context["message"]))
    try:
        database.submit(lambda *_: 1 / 0, _put, 1)  # type: ignore[arg-type, return-value]
        database.submit(lambda result, error: told.append(result), _put, 2)
        await database.write(_put, 3)
    finally:
        loop.set_exception_handler(before)
    assert told == [2]
    assert faults == ["the callback of a write failed"]
