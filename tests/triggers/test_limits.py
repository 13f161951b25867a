"""Rate limits: one count for a user, whatever door, process or owner the calls come through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import clock, errors
from core.engine import Engine
from core.model.principal import Surface
from core.settings import Settings
from mcp_server.attach import open_session
from tests.engines import ADMIN, USER, engine_on

pytestmark = pytest.mark.anyio

SLUG = "limited"


def definition(per_user: int = 3, per_seconds: int = 60) -> dict[str, Any]:
    policy = {"allow_user": True, "rate_limit": {"per_user": per_user, "per_seconds": per_seconds}}
    return {"slug": SLUG, "tenant_id": "tenant-a", "target_job_name": "none", "invoke_policy": policy}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=0) as running:
        yield running


async def accepted(call: Any, count: int) -> int:
    """How many of `count` calls at once were accepted."""
    outcomes = await asyncio.gather(*(call() for _ in range(count)), return_exceptions=True)
    assert all(isinstance(one, dict | errors.RateLimited) for one in outcomes), outcomes
    return sum(isinstance(one, dict) for one in outcomes)


async def test_calls_at_once_from_every_door_count_together(engine: Engine) -> None:
    await engine.call("trigger_publish", definition(5), ADMIN)
    doors = [replace(USER, surface=surface) for surface in (Surface.MCP, Surface.HTTP, Surface.CLI)]
    turn = iter(doors * 100)
    assert await accepted(lambda: engine.call("trigger_invoke", {"slug": SLUG}, next(turn)), 60) == 5
    assert await accepted(lambda: engine.call("trigger_invoke", {"slug": SLUG}, ADMIN), 20) == 5, "another user"
    listed = await engine.call("trigger_invocation_list", {}, ADMIN)
    assert listed["total"] == 10, "nothing is recorded for a call that was refused"


async def test_an_attached_process_and_its_owner_count_together(tmp_path: Path, engine: Engine) -> None:
    await engine.call("trigger_publish", definition(5), ADMIN)
    async with open_session(Settings(home=tmp_path / "home")) as session:
        counts = await asyncio.gather(
            accepted(lambda: session.call("trigger_invoke", {"slug": SLUG}, USER), 20),
            accepted(lambda: engine.call("trigger_invoke", {"slug": SLUG}, USER), 20),
        )
    assert sum(counts) == 5


async def test_a_new_owner_goes_on_counting_where_the_one_before_ended(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        await engine.call("trigger_publish", definition(3), ADMIN)
        assert await accepted(lambda: engine.call("trigger_invoke", {"slug": SLUG}, USER), 2) == 2
    async with engine_on(tmp_path / "home", workers=0) as engine:
        assert await accepted(lambda: engine.call("trigger_invoke", {"slug": SLUG}, USER), 20) == 1
        with pytest.raises(errors.RateLimited) as caught:
            await engine.call("trigger_invoke", {"slug": SLUG}, USER)
    assert 1 <= caught.value.details["retry_after_seconds"] <= 60


async def test_a_revision_with_a_longer_window_counts_what_ran_before_it(engine: Engine) -> None:
    unlimited = {key: value for key, value in definition().items() if key != "invoke_policy"}
    await engine.call("trigger_publish", {**unlimited, "invoke_policy": {"allow_user": True}}, ADMIN)
    assert await accepted(lambda: engine.call("trigger_invoke", {"slug": SLUG}, USER), 4) == 4
    await engine.call("trigger_revise", definition(5, 3600), ADMIN)
    assert await accepted(lambda: engine.call("trigger_invoke", {"slug": SLUG}, USER), 10) == 1


async def test_a_replay_costs_nothing_and_works_when_nothing_is_left(engine: Engine) -> None:
    await engine.call("trigger_publish", definition(2), ADMIN)
    keyed = {"slug": SLUG, "idempotency_key": "k"}
    first = await engine.call("trigger_invoke", keyed, USER)
    for _ in range(5):
        assert (await engine.call("trigger_invoke", keyed, USER))["invocation_id"] == first["invocation_id"]
    await engine.call("trigger_invoke", {"slug": SLUG}, USER)
    assert (await engine.call("trigger_invoke", keyed, USER))["deduplicated"] is True
    with pytest.raises(errors.IdempotencyMismatch):
        await engine.call("trigger_invoke", {**keyed, "params": {"a": 1}}, USER)
    with pytest.raises(errors.RateLimited):
        await engine.call("trigger_invoke", {**keyed, "idempotency_key": "new"}, USER)


async def test_a_call_that_is_not_valid_costs_nothing(engine: Engine) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    await engine.call("trigger_publish", {**definition(1), "parameter_schema": schema}, ADMIN)
    for _ in range(3):
        with pytest.raises(errors.InvalidParams):
            await engine.call("trigger_invoke", {"slug": SLUG, "params": {"n": "x"}}, USER)
        with pytest.raises(errors.InvalidParams):
            callback = {"url": "http://127.0.0.1/"}
            await engine.call("trigger_invoke", {"slug": SLUG, "callback": callback}, USER)
    await engine.call("trigger_invoke", {"slug": SLUG}, USER)


async def test_over_any_window_at_most_the_limit_is_accepted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await engine.call("trigger_publish", definition(4, 10), ADMIN)
    real, offset = clock.monotonic, 0.0
    monkeypatch.setattr(clock, "monotonic", lambda: real() + offset)
    times: list[float] = []
    for step in range(200):  # 100 s in steps of half a second
        offset = step / 2
        times += [offset] * await accepted(lambda: engine.call("trigger_invoke", {"slug": SLUG}, USER), 3)
    for start in times:
        assert sum(start <= at < start + 9.9 for at in times) <= 4
    assert len(times) == 40, "and all of them are used"


@pytest.mark.parametrize("jump_seconds", [-86_400, -3_600, 3_600, 86_400])
async def test_a_wall_clock_that_jumps_gives_no_further_runs(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, jump_seconds: int
) -> None:
    await engine.call("trigger_publish", definition(3), ADMIN)
    assert await accepted(lambda: engine.call("trigger_invoke", {"slug": SLUG}, USER), 2) == 2
    real = clock.now_ns
    monkeypatch.setattr(clock, "now_ns", lambda: real() + jump_seconds * clock.NANOSECONDS)
    assert await accepted(lambda: engine.call("trigger_invoke", {"slug": SLUG}, USER), 10) == 1
