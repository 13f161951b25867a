"""A store that cannot be written: 503 in time, reads that go on, nothing refused that is done later, and no restart."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import clock, errors, forever
from core.settings import Settings
from mcp_server import attach
from mcp_server.cli import stage
from tests.attacks import rig
from tests.engines import ADMIN

pytestmark = pytest.mark.anyio

INVOKE = "/api/triggers/smoke_trigger/invoke"
CALL = {"params": {"env": "x"}, "wait_timeout_seconds": 0}
ANSWER_SECONDS = 10.0  # one wait for a lock, and not one after the other, also on a machine that has much to do

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[rig.Target]:
    async with rig.target(tmp_path / "home") as made:
        yield made


@pytest.fixture
async def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[rig.Target]:
    """One whose engine writes nothing by itself: each statement is of a write that was asked for."""

    def at_rest(loops: forever.Loops, name: str, step: forever.Step, *more: float) -> asyncio.Task[Any]:
        return asyncio.create_task(asyncio.Event().wait(), name=name)

    monkeypatch.setattr(forever.Loops, "start", at_rest)
    async with rig.target(tmp_path / "home") as made:
        await total(made)  # the use of the token is on record
        yield made


@contextmanager
def lock_held(home: Path) -> Iterator[None]:
    """Another process, as a careless tool would, holds the write lock of the database and does nothing."""
    command = [sys.executable, "-c", HOLDER, str(home / "sluice.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            holder.kill()


async def write(server: rig.Target, key: str) -> Any:
    """Ask for a run (which ends at once, since no worker is there); the answer comes in time."""
    started = clock.monotonic()
    answer = await server.call("POST", INVOKE, CALL, **{"idempotency-key": key})
    assert clock.monotonic() - started < ANSWER_SECONDS, f"{clock.monotonic() - started:.1f} s"
    return answer


def refused(answer: Any) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable"), answer.text
    assert int(answer.headers["retry-after"]) >= 1


async def total(server: rig.Target) -> int:
    return int((await server.call("GET", "/api/trigger-invocations?limit=1")).json()["total"])


async def test_a_lock_that_another_process_holds_refuses_every_write_in_time(server: rig.Target) -> None:
    with anyio.fail_after(60):
        assert (await write(server, "before")).status_code == 200
        with lock_held(server.home):
            # Many at once, and some that come while the first ones wait.
            first = [asyncio.ensure_future(write(server, f"k{n}")) for n in range(20)]
            await asyncio.wait(first, timeout=0.5)
            later = [asyncio.ensure_future(write(server, f"l{n}")) for n in range(20)]
            assert await total(server) == 1, "reads go on"
            for answer in await asyncio.gather(*first, *later):
                refused(answer)
        assert (await write(server, "k0")).status_code == 200, "it goes on by itself, and the key is free"
        assert await total(server) == 2, "nothing that was refused has been done"


async def test_an_owner_that_is_stopped_is_told_in_time_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "SILENCE_SECONDS", 0.5)
    owner = stage.Stage(tmp_path / "home")
    settings = Settings(home=tmp_path / "home", workers=0)
    with anyio.fail_after(60):
        await owner.start(0)
        try:
            async with attach.open_session(settings) as session:
                assert not session.owner
                os.kill(owner.pid, signal.SIGSTOP)
                started = clock.monotonic()
                with pytest.raises(errors.Unconfirmed, match="may or may not have been recorded") as caught:
                    await session.call("context_set", {"values": {"a": 1}}, ADMIN)
                assert clock.monotonic() - started < ANSWER_SECONDS
                assert str(owner.pid) in caught.value.hint
                with pytest.raises(errors.Busy, match="Nothing was asked of it"):
                    async with attach.open_session(settings):
                        pass
                os.kill(owner.pid, signal.SIGCONT)
                values = (await session.call("context_get", {}, ADMIN))["values"]
                assert values in ({}, {"a": 1}), "as it was told: one or the other"
                await session.call("context_set", {"values": {"a": 2}}, ADMIN)
                assert (await session.call("context_get", {}, ADMIN))["values"] == {"a": 2}
        finally:
            os.kill(owner.pid, signal.SIGCONT)
            await owner.stop()


class Faulty:
    """A connection whose statements fail from number `at` on, as a disk would make them fail."""

    def __init__(self, inner: sqlite3.Connection, at: int, code: int) -> None:
        self._inner = inner
        self._left = at
        self._code = code
        self.failed = ""

    def execute(self, sql: str, *more: Any) -> Any:
        self._count(sql)
        return self._inner.execute(sql, *more)

    def executemany(self, sql: str, *more: Any) -> Any:
        self._count(sql)
        return self._inner.executemany(sql, *more)

    def _count(self, sql: str) -> None:
        self._left -= 1
        if self._left <= 0 and sql != "ROLLBACK":
            self.failed = self.failed or sql
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self._code
            raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY])
async def test_a_fault_at_any_statement_of_a_write_is_told_and_leaves_nothing(quiet: rig.Target, code: int) -> None:
    inner = quiet.engine.database._writer.conn
    done, at, statements = 0, 0, []
    with anyio.fail_after(60):
        while True:
            at += 1
            quiet.engine.database._writer.conn = faulty = Faulty(inner, at, code)
            answer = await write(quiet, f"{code}/{at}")
            quiet.engine.database._writer.conn = inner
            if not faulty.failed:
                assert answer.status_code == 200
                break  # the write has fewer statements than that: each of them has failed once
            statements.append(faulty.failed)
            if faulty.failed == "COMMIT" and code == sqlite3.SQLITE_IOERR_FSYNC:  # it may be in the log, unsynced
                assert (answer.status_code, answer.json()["code"]) == (409, "unconfirmed"), answer.text
            else:
                refused(answer)
            again = await write(quiet, f"{code}/{at}")
            assert again.status_code == 200, "the same key works when the disk does"
            done += 1
            assert await total(quiet) == done
    assert statements[0] == "BEGIN IMMEDIATE" and statements[-1] == "COMMIT" and len(statements) > 3


async def test_a_file_system_that_is_read_only_refuses_writes_and_answers_reads(server: rig.Target) -> None:
    with anyio.fail_after(60):
        database = server.engine.database
        await database.write(lambda db: None)
        database._writer.conn.execute("PRAGMA query_only = ON")  # SQLite then says what it says on a read-only disk
        refused(await write(server, "a"))
        answer = await server.call("POST", "/api/contexts/update-global", {"values": {"a": 1}})
        refused(answer)
        assert (await server.call("GET", "/api/triggers")).status_code == 200
        told = await server.call("GET", "/health")
        assert (told.status_code, told.json()["status"]) == (503, "trouble") and "store" in told.json()["trouble"]
        database._writer.conn.execute("PRAGMA query_only = OFF")
        assert (await write(server, "a")).status_code == 200
        assert (await server.call("GET", "/health")).status_code == 200
        assert await total(server) == 1
