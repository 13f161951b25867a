"""Retention: history is bounded, and what is still owed or under way is never pruned."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
import sqlite_utils
from hypothesis import given
from hypothesis import strategies as st

from core import clock, errors
from core.engine import Engine
from core.model.message import Class, Filter, Message, Type, class_of
from core.retention import Retention
from core.settings import Settings
from core.store import audit, forgetting, messages, owed, shares
from core.store.database import Database, open_database
from core.triggers.quota import Quota
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on

pytestmark = pytest.mark.anyio

DEFINITION: dict[str, Any] = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
HANDLER = (EXAMPLES / "smoke_trigger_handler.yaml").read_text()
HOUR = 3600 * clock.NANOSECONDS


async def _runs(engine: Engine, count: int) -> list[dict[str, Any]]:
    await engine.call("trigger_publish", DEFINITION, ADMIN)
    await deploy(engine, HANDLER)
    arguments = {"slug": "smoke_trigger", "params": {"env": "x"}}
    return [await engine.call("trigger_invoke", {**arguments, "idempotency_key": f"k{n}"}, ADMIN) for n in range(count)]


def _count(db: sqlite_utils.Database, table: str) -> int:
    return int(db.conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _of_class(db: sqlite_utils.Database, kept: Class) -> int:
    return sum(class_of(type) is kept for (type,) in db.conn.execute("SELECT type FROM messages"))


async def test_only_the_newest_messages_and_invocations_are_kept(tmp_path: Path) -> None:
    limits = {"message_retention_count": 6, "run_message_retention_count": 1, "invocation_retention_count": 3}
    async with engine_on(tmp_path / "home", **limits) as engine:
        with anyio.fail_after(30):
            records = await _runs(engine, 8)
            await engine.prune()

            def prune_and_count(db: sqlite_utils.Database) -> list[int]:  # in one transaction: jobs go on reporting
                ended = [Message(id, "tenant-a", "system", "job", Type.JOB_RUN_ENDED) for id in range(1, 4)]
                messages.insert(db, [messages.row(one, b"{}") for one in ended])
                for kept, count in ((Class.USER, 6), (Class.RUN, 1)):
                    messages.prune(db, kept, 0, messages.beyond(db, count, kept))
                return [_of_class(db, kept) for kept in (Class.USER, Class.RUN)]

            before = await engine.database.read(_of_class, Class.CONTROL)
            assert await engine.database.write(prune_and_count) == [6, 1]
            assert await engine.database.read(_of_class, Class.CONTROL) >= before > 0, "runs push out nothing else"
            listed = await engine.call("trigger_invocation_list", {}, ADMIN)
            kept = [item["invocation_id"] for item in listed["items"]]
            assert kept == [record["invocation_id"] for record in reversed(records)][:3]
            assert await engine.database.write(forgetting.prune, 3, 0, 0) == []


def _fill(db: sqlite_utils.Database, ids: list[int]) -> None:
    db.conn.execute("DELETE FROM audit")
    audit.insert(db, *[audit.row(id, ADMIN, "kv_set", "a") for id in ids])


def _ids(db: sqlite_utils.Database) -> list[int]:
    return [row[0] for row in db.conn.execute("SELECT id FROM audit ORDER BY id")]


@asynccontextmanager
async def _kept(home: Path, **settings: Any) -> AsyncIterator[tuple[Database, Callable[[], Awaitable[int]]]]:
    """A database that nobody prunes but the test, and one pass of the retention."""
    database, chosen = open_database(home / "sluice.db"), Settings(home=home, **settings)
    try:
        retention = Retention(chosen, database, Quota(10**9, 10**9))
        yield database, lambda: retention.prune(clock.now_ns(), clock.now_ns())
    finally:
        await database.close()


async def test_audit_rows_go_when_they_are_a_year_old_or_too_many_and_not_before(tmp_path: Path) -> None:
    now, year = clock.now_ns(), 365 * 24 * HOUR
    young, old = [now - n for n in range(1500, 0, -1)], [now - year - n for n in range(20, 0, -1)]
    async with _kept(tmp_path, audit_retention_count=1000) as (database, prune):
        await database.write(_fill, [*old, now - year + HOUR, *young[:900]])
        assert await prune() == 20
        assert await database.read(_ids) == [now - year + HOUR, *young[:900]]
    async with _kept(tmp_path, audit_retention_count=1000) as (database, prune):
        await database.write(_fill, young)
        assert await prune() == 500
        assert await database.read(_ids) == young[500:]
        assert await prune() == 0


def _flood(db: sqlite_utils.Database, first: int, counts: dict[str, int]) -> None:
    """The rows of small tenants are the oldest ones."""
    id = first
    for tenant, count in sorted(counts.items(), key=lambda one: one[1]):
        for _ in range(count):
            id += 1
            who = replace(ADMIN, tenant=tenant)
            audit.insert(db, audit.row(id, who, "audit_list", "", decision="forbidden"))
            row = messages.row(Message(id, tenant, "user", "job", "user-generated", "", "j", "w", id, None), b"{}")
            messages.insert(db, [row])


def _by_tenant(db: sqlite_utils.Database, table: str) -> dict[str, int]:
    return dict(db.conn.execute(f"SELECT tenant, count(*) FROM {table} GROUP BY tenant").fetchall())


async def test_who_has_most_makes_room_and_what_others_have_stays(tmp_path: Path) -> None:
    counts = {"flood": 3000, "loud": 700, "quiet": 7, "small": 300}
    async with _kept(tmp_path, audit_retention_count=1000, message_retention_count=1000) as (database, prune):
        await database.write(_flood, clock.now_ns(), counts)
        while await prune():
            pass
        for table in ("audit", "messages"):
            kept = await database.read(_by_tenant, table)
            assert kept == {"flood": 346, "loud": 346, "quiet": 7, "small": 300}


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=20), st.integers(0, 20_000))
def test_shares_fill_what_is_kept_and_take_from_the_largest_alone(counts: list[int], keep: int) -> None:
    most = shares.share(counts, keep)
    kept = [min(count, most) for count in counts]
    assert sum(kept) <= keep or sum(counts) <= keep
    if sum(counts) > keep:
        assert keep - sum(kept) < len(counts), "nothing is taken that could stay"


async def test_a_pass_takes_a_bounded_piece_of_the_audit_log(tmp_path: Path) -> None:
    async with _kept(tmp_path) as (database, _):
        await database.write(_fill, list(range(1, 101)))
        assert [await database.write(audit.prune, 90, {}, 40) for _ in range(4)] == [40, 40, 10, 0]
        assert await database.read(_ids) == list(range(91, 101))


async def test_a_store_that_cannot_be_written_ends_no_pass_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _kept(tmp_path) as (database, prune):
        await database.write(_fill, [1, 2, 3])
        with monkeypatch.context() as broken:
            broken.setattr(messages, "prune", _full)
            assert await prune() == 0
        assert await prune() == 3


def _full(*_: object) -> int:
    raise errors.StorageUnavailable


async def test_what_is_owed_to_a_job_and_what_is_under_way_survives_every_pruning(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        with anyio.fail_after(30):
            await engine.call("trigger_publish", {**DEFINITION, "response_timeout_seconds": 600}, ADMIN)
            engine.bus.declare(("tenant-a", "smoke_trigger_handler"), Filter())  # deployed, but no worker has it
            arguments = {"slug": "smoke_trigger", "params": {"env": "x"}, "wait_timeout_seconds": 0}
            record = await engine.call("trigger_invoke", arguments, ADMIN)
            later = clock.now_ns() + 10_000 * HOUR
            assert await engine.database.write(forgetting.prune, 0, later, later) == []
            for kept in Class:
                await engine.database.write(messages.prune, kept, later, {})
            found = await engine.call("trigger_invocation_get", {"invocation_id": record["invocation_id"]}, ADMIN)
            assert found["state"] == "dispatched"
            ((run, body),) = await engine.database.read(owed.open_runs)
            assert (run.text_id, orjson.loads(body)["message_data"]["job_event"]["params"]["env"]) == (
                record["invocation_id"],
                "x",
            )


async def test_a_key_that_has_outlived_its_retention_may_be_used_again(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        with anyio.fail_after(30):
            first = (await _runs(engine, 1))[0]
            await engine.database.write(forgetting.prune, 1000, 0, clock.now_ns())
            arguments = {"slug": "smoke_trigger", "params": {"env": "y"}, "idempotency_key": "k0"}
            again = await engine.call("trigger_invoke", arguments, ADMIN)
    assert again["invocation_id"] != first["invocation_id"]
    assert "deduplicated" not in again


async def test_every_write_has_its_audit_row_and_every_denial_too(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        with anyio.fail_after(30):
            await _runs(engine, 2)
            await engine.call("trigger_revise", DEFINITION, ADMIN)
            await engine.call("trigger_deactivate", {"slug": "smoke_trigger"}, ADMIN)
            await engine.call("job_undeploy", {"name": "smoke_trigger_handler"}, ADMIN)
            with pytest.raises(errors.WriteDisabled):
                await engine.call("trigger_deactivate", {"slug": "smoke_trigger"}, replace(ADMIN, allow_write=False))
            rows = await engine.database.read(
                lambda db: list(db.query("SELECT operation, decision, username FROM audit ORDER BY id"))
            )
    told = [(row["operation"], row["decision"]) for row in rows]
    assert told == [
        ("trigger_publish", "allowed"),
        ("job_put", "allowed"),
        ("job_deploy", "allowed"),
        ("trigger_invoke", "allowed"),
        ("trigger_invoke", "allowed"),
        ("trigger_revise", "allowed"),
        ("trigger_deactivate", "allowed"),
        ("job_undeploy", "allowed"),
        ("trigger_deactivate", "write_disabled"),
    ]
    assert {row["username"] for row in rows} == {"alice"}


async def test_a_message_that_nobody_took_is_not_delivered_after_its_run_timed_out(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        with anyio.fail_after(30):
            await engine.call("trigger_publish", {**DEFINITION, "response_timeout_seconds": 1}, ADMIN)
            engine.bus.declare(("tenant-a", "smoke_trigger_handler"), Filter())  # deployed, but no worker has it
            arguments = {"slug": "smoke_trigger", "params": {"env": "x"}}
            record = await engine.call("trigger_invoke", arguments, ADMIN)
            assert record["state"] == "timed_out"
            assert await engine.database.read(_count, "dispatches") == 0
