"""The clock of the KV store: lengths are lengths, whatever the wall clock, a restart or a reboot does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
import sqlite_utils
from hypothesis import given
from hypothesis import strategies as st

from core.kv import timekeeping
from core.kv.local import LocalKV
from core.kv.timekeeping import StoreClock
from core.model.kv import Namespace
from core.store import migrations
from core.store.database import open_database

pytestmark = pytest.mark.anyio

HOUR = 3_600_000
START = 1_800_000_000_000


@dataclass
class Machine:
    """A machine whose wall clock can be set."""

    path: Path
    boot: str = "first"
    up_ms: int = 10_000
    wall_ms: int = START

    def passes(self, ms: int) -> None:
        self.up_ms += ms
        self.wall_ms += ms

    def reboots(self, ms: int) -> None:
        self.boot, self.up_ms = self.boot + "+", 5_000
        self.wall_ms += ms

    def clock(self) -> StoreClock:
        return StoreClock(lambda: self.boot, lambda: self.up_ms, lambda: self.wall_ms)

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[tuple[LocalKV, Namespace]]:
        """An engine's store, from its start to its end."""
        database = open_database(self.path / "sluice.db")
        try:
            with anyio.fail_after(20):
                store = LocalKV(database, self.clock())
                await store.start()
                yield store, Namespace(store, "t:n")
        finally:
            await database.close()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("set_by", [-24 * HOUR, -HOUR, HOUR, 49 * HOUR])
async def test_a_wall_clock_that_is_set_ends_nothing_early_or_late(machine: Machine, set_by: int) -> None:
    async with machine.owner() as (store, space):
        await space.acquire("lock", "me", 5_000)
        await space.add("seen", "x", 5_000)
        await space.push("item")
        assert await space.pop_batch(lease_ms=5_000) is not None
        machine.wall_ms += set_by
        machine.passes(4_999)
        await store.prune()
        assert not (await space.acquire("lock", "other", 5_000)).done
        assert await space.members("seen") == ("x",)
        assert await space.pop_batch() is None
        machine.passes(1)
        assert (await space.acquire("lock", "other", 5_000)).done
        assert await space.members("seen") == ()
        assert await space.pop_batch() is not None


@pytest.mark.parametrize("set_by", [-24 * HOUR, 49 * HOUR])
async def test_a_restart_of_the_engine_neither_stretches_nor_shortens(machine: Machine, set_by: int) -> None:
    async with machine.owner() as (_, space):
        await space.acquire("lock", "me", 5_000)
    machine.wall_ms += set_by
    machine.passes(4_000)
    async with machine.owner() as (_, space):
        machine.passes(999)
        assert not (await space.acquire("lock", "other", 5_000)).done
        machine.passes(1)
        assert (await space.acquire("lock", "other", 5_000)).done


async def test_a_clock_that_was_set_is_written_down_and_a_reboot_goes_on_from_there(machine: Machine) -> None:
    machine.wall_ms -= 49 * HOUR
    async with machine.owner() as (store, space):
        await space.set("a", "1", HOUR)
        await space.set("b", "1", 3 * HOUR)
        machine.wall_ms += 49 * HOUR
        await store.keep_time()
    machine.reboots(2 * HOUR)
    async with machine.owner() as (_, space):
        assert not (await space.get("a")).done
        assert (await space.get("b")).done, "it took two hours of three"
        machine.passes(HOUR)
        assert not (await space.get("b")).done


@pytest.mark.parametrize("wrong", [-30 * 365 * 24 * HOUR, -HOUR])
async def test_nothing_lasts_longer_after_a_reboot_than_its_own_length(machine: Machine, wrong: int) -> None:
    async with machine.owner() as (_, space):
        await space.acquire("lock", "me", 5_000)
        await space.add("seen", "x", 5_000)
        await space.push("item")
        assert await space.pop_batch(lease_ms=5_000) is not None
    machine.reboots(wrong)
    async with machine.owner() as (_, space):
        machine.passes(5_000)
        assert (await space.acquire("lock", "other", 5_000)).done
        assert await space.members("seen") == ()
        assert await space.pop_batch() is not None


async def test_ends_are_told_by_the_wall_clock_as_it_stands(machine: Machine) -> None:
    async with machine.owner() as (_, space):
        await space.set("k", "v", HOUR)
        await space.push("item")
        machine.wall_ms -= 24 * HOUR
        assert (await space.list()).entries[0].expires_at_ms == machine.wall_ms + HOUR
        lease = await space.pop_batch(lease_ms=1_000)
        assert lease is not None and lease.expires_at_ms == machine.wall_ms + 1_000


async def test_what_an_older_version_wrote_keeps_what_was_left_of_it(machine: Machine) -> None:
    machine.wall_ms = timekeeping.wall_ms()
    with closing(sqlite_utils.Database(machine.path / "sluice.db").conn) as connection:
        db = sqlite_utils.Database(connection)
        migrations.STEPS.apply(db, stop_before="m0017_kv_lengths")
        connection.execute("INSERT INTO kv_entries VALUES ('t:n', 'k', 'v', 1, ?)", (machine.wall_ms + HOUR,))
        connection.execute("INSERT INTO kv_entries VALUES ('t:n', 'stays', 'v', 2, NULL)")
        connection.execute("INSERT INTO kv_items VALUES (1, 't:n', 'item', 1, 'lease', 0)")
        connection.execute("INSERT INTO kv_leases VALUES ('lease', 't:n', ?, 10)", (machine.wall_ms + HOUR,))
        connection.commit()
    async with machine.owner() as (_, space):
        assert (await space.get("k")).done and (await space.depth()).leased == 1
        machine.passes(HOUR + 60_000)
        assert not (await space.get("k")).done and (await space.get("stays")).done
        assert (await space.depth()).ready == 1


@given(
    steps=st.lists(st.tuples(st.sampled_from(["pass", "set", "restart", "reboot"]), st.integers(-HOUR, HOUR))),
)
def test_within_a_boot_the_clock_moves_as_time_passes(steps: list[tuple[str, int]]) -> None:
    machine = Machine(Path())
    time = machine.clock()
    saved = time.resume(None)
    for what, amount in steps:
        before = time.now_ms()
        if what == "pass":
            machine.passes(abs(amount))
            assert time.now_ms() == before + abs(amount)
        elif what == "set":
            machine.wall_ms += amount
            saved = time.moved() or saved
            assert time.now_ms() == before
        elif what == "restart":
            time = machine.clock()
            saved = time.resume(saved)
            assert time.now_ms() == before
        else:
            machine.reboots(0)
            time = machine.clock()
            saved = time.resume(saved)
            assert abs(time.now_ms() - before) <= timekeeping.SLACK_MS
