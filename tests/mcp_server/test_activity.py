"""Activity forwarding: what sessions call is told to the engine, metadata only, and never in the way of a call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import errors
from core.model.principal import Caller, Principal, Role
from core.settings import Settings
from mcp_server import attach
from mcp_server.activity import MOST_WAITING, Forwarder
from mcp_server.door import Door, Origin
from mcp_server.session import EngineSession
from tests.mcp_server import fake

pytestmark = pytest.mark.anyio


async def call(served: Door, tool: str, arguments: dict[str, Any], origin: Origin) -> dict[str, Any]:
    return await served.call(await served.resolve(tool, arguments, origin.caller), origin)


SECRET = "do-not-tell-4711"


def door(session: EngineSession, **more: Any) -> Door:
    async def opened() -> EngineSession:
        return session

    return Door(opened, fake.options(allow_write=True, activity_forward=True, label="ci", **more), "stdio")


async def test_admins_see_who_called_which_tool_and_nothing_of_what_was_said(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with attach.open_session(Settings(home=tmp_path / "home", workers=0)) as session:
            served = door(session)
            origin = Origin(served.effective(fake.CALLER), "2026-07-28")
            await call(served, "catalog_search", {"query": SECRET, "limit": 1}, origin)
            await call(served, "trigger_get", {"slug": SECRET}, origin)
            await call(served, "mcp_server_metrics", {}, origin)
            assert served._activity is not None
            await served._activity.aclose()
            listed = await session.call("mcp_activity_list", {"label": "ci"}, fake.CALLER)
            rows = [(row["tool"], row["outcome"], row["transport"], row["protocol"]) for row in listed["items"]]
            assert rows == [
                ("mcp_server_metrics", "ok", "stdio", "2026-07-28"),
                ("trigger_get", "not_found", "stdio", "2026-07-28"),
                ("catalog_search", "ok", "stdio", "2026-07-28"),
            ]
            assert {row["username"] for row in listed["items"]} == {"ada"}
            assert SECRET not in str(listed)
            failed = await session.call("mcp_activity_list", {"outcome": "not_found", "limit": 1}, fake.CALLER)
            assert failed["total"] == 1 and failed["next_cursor"] is None
            page = await session.call("mcp_activity_list", {"limit": 2}, fake.CALLER)
            rest = await session.call("mcp_activity_list", {"limit": 2, "cursor": page["next_cursor"]}, fake.CALLER)
            assert [row["tool"] for row in rest["items"]] == ["catalog_search"]
            assert served.metrics(origin)["activity"] == {"forward": True, "sent": 3, "dropped": 0}


async def test_users_and_other_tenants_see_none_of_it(tmp_path: Path) -> None:
    user = Caller(Principal("bob", Role.USER, ("default",)))
    other = replace(fake.CALLER, principal=Principal("eve", Role.ADMIN, ("b",)), tenant="b")
    with anyio.fail_after(20):
        async with attach.open_session(Settings(home=tmp_path / "home", workers=0)) as session:
            record = {"tool": "explain", "outcome": "ok", "duration_ms": 1, "at_ns": 1}
            await session.call("mcp_activity_record", {"records": [record]}, replace(user, allow_write=False))
            for operation in ("mcp_activity_list", "mcp_notifications_transport_get"):
                with pytest.raises(errors.Forbidden):
                    await session.call(operation, {}, user)
            assert (await session.call("mcp_activity_list", {}, other))["total"] == 0
            assert (await session.call("mcp_activity_list", {}, fake.CALLER))["items"][0]["username"] == "bob"
            with pytest.raises(errors.InvalidParams):
                await session.call("mcp_activity_record", {"records": [{**record, "arguments": {}}]}, user)
            told = await session.call("mcp_notifications_transport_get", {}, fake.CALLER)
            assert told["stream"]["path"] == "/api/messages/subscribe"
            assert told["polling"]["tool"] == "job_notifications_recent"


async def test_a_call_succeeds_when_its_record_cannot_be_sent() -> None:
    class Deaf(fake.FakeSession):
        async def call(self, operation: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
            if operation == "mcp_activity_record":
                raise errors.StorageUnavailable("full")
            return await super().call(operation, arguments, caller)

    with anyio.fail_after(5):
        served = door(Deaf())
        origin = Origin(served.effective(fake.CALLER), "2026-07-28")
        answer = await call(served, "catalog_search", {"limit": 1}, origin)
        assert answer["isError"] is False
        assert served._activity is not None
        await served._activity.aclose()
        assert served.metrics(origin)["activity"] == {"forward": True, "sent": 0, "dropped": 1}


async def test_a_slow_engine_holds_up_neither_the_call_nor_the_end_and_the_queue_is_bounded() -> None:
    class Slow(fake.FakeSession):
        async def call(self, operation: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
            await anyio.sleep_forever()
            raise AssertionError

    async def opened() -> EngineSession:
        return Slow()

    with anyio.fail_after(5):
        forwarder = Forwarder(opened, {})
        for _ in range(MOST_WAITING + 10):
            forwarder.note(fake.CALLER, "", "explain", "ok", 0.1)
        assert len(forwarder._waiting) == MOST_WAITING and forwarder.dropped == 10
        await forwarder.aclose()


async def test_nothing_is_told_without_the_flag() -> None:
    engine = fake.FakeSession()

    async def opened() -> EngineSession:
        return engine

    served = Door(opened, fake.options(allow_write=True), "stdio")
    await call(served, "catalog_search", {"limit": 1}, Origin(served.effective(fake.CALLER)))
    assert [operation for operation, _ in engine.calls] == ["catalog_search"]
