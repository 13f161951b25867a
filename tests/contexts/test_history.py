"""What was changed in contexts: old and new, who, and when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlite_utils

from core.engine import Engine
from core.store import contexts, migrations
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=0) as made:
        yield made


async def history(engine: Engine, **filters: Any) -> list[dict[str, Any]]:
    found = await engine.call("context_history", filters, ADMIN)
    return [{key: row.get(key, "-") for key in ("level", "target", "key", "old", "new")} for row in found["items"]]


async def test_each_change_is_told_with_both_sides_and_nothing_that_stayed(engine: Engine) -> None:
    await engine.call("context_set", {"values": {"region": "eu", "n": 1}}, ADMIN)
    again = await engine.call("context_set", {"values": {"region": "us", "n": 1}}, ADMIN)
    assert again["changes"] == [{"path": "region", "old": "eu", "new": "us"}]
    await engine.call("context_set", {"environment": "dev", "values": {"region": "dev"}}, ADMIN)
    seen = await engine.call("context_get", {"environment": "dev"}, ADMIN)
    assert (seen["values"]["region"], seen["hides"]) == ("dev", {"region": {"global": "us"}})
    await engine.call("context_delete", {"keys": ["region"]}, ADMIN)
    every = {"level": "global", "target": "", "key": "region"}
    assert await history(engine, level="global", key="region") == [
        {**every, "old": "us", "new": "-"},
        {**every, "old": "eu", "new": "us"},
        {**every, "old": "-", "new": "eu"},
    ]
    assert [row["new"] for row in await history(engine, environment="dev")] == ["dev"]
    (entry,) = (await engine.call("context_history", {"key": "n"}, ADMIN))["items"]
    assert (entry["by"], entry["surface"]) == (ADMIN.username, ADMIN.surface.value) and entry["at"].endswith("Z")


async def test_pages_go_on_where_the_last_one_ended(engine: Engine) -> None:
    await engine.call("context_set", {"values": {f"k{n}": n for n in range(5)}}, ADMIN)
    first = await engine.call("context_history", {"limit": 3}, ADMIN)
    rest = await engine.call("context_history", {"limit": 3, "cursor": first["next_cursor"]}, ADMIN)
    keys = [row["key"] for row in (*first["items"], *rest["items"])]
    assert sorted(keys) == [f"k{n}" for n in range(5)] and rest["next_cursor"] is None


async def test_a_credential_is_masked_and_a_long_value_is_cut(engine: Engine) -> None:
    long = "x" * (contexts.MOST_KEPT + 1)
    await engine.call("context_set", {"values": {"api_token": "t0p", "long": long}}, ADMIN)
    rows = {row["key"]: row["new"] for row in await history(engine)}
    assert rows["api_token"] == "***"
    assert rows["long"].endswith("…") and len(rows["long"]) <= contexts.MOST_KEPT + 1


async def test_the_oldest_changes_of_a_tenant_make_room(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "MOST_CHANGES", 3)
    for number in range(6):
        await engine.call("context_set", {"values": {"n": number}}, ADMIN)
    assert [row["new"] for row in await history(engine)] == [5, 4, 3]


def test_a_home_of_before_gets_the_history(tmp_path: Path) -> None:
    db = sqlite_utils.Database(tmp_path / "sluice.db")
    migrations.STEPS.apply(db, stop_before="m0028_context_changes")
    db.table("contexts").insert(
        {
            "tenant": "t",
            "level": "global",
            "target": "",
            "key": "k",
            "value": "1",
            "updated_at_ns": 1,
            "updated_by": "u",
        }
    )
    migrations.migrate(db)
    assert contexts.changes(db, "t", {}, None, 10) == [] and len(contexts.of_tenant(db, "t")) == 1
    db.close()
