"""One tenant's job ends the worker that it shares with others: they lose seconds, it loses its place."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core.engine import Engine
from core.fleet import inquest, probation
from core.model.principal import Caller, Principal, Role, Surface
from core.model.workload import WorkloadView
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on

pytestmark = pytest.mark.anyio

EVIL = Caller(Principal("mallory", Role.ADMIN, ("tenant-b",)), "tenant-b", Surface.INTERNAL)
TRIGGER = orjson.loads((EXAMPLES / "smoke_trigger.json").read_bytes())
HANDLER = (EXAMPLES / "smoke_trigger_handler.yaml").read_text(encoding="utf-8")
BEAT_SECONDS = 0.2
SECONDS = 60.0

# In a C function that no bound of ours reaches: a pattern whose program is large, over a long text.
LOOPS = """
name: evil
input: {echo: {event: "{}", json: true, trigger: {interval: 100ms}}}
actions:
  - script: "event.text = ('ab'):rep(500000)"
  - extract: {input-field: text, pattern: "(a|b)*a(a|b){500}c", output-fields: [one, two]}
output: {discard: {}}
"""
EATS = """
name: evil
input: {echo: {event: "{}", json: true, trigger: {interval: 100ms}}}
actions:
  - script: "local s = ('x'):rep(1000000) for i = 1, 60 do event['k' .. i] = s end"
output: {discard: {}}
"""


@asynccontextmanager
async def _two_tenants(home: Path, document: str, **settings: Any) -> AsyncIterator[Engine]:
    """An engine with one worker, a trigger of tenant-a that answers, and then the job of tenant-b beside it."""
    async with engine_on(home, workers=1, heartbeat_seconds=BEAT_SECONDS, drain_seconds=0.5, **settings) as engine:
        await deploy(engine, HANDLER)
        await engine.call("trigger_publish", TRIGGER, ADMIN)
        assert await _answers(engine)
        await engine.call("job_put", {"document": document}, EVIL)
        await engine.call("job_deploy", {"name": "evil", "wait_seconds": 0}, EVIL)
        yield engine


async def _answers(engine: Engine) -> bool:
    """Whether a run of the neighbour's trigger succeeds."""
    asked = {"slug": "smoke_trigger", "params": {"env": "x"}, "wait_timeout_seconds": 30}
    return bool((await engine.call("trigger_invoke", asked, ADMIN))["state"] == "succeeded")


def _state(engine: Engine) -> str:
    return engine.fleet.workload_views(tenant="tenant-b", job="evil")[0].state


async def _quarantined(engine: Engine) -> None:
    assert await engine.fleet.wait(lambda: _state(engine) == "quarantined", SECONDS)


@pytest.mark.parametrize(
    "document, settings, cause",
    [
        (LOOPS, {}, "fell silent"),
        pytest.param(
            EATS, {"worker_memory_mb": 110}, "ran out of memory", marks=pytest.mark.fresh
        ),  # in a process of usual size
    ],
    ids=["loops", "eats"],
)
async def test_who_ends_a_worker_again_and_again_is_quarantined_and_its_neighbour_stays_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: str, settings: dict[str, Any], cause: str
) -> None:
    monkeypatch.setattr(inquest, "HOLD_SECONDS", 0.5)
    home = tmp_path / "home"
    with anyio.fail_after(3 * SECONDS):
        async with _two_tenants(home, document, **settings) as engine:
            await _quarantined(engine)
            restarts = engine.fleet.workers["local-1"].restarts
            assert restarts == 3
            for _ in range(5):
                started = time.monotonic()
                assert await _answers(engine)
                assert time.monotonic() - started < 5
            told = await engine.call("explain", {"kind": "workload", "id": "evil"}, EVIL)
            assert told["state"] == "quarantined"
            assert any(cause in one["what"] for one in told["because"])
            assert [one["call"] for one in told["next"] if one["call"] == "job_deploy"]
            messages = await engine.call("message_search", {"type": "job-quarantined"}, EVIL)
            assert len(messages["items"]) == 1
            assert (await engine.call("message_search", {"type": "job-quarantined"}, ADMIN))["items"] == []
            audited = await engine.call("audit_list", {"operation": "job_quarantine"}, EVIL)
            assert [row["target"] for row in audited["items"]] == ["tenant-b/evil"]
            runs = (await engine.call("run_list", {"job": "evil", "state": "failed"}, EVIL))["items"]
            assert len(runs) == 3 and all(" while evil was at work" in one["reason"] for one in runs), runs
            assert engine.fleet.workers["local-1"].restarts == restarts
        async with engine_on(home, workers=1, heartbeat_seconds=BEAT_SECONDS, drain_seconds=0.5) as engine:
            assert await _answers(engine)
            assert _state(engine) == "quarantined"
            mended = "name: evil\ninput: {echo: {event: x, trigger: {interval: 1s}}}\noutput: {discard: {}}"
            await deploy(engine, mended, EVIL)
            assert _state(engine) == "running"


GOOD = "name: good\ninput: {echo: {event: x, trigger: {interval: {duration: 1h}}}}\noutput: {discard: {}}"


async def test_a_new_name_for_the_same_job_is_no_way_around_the_quarantine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probation, "MOST_OF_TENANT", 2)

    async def start(engine: Engine, name: str, document: str = LOOPS, **more: Any) -> None:
        await engine.call("job_put", {"document": document.replace("name: evil", f"name: {name}")}, EVIL)
        await engine.call("job_deploy", {"name": name, "wait_seconds": 0, **more}, EVIL)

    def of(engine: Engine, name: str) -> WorkloadView:
        return engine.fleet.workload_views(tenant="tenant-b", job=name)[0]

    with anyio.fail_after(3 * SECONDS):
        async with _two_tenants(tmp_path / "home", GOOD.replace("good", "evil")) as engine:
            await start(engine, "good", GOOD)
            assert await engine.fleet.wait(lambda: of(engine, "good").state == "running", SECONDS)
            for number in range(2):
                await start(engine, f"evil-{number}")
                assert await engine.fleet.wait(lambda n=number: engine.fleet.inquest.deaths.total() > n, SECONDS)
                await engine.call("job_undeploy", {"name": f"evil-{number}"}, EVIL)
            for number in range(2, 6):
                await start(engine, f"evil-{number}")
            assert await engine.fleet.wait(lambda: of(engine, "good").state == "running", SECONDS)
            for _ in range(5):
                started = time.monotonic()
                assert await _answers(engine)
                assert time.monotonic() - started < 5
            assert engine.fleet.inquest.deaths.total() == 2
            held = of(engine, "evil-3")
            assert held.state == "assigned" and "ended workers 2 times" in held.reason
            told = await engine.call("explain", {"kind": "workload", "id": "evil-3"}, EVIL)
            assert any("a group that admits this tenant alone" in str(one) for one in told["because"])
            found = await engine.call("message_search", {"type": "tenant-on-probation"}, EVIL)
            assert len(found["items"]) == 1
            assert (await engine.call("message_search", {"type": "tenant-on-probation"}, ADMIN))["items"] == []
            assert list((await engine.call("engine_status", {}, ADMIN))["probation"]) == ["tenant-b"]
