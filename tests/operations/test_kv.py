"""What people may do to the KV store, and what they may not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import errors
from core.engine import Engine
from core.kv import lookouts
from core.model.kv import Namespace
from core.store import audit
from tests import waiting
from tests.engines import ADMIN, USER, engine_on

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home") as running:
        yield running


async def test_what_was_set_is_shown_with_its_time(engine: Engine) -> None:
    done = await engine.call(
        "kv_set", {"namespace": "n", "key": "k", "value": {"a": [1, None]}, "ttl_ms": 60_000}, ADMIN
    )
    shown = await engine.call("kv_get", {"namespace": "tenant-a:n", "key": "k"}, USER)
    assert done == {"namespace": "tenant-a:n", "key": "k", "done": True, "revision": shown["revision"]}
    assert (shown["value"], shown["format"], shown["members"]) == ({"a": [1, None]}, "json", [])
    assert shown["expires_at"].endswith("Z")


async def test_a_raw_string_stays_as_it_is(engine: Engine) -> None:
    arguments = {"namespace": "n", "key": "k", "value": "not {json", "format": "raw-string"}
    await engine.call("kv_set", arguments, ADMIN)
    shown = await engine.call("kv_get", {"namespace": "n", "key": "k"}, USER)
    assert (shown["value"], shown["format"], shown["expires_at"]) == ("not {json", "raw-string", None)
    with pytest.raises(errors.InvalidParams) as caught:
        await engine.call("kv_set", {**arguments, "value": 7}, ADMIN)
    assert caught.value.errors[0].pointer == "/value"


async def test_a_revision_that_has_moved_keeps_the_value(engine: Engine) -> None:
    first = await engine.call("kv_set", {"namespace": "n", "key": "k", "value": 1, "if_revision": 0}, ADMIN)
    again = await engine.call("kv_set", {"namespace": "n", "key": "k", "value": 2, "if_revision": 0}, ADMIN)
    assert (first["done"], again["done"]) == (True, False)
    assert again["revision"] == first["revision"]


async def test_keys_come_in_pages(engine: Engine) -> None:
    for n in range(5):
        await engine.call("kv_set", {"namespace": "n", "key": f"a/{n}", "value": "x" * 1000}, ADMIN)
    await engine.call("kv_set", {"namespace": "n", "key": "b", "value": 1}, ADMIN)
    first = await engine.call("kv_list", {"namespace": "n", "prefix": "a/", "limit": 3}, USER)
    rest = await engine.call("kv_list", {"namespace": "n", "prefix": "a/", "cursor": first["next_cursor"]}, USER)
    assert [item["key"] for item in first["items"] + rest["items"]] == [f"a/{n}" for n in range(5)]
    assert rest["next_cursor"] is None
    assert (len(first["items"][0]["value"]), first["items"][0]["characters"]) == (200, 1002)


async def test_a_deleted_key_is_gone_and_the_deed_is_on_record(engine: Engine) -> None:
    await engine.call("kv_set", {"namespace": "n", "key": "k", "value": 1}, ADMIN)
    assert (await engine.call("kv_delete", {"namespace": "n", "key": "k"}, ADMIN))["done"]
    assert not (await engine.call("kv_delete", {"namespace": "n", "key": "k"}, ADMIN))["done"]
    with pytest.raises(errors.NotFound):
        await engine.call("kv_get", {"namespace": "n", "key": "k"}, USER)
    rows = await engine.database.read(audit.recent, "tenant-a")
    assert [(row.operation, row.target) for row in rows][-3:] == [
        ("kv_delete", "tenant-a:n k"),
        ("kv_delete", "tenant-a:n k"),
        ("kv_set", "tenant-a:n k"),
    ]


async def test_a_queue_shows_its_dead_items_which_can_be_handed_out_again_or_discarded(engine: Engine) -> None:
    space = Namespace(engine.kv, "tenant-a:q")
    await space.push('"a"', '"b"', '"c"')
    for _ in range(2):
        lease = await space.pop_batch(2, max_attempts=2)
        assert lease is not None
        await space.release(lease.id)
    shown = await engine.call("kv_queue", {"namespace": "q"}, USER)
    assert (shown["depth"], shown["leased"], shown["dead"]) == (1, 0, 2)
    assert shown["dead_items"][0] == {"value": '"a"', "characters": 3, "attempts": 2}
    done = await engine.call("kv_dead_items", {"namespace": "q", "action": "requeue", "limit": 1}, ADMIN)
    assert done["items"] == 1
    lease = await space.pop_batch(1)
    assert lease is not None
    assert (lease.items[0].value, lease.items[0].attempt) == ('"a"', 1)
    assert (await engine.call("kv_dead_items", {"namespace": "q", "action": "discard"}, ADMIN))["items"] == 1
    assert (await engine.call("kv_queue", {"namespace": "q"}, USER))["dead"] == 0


async def test_namespaces_that_hold_anything_are_listed_for_their_tenant_only(engine: Engine) -> None:
    mine, other = Namespace(engine.kv, "tenant-a:values"), Namespace(engine.kv, "tenant-b:values")
    await mine.set("k", "1")
    await other.set("k", "1")
    await Namespace(engine.kv, "tenant-a:sets").add("s", "m")
    await Namespace(engine.kv, "tenant-a:queue").push("1", "2")
    await Namespace(engine.kv, "tenant-a:queue").pop_batch(1)
    await Namespace(engine.kv, "tenant-a:leased").push("1")
    await Namespace(engine.kv, "tenant-a:leased").pop_batch(1)
    page = await engine.call("kv_namespaces", {"limit": 3}, USER)
    rest = await engine.call("kv_namespaces", {"cursor": page["next_cursor"]}, USER)
    names = [item["namespace"] for item in page["items"] + rest["items"]]
    assert names == ["tenant-a:leased", "tenant-a:queue", "tenant-a:sets", "tenant-a:values"]
    assert page["items"][1] == {"namespace": "tenant-a:queue", "depth": 1, "leased": 1, "dead": 0}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("kv_get", {"key": "k"}),
        ("kv_list", {}),
        ("kv_queue", {}),
        ("kv_set", {"key": "k", "value": 1}),
        ("kv_delete", {"key": "k"}),
        ("kv_dead_items", {"action": "discard"}),
    ],
)
async def test_another_tenants_namespace_is_refused(engine: Engine, name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(errors.Forbidden):
        await engine.call(name, {"namespace": "tenant-b:n", **arguments}, ADMIN)
    with pytest.raises(errors.InvalidParams) as caught:
        await engine.call(name, {"namespace": "tenant-a:", **arguments}, ADMIN)
    assert caught.value.errors[0].pointer == "/namespace"


async def test_changing_needs_an_admin(engine: Engine) -> None:
    for name, arguments in (("kv_set", {"key": "k", "value": 1}), ("kv_delete", {"key": "k"})):
        with pytest.raises(errors.Forbidden):
            await engine.call(name, {"namespace": "n", **arguments}, USER)
        with pytest.raises(errors.WriteDisabled):
            await engine.call(name, {"namespace": "n", **arguments}, replace(ADMIN, allow_write=False))


async def test_a_value_beyond_the_bounds_is_refused(engine: Engine) -> None:
    with pytest.raises(errors.InvalidParams):
        await engine.call("kv_set", {"namespace": "n", "key": "é" * 300, "value": 1}, ADMIN)


async def test_what_a_tenant_keeps_is_told_beside_what_it_may_keep(engine: Engine) -> None:
    await engine.call("kv_set", {"namespace": "n", "key": "k", "value": "x" * 100}, ADMIN)
    found = await engine.call("kv_namespaces", {}, ADMIN)
    assert (found["used_bytes"], found["most_bytes"]) == (64 + 1 + 102, 1024 * 1024 * 1024)
    engine.kv.tenant_bytes = 200
    with pytest.raises(errors.QuotaExceeded) as caught:
        await engine.call("kv_set", {"namespace": "other", "key": "k", "value": "x" * 100}, ADMIN)
    assert "kv_tenant_mb" in caught.value.hint


async def watched(engine: Engine, **arguments: object) -> dict[str, Any]:
    return await engine.call("kv_watch", {"namespace": "n", **arguments}, USER)


async def test_people_follow_what_changes_from_what_is_there(engine: Engine) -> None:
    space = Namespace(engine.kv, "tenant-a:n")
    await space.set("jobs/a", "1")
    await space.set("else", "2")
    first = await watched(engine, prefix="jobs/")
    assert [(item["key"], item["value"]) for item in first["items"]] == [("jobs/a", "1")]
    assert (await watched(engine, watch=first["watch"]))["items"] == []
    asked = asyncio.create_task(watched(engine, watch=first["watch"], wait_seconds=10))
    await waiting.begun(asked)
    await space.set("jobs/b", "3")
    with anyio.fail_after(5):
        (item,) = (await asked)["items"]
    assert (item["key"], item["value"], item["deleted"]) == ("jobs/b", "3", False)
    await space.delete("jobs/a")
    await space.set("jobs/b", "4")
    await space.set("else", "5")
    then = await watched(engine, watch=first["watch"])
    assert [(item["key"], item.get("value"), item["deleted"]) for item in then["items"]] == [
        ("jobs/a", None, True),
        ("jobs/b", "4", False),
    ]
    assert not then["lagged"]


async def test_a_watch_belongs_to_its_namespace_and_ends_when_nobody_asks(engine: Engine) -> None:
    now = [0.0]
    engine.lookouts = lookouts.Lookouts(engine.kv, lambda: now[0])
    id = (await watched(engine))["watch"]
    with pytest.raises(errors.NotFound):
        await watched(engine, namespace="other", watch=id)
    now[0] = lookouts.KEPT_SECONDS - 1
    assert (await watched(engine, watch=id))["items"] == []
    now[0] *= 3
    with pytest.raises(errors.NotFound, match="has ended"):
        await watched(engine, watch=id)
    assert not engine.kv._watches


async def test_a_user_and_a_tenant_have_a_bounded_number_of_watches(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookouts, "MOST_OF_A_USER", 2)
    monkeypatch.setattr(lookouts, "MOST_OF_A_TENANT", 3)
    for _ in range(2):
        await watched(engine)
    with pytest.raises(errors.RateLimited, match="The user bob has 2 watches"):
        await watched(engine)
    await engine.call("kv_watch", {"namespace": "n"}, ADMIN)  # his neighbour has room
    with pytest.raises(errors.RateLimited, match="This tenant has 3 watches"):
        await engine.call("kv_watch", {"namespace": "n"}, ADMIN)
    await engine.call("kv_watch", {"namespace": "n"}, replace(ADMIN, tenant="tenant-b"))
