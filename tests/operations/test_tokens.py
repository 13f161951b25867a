"""API tokens: shown once, kept as a hash, bounded to tenants, and gone when they are revoked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from engines import ADMIN, USER, engine_on

from core import clock, errors
from core.engine import Engine
from core.model.principal import SYSTEM, Caller, Principal, Role
from mcp_server.http.auth import TokenAuth

pytestmark = pytest.mark.anyio

TENANT_ADMIN = Caller(Principal("carol", Role.ADMIN, ("tenant-a",)), "tenant-a")


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=0) as running:
        yield running


async def _make(engine: Engine, caller: Caller = ADMIN, **more: Any) -> dict[str, Any]:
    return await engine.call("token_create", {"username": "bob", "tenants": ["tenant-a"], **more}, caller)


async def _verify(engine: Engine, token: str) -> dict[str, Any]:
    return await engine.call("token_verify", {"token": token}, SYSTEM)


async def test_a_token_stands_for_its_user_and_its_secret_is_nowhere_in_the_store(engine: Engine) -> None:
    with anyio.fail_after(10):
        made = await _make(engine, role="admin")
        assert await _verify(engine, made["token"]) == {
            "username": "bob",
            "role": "admin",
            "tenants": ["tenant-a"],
            "platform": False,
        }
        listed = (await engine.call("token_list", {}, ADMIN))["items"]
        dump = await engine.database.read(lambda db: "\n".join(db.conn.iterdump()))
    assert [row["id"] for row in listed] == [made["id"]]
    assert made["token"] not in dump
    assert "token" not in listed[0]


@pytest.mark.parametrize("token", ["", "sluice_", "sluice_" + "0" * 64, "x" * 256])
async def test_an_unknown_token_is_refused_without_a_clue(engine: Engine, token: str) -> None:
    with anyio.fail_after(10):
        await _make(engine)
        with pytest.raises(errors.Unauthenticated, match="not valid"):
            await _verify(engine, token)


async def test_a_revoked_token_is_refused_at_once_also_by_the_http_door(engine: Engine) -> None:
    with anyio.fail_after(10):
        made = await _make(engine)
        door = TokenAuth(engine)  # type: ignore[arg-type]
        assert (await door.principal(f"Bearer {made['token']}")).username == "bob"
        await engine.call("token_revoke", {"id": made["id"]}, ADMIN)
        with pytest.raises(errors.Unauthenticated):
            await door.principal(f"Bearer {made['token']}")
        with pytest.raises(errors.NotFound):
            await engine.call("token_revoke", {"id": made["id"]}, ADMIN)


async def test_an_expired_token_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with anyio.fail_after(10):
        made = await _make(engine, expires_in_seconds=60)
        await _verify(engine, made["token"])
        later = clock.now_ns() + 61 * clock.NANOSECONDS
        monkeypatch.setattr(clock, "now_ns", lambda: later)
        with pytest.raises(errors.Unauthenticated):
            await _verify(engine, made["token"])


async def test_nobody_gives_away_more_than_he_has(engine: Engine) -> None:
    with anyio.fail_after(10):
        with pytest.raises(errors.Forbidden):
            await _make(engine, USER)
        with pytest.raises(errors.NotFound):
            await _make(engine, TENANT_ADMIN, tenants=["tenant-b"])
        with pytest.raises(errors.Forbidden):
            await _make(engine, TENANT_ADMIN, tenants=["*"])
        other = await _make(engine, tenants=["tenant-b"])
        assert (await engine.call("token_list", {}, TENANT_ADMIN))["items"] == []
        with pytest.raises(errors.NotFound):
            await engine.call("token_revoke", {"id": other["id"]}, TENANT_ADMIN)
