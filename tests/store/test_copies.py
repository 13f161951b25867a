"""The copy of a database that is written to: whole, of its end, and finished whatever the writers do."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core import errors
from core.store import copies, inspection
from core.store.database import Database, open_database
from tests import waiting

pytestmark = pytest.mark.anyio


async def filled(tmp_path: Path) -> Database:
    database = open_database(tmp_path / "sluice.db")
    await database.write(lambda db: db.conn.execute("CREATE TABLE marks (n INTEGER)"))
    filling = "CREATE TABLE filling AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
    await database.write(lambda db: db.conn.execute(f"{filling} SELECT randomblob(8000) FROM n"))
    return database


def mark(db: Any, number: int) -> None:
    db.conn.execute("INSERT INTO marks VALUES (?)", (number,))


def fail(db: Any) -> None:
    mark(db, -1)
    raise errors.AlreadyExists()


async def test_the_copy_is_the_database_of_its_end(tmp_path: Path) -> None:
    database = await filled(tmp_path)
    written = 0
    at_end = []
    copying = asyncio.create_task(database.copy(tmp_path / "copy.db", lambda: at_end.append(written)))
    while not copying.done():
        await database.write(mark, written)
        written += 1
    await copying
    await database.close()
    assert inspection.fault_of(tmp_path / "copy.db") == ""
    with closing(sqlite3.connect(tmp_path / "copy.db")) as db:
        marks = [n for (n,) in db.execute("SELECT n FROM marks ORDER BY rowid")]
    assert written > 5 and marks == list(range(len(marks)))
    assert 0 <= len(marks) - at_end[0] <= 1  # one may be committed, and not told of yet


async def test_writes_that_fail_make_it_begin_anew_and_do_not_keep_it_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await filled(tmp_path)
    restarts = []
    stepped = copies._Course.stepped

    def counted(self: copies._Course, remaining: int) -> float | None:
        told = stepped(self, remaining)
        restarts.append(self._restarts)
        return told

    monkeypatch.setattr(copies._Course, "stepped", counted)
    copying = asyncio.create_task(database.copy(tmp_path / "copy.db", lambda: None))
    async with asyncio.timeout(waiting.SECONDS):
        while not copying.done():
            with pytest.raises(errors.AlreadyExists):
                await database.write(fail)
    await copying
    await database.close()
    assert max(restarts) > 1
    assert inspection.fault_of(tmp_path / "copy.db") == ""
    with closing(sqlite3.connect(tmp_path / "copy.db")) as db:
        assert db.execute("SELECT count(*) FROM marks").fetchone() == (0,)


async def test_a_copy_ends_with_the_engine_or_with_who_wanted_it_and_leaves_nothing(tmp_path: Path) -> None:
    database = await filled(tmp_path)
    copying = asyncio.create_task(database.copy(tmp_path / "given-up.db", lambda: None))
    await waiting.until(lambda: waiting.size(tmp_path / "given-up.db"))
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert not (tmp_path / "given-up.db").exists()
    copying = asyncio.create_task(database.copy(tmp_path / "ended.db", lambda: None))
    await waiting.until(lambda: waiting.size(tmp_path / "ended.db"))
    await database.close()
    with pytest.raises(copies.Stopped):
        await copying
    assert not (tmp_path / "ended.db").exists()
