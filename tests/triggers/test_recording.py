"""The runs of one tick share a statement and nothing else: what is wrong with one is told to that one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import clock
from core.model.invocation import Invocation
from core.store.audit import AuditRow
from core.store.database import Database, open_database
from core.store.run_commits import Accepted, Holder, Key
from core.triggers.recording import Recorder

pytestmark = pytest.mark.anyio
Told = list[tuple[int, Holder | None, BaseException | None]]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(tmp_path / "sluice.db")
    yield opened
    await opened.close()


def accepted(id: int, params: str = "{}", key: Key | None = None) -> Accepted:
    run = Invocation(
        *(id, "nonce", "t", "s", 1, "dispatched", "http", "u", "admin", params, None, id, id + 9, None, None),
        *(1, "{}", "[{}]"),
    )
    return Accepted(run, AuditRow(id + 100, "t", "u", "admin", "http", "trigger_invoke", "allowed", "t/s", ""), key)


async def record(database: Database, runs: list[Accepted], deaf: tuple[int, ...] = ()) -> Told:
    """Record them in one tick; what each of them heard. The callbacks of `deaf` ones raise."""
    told: Told = []
    all_told = asyncio.Event()
    recorder = Recorder(database, clock.Ids())

    def hear(id: int) -> Any:
        def recorded(holder: Holder | None, error: BaseException | None) -> None:
            told.append((id, holder, error))
            if len(told) == len(runs):
                all_told.set()
            if id in deaf:
                raise RuntimeError("it cannot hear")

        return recorded

    for one in runs:
        recorder.add(one, hear(one.run.id))
    with anyio.fail_after(20):
        await all_told.wait()
    return sorted(told, key=lambda one: one[0])


async def ids(database: Database) -> list[int]:
    return await database.read(lambda db: [row[0] for row in db.conn.execute("SELECT id FROM invocations ORDER BY id")])


async def test_runs_of_one_tick_are_one_commit(database: Database) -> None:
    before = database.commits
    assert await record(database, [accepted(n) for n in range(5)]) == [(n, None, None) for n in range(5)]
    assert database.commits == before + 1
    assert await ids(database) == list(range(5))


async def test_a_run_that_cannot_be_recorded_is_refused_alone(database: Database) -> None:
    told = await record(database, [accepted(1), accepted(2, params="\ud800"), accepted(3)])
    assert [(id, error is None) for id, _, error in told] == [(1, True), (2, False), (3, True)]
    assert await ids(database) == [1, 3]


async def test_a_key_that_two_runs_of_a_tick_share_is_the_first_ones(database: Database) -> None:
    key = Key(b"k", b"p")
    told = await record(database, [accepted(1, key=key), accepted(2, key=key), accepted(3)])
    assert told == [(1, None, None), (2, Holder(1, b"p"), None), (3, None, None)]
    assert await ids(database) == [1, 3]


async def test_a_caller_who_cannot_hear_keeps_nobody_else_from_hearing(database: Database) -> None:
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["message"]))
    assert len(await record(database, [accepted(1), accepted(2), accepted(3)], deaf=(1, 2))) == 3
    assert faults == ["the callback of a recorded run failed"] * 2
