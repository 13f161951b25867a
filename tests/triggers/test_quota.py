"""What the runs of a tenant and of a user may take: counted as the store has it, refused beyond, kept over restarts."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from core import errors
from core.engine import Engine
from core.store import messages, usage
from core.store.messages import MessageRow
from tests.engines import ADMIN, USER, deploy, engine_on

pytestmark = pytest.mark.anyio

HANDLER = """
name: takes
input: {echo: {trigger: {message: {filter-kind: user, filter-type: [user-generated], filter-tag: take}}, json: true,
  event: "{}"}}
output: {discard: {}}
"""
DEFINITION = {
    "slug": "take",
    "display_name": "Take",
    "description": "Takes what it is given.",
    "parameter_schema": {"type": "object"},
    "target_job_name": "takes",
    "target_message_tag": "take",
    "publication": {"mcp": True, "ui_admin": True, "ui_user": True},
    "invoke_policy": {"allow_admin": True, "allow_user": True},
}


async def _published(engine: Engine) -> None:
    await engine.call("trigger_publish", DEFINITION, ADMIN)
    await deploy(engine, HANDLER)


async def _run(engine: Engine, size: int, caller: object = USER, **more: object) -> dict[str, object]:
    call = {"slug": "take", "params": {"filling": "x" * size}, **more}
    return await engine.call("trigger_invoke", call, caller)


async def _counted(engine: Engine) -> None:
    """What is counted in memory is what the store has."""
    rows = await engine.database.read(lambda db: usage.counted(db, "SELECT id FROM invocations", ()))
    for row in rows:
        taken = engine.quota.of(row.tenant, row.username)
        assert taken.records == row.records
        assert taken.bytes >= row.bytes, "the message of a run counts as well"


async def test_a_user_who_keeps_too_much_is_refused_and_others_go_on(tmp_path: Path) -> None:
    with anyio.fail_after(60):
        async with engine_on(tmp_path / "home", invocation_user_mb=2, invocation_tenant_mb=4) as engine:
            await _published(engine)
            first = await _run(engine, 400_000, idempotency_key="first")
            with pytest.raises(errors.QuotaExceeded, match="bob in tenant-a take") as refused:
                while True:
                    await _run(engine, 400_000)
            assert refused.value.details["setting"] == "invocation_user_mb"
            again = await _run(engine, 400_000, idempotency_key="first")
            assert (again["invocation_id"], again["deduplicated"]) == (first["invocation_id"], True)
            await _run(engine, 400_000, ADMIN)
            with pytest.raises(errors.QuotaExceeded, match="tenant tenant-a take"):
                while True:
                    await _run(engine, 300_000, ADMIN)
            await _counted(engine)
            shown = await engine.call("usage_get", {}, USER)
            assert shown["refused"] >= 2
            assert all(row["bytes"] <= row["most_bytes"] for row in shown["items"])
            before = engine.quota.of(USER.tenant).bytes
        async with engine_on(tmp_path / "home", invocation_user_mb=2, invocation_tenant_mb=4) as engine:
            assert engine.quota.of(USER.tenant).bytes == before, "kept over the restart"
            with pytest.raises(errors.QuotaExceeded):
                await _run(engine, 600_000)


async def test_what_was_not_written_down_is_counted_at_the_start(tmp_path: Path) -> None:
    with anyio.fail_after(60):
        async with engine_on(tmp_path / "home") as engine:
            await _published(engine)
            await engine.retention.end(engine.ids.next())
            for _ in range(3):
                await _run(engine, 1000)
            found = await engine.database.read(usage.load)
            assert sum(one.records for one in found) == 3
            await engine.prune()
            found = await engine.database.read(usage.load)
            assert [one.records for one in found if one.username == "bob"] == [3]
            await _counted(engine)


async def test_a_tenant_with_more_than_its_share_of_records_makes_room_with_its_own(tmp_path: Path) -> None:
    with anyio.fail_after(60):
        async with engine_on(tmp_path / "home", invocation_tenant_count=5) as engine:
            await _published(engine)
            keyed = await _run(engine, 10, idempotency_key="kept")
            for _ in range(9):
                await _run(engine, 10)
            assert await engine.prune() == 5
            left = await engine.call("trigger_invocation_list", {}, USER)
            ids = [record["invocation_id"] for record in left["items"]]
            assert len(ids) == 5 and keyed["invocation_id"] in ids
            await _counted(engine)


async def test_messages_of_a_tenant_beyond_its_share_go_and_those_of_others_stay(tmp_path: Path) -> None:
    with anyio.fail_after(60):
        async with engine_on(tmp_path / "home", message_tenant_mb=1) as engine:
            await _published(engine)
            now = engine.now_ns()
            rows = [
                *((now + n, "loud", bytes(100_000)) for n in range(1000)),
                *((now - 1000 + n, "quiet", bytes(1000)) for n in range(10)),
            ]
            made = [MessageRow(id, tenant, "user", "server", "x", "", "", "", body) for id, tenant, body in rows]
            await engine.database.write(messages.insert, made)
            while await engine.prune():
                pass
            counts = await engine.database.read(
                lambda db: dict(db.execute("SELECT tenant, count(*) FROM messages GROUP BY tenant").fetchall())
            )
            assert counts["quiet"] == 10 and counts["loud"] == 10
