"""The store in the owner: what waiting costs, who shares a commit, and how an older database gets it."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlite_utils

from core import errors
from core.kv.local import LocalKV
from core.kv.timekeeping import StoreClock
from core.model.kv import Depth, Namespace
from core.store import migrations
from core.store.database import Database, open_database
from core.store.kv_usage import ROW_BYTES
from tests import waiting
from tests.kv.stores import START_MS

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(tmp_path / "sluice.db")
    with anyio.fail_after(20):
        yield opened
    await opened.close()


@pytest.fixture
def store(database: Database) -> LocalKV:
    return LocalKV(database)


@contextmanager
def before(path: Path, step: str) -> Iterator[sqlite_utils.Database]:
    """A database as it was before a step of the schema."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        db = sqlite_utils.Database(connection)
        migrations.STEPS.apply(db, stop_before=step)
        yield db


async def settled(database: Database) -> int:
    """How many commits there were, once everything that was submitted before is done."""
    await database.write(lambda db: None)
    await waiting.turn()  # a commit is counted in the round in which it is answered
    return database.commits


async def test_consumers_that_wait_cost_no_transaction(database: Database, store: LocalKV) -> None:
    queue, other = Namespace(store, "t:q"), Namespace(store, "t:other")
    popping = [asyncio.create_task(queue.pop_batch(wait_seconds=60)) for _ in range(100)]
    await waiting.begun(*popping)
    before = await settled(database)
    for _ in range(10):
        await other.push("x")
        await queue.set("k", "v")
    assert await settled(database) <= before + 21
    await queue.push("a")
    done, left = await asyncio.wait(popping, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    # One is woken by the push, and one more looks whether there is a second item.
    assert await settled(database) <= before + 26
    for task in left:
        task.cancel()
    await asyncio.wait(left)


async def test_the_one_that_has_waited_longest_is_served_first(store: LocalKV) -> None:
    queue = Namespace(store, "t:q")
    first = asyncio.create_task(queue.pop_batch(wait_seconds=60))
    await waiting.begun(first)
    second = asyncio.create_task(queue.pop_batch(wait_seconds=60))
    await waiting.begun(second)
    await queue.push("a")
    assert (await first) is not None
    assert not second.done()
    await queue.push("b")
    assert (await second) is not None


async def test_a_consumer_that_waits_gets_what_another_let_run_out(store: LocalKV) -> None:
    queue = Namespace(store, "t:q")
    await queue.push("a")
    assert await queue.pop_batch(lease_ms=30) is not None
    again = await queue.pop_batch(wait_seconds=10)
    assert again is not None
    assert again.items[0].attempt == 2


async def test_operations_of_one_moment_share_a_commit(database: Database, store: LocalKV) -> None:
    space = Namespace(store, "t:n")
    before = await settled(database)
    await asyncio.gather(*(space.set(str(n), "x") for n in range(200)))
    assert await settled(database) <= before + 5


async def test_reading_takes_no_commit(database: Database, store: LocalKV) -> None:
    space = Namespace(store, "t:n")
    await space.set("k", "v")
    before = await settled(database)
    await space.get("k")
    await space.members("k")
    await space.list()
    await space.depth()
    assert await settled(database) == before + 1  # the look itself


async def test_pruning_leaves_room_and_stops_when_nothing_is_over(database: Database) -> None:
    now = [1_000]
    store = LocalKV(database, StoreClock(boot_ms=lambda: now[0], wall_ms=lambda: now[0]))
    space = Namespace(store, "t:n")
    for n in range(50):
        await space.set(str(n), "x", 10)
    now[0] += 10
    before = await settled(database)
    await store.prune()
    assert await settled(database) == before + 2
    await store.prune()
    assert await settled(database) == before + 3


async def test_a_database_from_before_gets_the_store_and_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with before(path, "m0002_kv") as db:
        db.execute("INSERT INTO idempotency VALUES (x'01', 1, x'02', 3)")
    second = open_database(path)
    try:
        queue = Namespace(LocalKV(second), "t:q")
        await queue.push("a")
        assert await queue.depth() == Depth(1, 0, 0)
        kept = await second.read(lambda db: db.execute("SELECT count(*) FROM idempotency").fetchone()[0])
        assert kept == 1
    finally:
        await second.close()


async def test_what_was_written_is_there_for_the_next_owner(tmp_path: Path) -> None:
    path = tmp_path / "kept.db"
    first = open_database(path)
    space = Namespace(LocalKV(first), "t:n")
    written = await space.set("k", "v")
    await space.push("a")
    lease = await space.pop_batch()
    assert lease is not None
    await first.close()
    second = open_database(path)
    try:
        space = Namespace(LocalKV(second), "t:n")
        assert (await space.get("k")).value == "v"
        assert (await space.set("k2", "v")).revision > written.revision
        assert await space.depth() == Depth(0, 1, 0)
        assert (await space.ack(lease.id)).affected == 1
    finally:
        await second.close()


# ---- how much a tenant may keep


def counted(db: Any) -> dict[str, int]:
    return dict(db.conn.execute("SELECT tenant, bytes FROM kv_usage").fetchall())


def weighed(db: Any) -> dict[str, int]:
    """What `kv_usage` should say, by looking at every row."""
    found: dict[str, int] = {}
    for table, texts in (("kv_entries", "key || value"), ("kv_members", "key || member"), ("kv_items", "value")):
        for namespace, text in db.conn.execute(f"SELECT namespace, {texts} FROM {table}"):
            tenant = namespace.partition(":")[0]
            found[tenant] = found.get(tenant, 0) + len(text.encode()) + ROW_BYTES
    return found


async def test_what_a_tenant_keeps_is_counted_whatever_is_done(database: Database) -> None:
    now = [START_MS]
    store = LocalKV(database, StoreClock(boot_ms=lambda: now[0], wall_ms=lambda: now[0]))
    chance = random.Random(3)
    spaces = [Namespace(store, name) for name in ("a:x", "a:y", "b:x")]
    for _ in range(400):
        space, key, text = chance.choice(spaces), f"k{chance.randrange(5)}", "ü" * chance.randrange(50)
        match chance.randrange(8):
            case 0 | 1:
                await space.set(key, text, chance.choice([0, 5]))
            case 2:
                await space.set_if_absent(key, text, 5)
            case 3:
                await space.delete(key)
            case 4:
                await space.add(key, text or "m", chance.choice([0, 5]))
            case 5:
                await space.push(text)
            case 6:
                if (lease := await space.pop_batch(3, 5, 2, 0)) is not None and chance.random() < 0.7:
                    await space.ack(lease.id)
            case 7:
                now[0] += 3
                await store.prune()
    seen, meant = await database.read(counted), await database.read(weighed)
    assert {tenant: size for tenant, size in seen.items() if size} == meant


async def test_a_tenant_that_is_full_may_only_write_less_and_others_go_on(database: Database) -> None:
    store = LocalKV(database, tenant_bytes=1000)
    full, other = Namespace(store, "a:x"), Namespace(store, "b:x")
    await full.set("k", "x" * 800)
    with pytest.raises(errors.QuotaExceeded, match="keeps 865 bytes for tenant a, and may keep 1,000"):
        await full.push("y" * 200)
    with pytest.raises(errors.QuotaExceeded):
        await Namespace(store, "a:another").set("k", "x" * 800)
    await asyncio.gather(other.set("k", "x" * 800), full.set("k", "x" * 100))  # in one commit
    await full.push("y" * 200)
    assert await full.depth() == Depth(1, 0, 0)
    assert (await full.get("k")).value == "x" * 100


async def test_what_was_kept_before_it_was_counted_counts(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with before(path, "m0016_kv_usage") as db:
        db.execute("INSERT INTO kv_entries VALUES ('t:n', 'k', 'value', 1, NULL)")
        db.execute("INSERT INTO kv_members VALUES ('t:n', 's', 'member', NULL)")
        db.execute("INSERT INTO kv_items (namespace, value) VALUES ('t:n', 'item')")
    second = open_database(path)
    try:
        await Namespace(LocalKV(second), "t:n").set("k", "longer value")
        assert await second.read(counted) == await second.read(weighed) != {}
    finally:
        await second.close()
