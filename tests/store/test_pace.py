"""Where a batch is committed: on the loop while the disk is quick, in the thread otherwise, and never out of order."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlite_utils
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.store import connection
from core.store.database import Database, open_database
from core.store.pace import BATCH_SECONDS, SYNC_SECONDS, Pace

pytestmark = pytest.mark.anyio
QUICK = 0.0002
SECONDS = st.floats(0, 10, allow_nan=False)


def test_nothing_is_known_of_a_disk_before_its_first_commit() -> None:
    pace = Pace()
    assert not pace.quick
    pace.took(QUICK, QUICK)
    assert pace.quick


@given(st.lists(st.tuples(SECONDS, SECONDS), max_size=20), st.floats(SYNC_SECONDS, 10))
def test_one_slow_commit_is_enough_to_leave_the_loop(before: list[tuple[float, float]], slow: float) -> None:
    pace = Pace()
    for batch, sync in before:
        pace.took(batch, sync)
    pace.took(slow, slow)
    assert not pace.quick


@given(st.floats(SYNC_SECONDS, 10))
def test_a_disk_that_was_slow_is_trusted_again_by_and_by(slow: float) -> None:
    pace = Pace()
    pace.took(slow, slow)
    needed = 0
    while not pace.quick:
        pace.took(QUICK, QUICK)
        needed += 1
    assert 1 <= needed <= 120


def test_a_long_batch_counts_like_a_slow_disk() -> None:
    pace = Pace()
    pace.took(QUICK, QUICK)
    pace.took(BATCH_SECONDS, QUICK)
    assert not pace.quick


def test_a_commit_that_came_to_nothing_leaves_the_next_one_to_the_thread() -> None:
    pace = Pace()
    pace.took(QUICK, QUICK)
    pace.failed()
    assert not pace.quick
    pace.took(QUICK, QUICK)
    assert pace.quick


class Disk:
    """How long a commit takes, and in which thread each was."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.threads: list[int] = []


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk, commit = Disk(), connection.commit

    def watched(opened: sqlite3.Connection) -> None:
        disk.threads.append(threading.get_ident())
        if disk.seconds:
            threading.Event().wait(disk.seconds)
        commit(opened)

    monkeypatch.setattr(connection, "commit", watched)
    monkeypatch.setattr("core.store.pace.SYNC_SECONDS", 0.01)  # tests run beside others
    monkeypatch.setattr("core.store.pace.BATCH_SECONDS", 0.05)
    yield disk


@pytest.fixture
async def database(tmp_path: Path, disk: Disk) -> AsyncIterator[Database]:
    opened = open_database(tmp_path / "sluice.db")
    await opened.write(lambda db: db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)") and None)
    disk.threads.clear()
    yield opened
    await opened.close()


def put(db: sqlite_utils.Database, n: int) -> int:
    db.conn.execute("INSERT INTO t VALUES (?)", (n,))
    return n


async def submit(database: Database, n: int) -> Any:
    """A short write and its result."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def done(result: Any, error: BaseException | None) -> None:
        future.set_result(result) if error is None else future.set_exception(error)

    database.submit(done, put, n)
    return await future


async def numbers(database: Database) -> list[int]:
    return await database.read(lambda db: [row[0] for row in db.conn.execute("SELECT n FROM t ORDER BY rowid")])


async def until_quick(database: Database, first: int) -> int:
    """Short writes until they are committed on the loop; the number of the next one."""
    with anyio.fail_after(30):
        while not database._pace.quick:
            await submit(database, first)
            first += 1
    return first


async def test_short_writes_of_a_quick_disk_are_committed_on_the_loop_and_long_ones_never(
    database: Database, disk: Disk
) -> None:
    here = threading.get_ident()
    n = await until_quick(database, 0)
    disk.threads.clear()
    assert await submit(database, n) == n
    assert await database.write(put, n + 1) == n + 1
    assert disk.threads[0] == here
    assert disk.threads[-1] != here
    assert await numbers(database) == list(range(n + 2))


async def test_a_slow_disk_holds_up_the_loop_once(database: Database, disk: Disk) -> None:
    n = await until_quick(database, 0)
    disk.seconds = 0.2
    disk.threads.clear()
    await submit(database, n)  # this one finds it out
    for more in range(1, 4):
        await submit(database, n + more)
    assert disk.threads.count(threading.get_ident()) <= 1
    disk.seconds = 0.0
    after = await until_quick(database, n + 4)
    disk.threads.clear()
    await submit(database, after)
    assert disk.threads == [threading.get_ident()]


async def test_no_short_write_overtakes_a_long_one(database: Database) -> None:
    n = await until_quick(database, 0)
    began, go_on = threading.Event(), threading.Event()

    def long(db: sqlite_utils.Database) -> int:
        began.set()
        assert go_on.wait(30)
        return put(db, n)

    with anyio.fail_after(30):
        first = asyncio.create_task(database.write(long))
        await asyncio.to_thread(began.wait)
        second = asyncio.create_task(submit(database, n + 1))
        await asyncio.wait([second], timeout=0.05)
        assert not second.done()
        go_on.set()
        assert (await first, await second) == (n, n + 1)
    assert (await numbers(database))[-2:] == [n, n + 1]


async def test_a_lock_of_somebody_else_is_waited_for_in_the_thread(database: Database, disk: Disk) -> None:
    n = await until_quick(database, 0)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as stray, anyio.fail_after(30):
        stray.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(submit(database, n))
        await asyncio.wait([waiting], timeout=0.05)  # the loop goes on
        assert not waiting.done()
        stray.execute("ROLLBACK")
        assert await waiting == n
    assert (await numbers(database))[-1] == n


async def test_a_bad_write_on_the_loop_fails_alone(database: Database) -> None:
    n = await until_quick(database, 0)
    good, bad, later = await asyncio.gather(
        submit(database, n), submit(database, 0), submit(database, n + 1), return_exceptions=True
    )
    assert (good, later) == (n, n + 1)
    assert isinstance(bad, sqlite3.IntegrityError)
    assert (await numbers(database))[-2:] == [n, n + 1]


async def test_what_may_be_recorded_after_all_is_told_so_and_not_tried_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second try that fails in another way would say that nothing is there (https://sqlite.org/wal.html)."""
    n = await until_quick(database, 0)
    tries = []

    def unsynced(opened: sqlite3.Connection) -> None:
        tries.append(threading.get_ident())
        raise errors.CommitUnconfirmed("The disk failed.")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "commit", unsynced)
        outcomes = await asyncio.gather(submit(database, n), submit(database, n + 1), return_exceptions=True)
        assert [type(one) for one in outcomes] == [errors.CommitUnconfirmed] * 2
        assert tries == [threading.get_ident()]
        with pytest.raises(errors.CommitUnconfirmed):
            await database.write(put, n + 2)
        assert len(tries) == 2
    assert await submit(database, n) == n, "none of them is there"
