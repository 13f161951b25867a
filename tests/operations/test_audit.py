"""The audit log: what was changed and what was refused, for the admins of a tenant alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import errors
from core.engine import Engine
from tests.engines import ADMIN, USER, engine_on

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=0) as running:
        with anyio.fail_after(10):
            for n in range(5):
                await running.call("kv_set", {"namespace": "n", "key": f"k{n}", "value": "secret value"}, ADMIN)
            with pytest.raises(errors.Forbidden):
                await running.call("kv_set", {"namespace": "n", "key": "k9", "value": 1}, USER)
            await running.call("variable_set", {"name": "V", "value": "x"}, replace(ADMIN, tenant="tenant-b"))
        yield running


async def _list(engine: Engine, **wanted: Any) -> dict[str, Any]:
    with anyio.fail_after(5):
        return await engine.call("audit_list", wanted, ADMIN)


async def test_changes_and_refusals_are_listed_newest_first_without_values(engine: Engine) -> None:
    listed = await _list(engine)
    first = listed["items"][0]
    assert {key: first[key] for key in ("username", "role", "surface", "operation", "decision")} == {
        "username": "bob",
        "role": "user",
        "surface": "internal",
        "operation": "kv_set",
        "decision": "forbidden",
    }
    assert [row["at"] for row in listed["items"]] == sorted((row["at"] for row in listed["items"]), reverse=True)
    assert listed["total"] == 6
    assert "secret value" not in str(listed)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"decision": "forbidden"}, 1),
        ({"username": "alice"}, 5),
        ({"username": "alice", "operation": "kv_set", "surface": "internal"}, 5),
        ({"operation": "variable_set"}, 0),  # it was another tenant's
        ({"since": "1h"}, 6),
        ({"until": "1h"}, 0),
        ({"surface": "mcp"}, 0),
    ],
)
async def test_filters_are_all_met(engine: Engine, wanted: dict[str, Any], count: int) -> None:
    listed = await _list(engine, **wanted)
    assert (len(listed["items"]), listed["total"]) == (count, count)


async def test_pages_tell_every_row_once(engine: Engine) -> None:
    rows: list[Any] = []
    cursor = None
    while True:
        page = await _list(engine, limit=2, **({"cursor": cursor} if cursor else {}))
        rows += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert rows == (await _list(engine))["items"]


async def test_a_user_does_not_read_it(engine: Engine) -> None:
    with anyio.fail_after(5), pytest.raises(errors.Forbidden):
        await engine.call("audit_list", {}, USER)


async def test_a_time_that_is_none_is_told(engine: Engine) -> None:
    with pytest.raises(errors.InvalidParams) as caught:
        await _list(engine, since="yesterday")
    assert caught.value.errors[0].pointer == "/since"


async def test_who_asks_for_a_tenant_that_is_not_his_is_on_record_in_the_log_of_his_own(engine: Engine) -> None:
    stranger = replace(USER, principal=replace(USER.principal, username="eve"), tenant="tenant-b")
    ways = [(stranger, {}), (replace(stranger, tenant="tenant-a"), {"tenant_id": "tenant-b"})]
    for caller, arguments in ways:
        with anyio.fail_after(5), pytest.raises(errors.NotFound, match="no tenant tenant-b for eve"):
            await engine.call("trigger_list", arguments, caller)
    listed = await _list(engine, username="eve")
    assert [(row["operation"], row["decision"], row["target"]) for row in listed["items"]] == [
        ("trigger_list", "not_found", "tenant tenant-b")
    ] * 2
    theirs = await engine.call("audit_list", {}, replace(ADMIN, tenant="tenant-b"))
    assert "eve" not in str(theirs)
