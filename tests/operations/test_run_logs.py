"""The log of one run and of one invocation, through a real engine with a real worker process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core import clock, errors
from core.engine import Engine
from core.fleet.left_out import RUN_UNDER_WAY, LeftOut
from core.model import frames
from core.model.log_line import InRun
from core.model.log_lines import Gathered
from core.model.principal import Caller, Principal, Role, Surface
from core.model.states import RunState
from core.store.log_chunks import Source
from tests import waiting
from tests.engines import ADMIN, USER, deploy, engine_on
from tests.fleet.test_runs import ROW

pytestmark = pytest.mark.anyio
WRITER = """
name: writer
input: {echo: {event: "for ${msg|job_event.params.who}", trigger: {message: {filter-kind: user, filter-tag: writer}}}}
output: {print: {input-field: _raw}}
"""
TRIGGER = {
    "slug": "write",
    "display_name": "Write",
    "description": "Writes a line.",
    "parameter_schema": {"type": "object", "properties": {"who": {"type": "string"}}},
    "target_job_name": "writer",
    "target_message_tag": "writer",
}
TICK = """
name: ticker
input: {echo: {event: tick, trigger: {interval: 100ms}}}
output: {print: {input-field: _raw}}
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=1) as made:
        yield made


async def search(engine: Engine, **arguments: Any) -> list[dict[str, Any]]:
    found = await engine.call("log_search", arguments, USER)
    assert found["complete"]
    return list(found["items"])


async def test_the_log_of_an_invocation_has_its_lines_alone(engine: Engine) -> None:
    await deploy(engine, WRITER)
    await engine.call("trigger_publish", TRIGGER, ADMIN)
    who = [f"w{number}" for number in range(6)]
    calls = (engine.call("trigger_invoke", {"slug": "write", "params": {"who": one}}, ADMIN) for one in who)
    ran = await asyncio.gather(*calls)
    await waiting.until(lambda: search(engine, text="for w"), lambda lines: len(lines) == len(who))
    ids = [invoked["invocation_id"] for invoked in ran]
    for one, id in zip(who, ids, strict=True):
        shown = await engine.call("trigger_invocation_get", {"invocation_id": id}, USER)
        (call,) = shown["next"]
        (line,) = await search(engine, **call["arguments"])
        assert (call["call"], line["text"], line["invocation"]) == ("log_search", f"for {one}", id)
        assert await search(engine, run=line["run"]) == [line]
    log = await engine.call("job_log", {"name": "writer"}, USER)
    assert {line["invocation"] for line in log["items"] if "invocation" in line} == set(ids)
    with pytest.raises(errors.NotFound, match="no invocation inv_x"):
        await search(engine, invocation="inv_x")


async def test_the_log_of_a_run_has_its_lines_alone_and_can_be_followed(engine: Engine) -> None:
    await deploy(engine, TICK)

    async def runs() -> list[dict[str, Any]]:
        found = await engine.call("run_list", {"job": "ticker", "state": "succeeded"}, USER)
        return list(found["items"])

    for run in (await waiting.until(runs, lambda found: len(found) >= 3))[:3]:
        shown = await engine.call("run_get", {"run_id": run["run_id"]}, USER)
        (call,) = shown["next"]
        assert call["arguments"] == {"run": run["run_id"]}
        (line,) = await waiting.until(lambda: search(engine, run=run["run_id"]))  # noqa: B023 - awaited here
        assert (line["text"], line["run"]) == ("tick", run["name"])
        page = {"run": run["run_id"], "after": clock.encode(1)}
        assert [one["text"] for one in (await engine.call("log_search", page, USER))["items"]] == ["tick"]
    with pytest.raises(errors.NotFound, match="no run run_00000"):
        await search(engine, run="run_0000000000000001")


async def test_what_a_worker_calls_a_run_leads_to_no_other_job_and_no_other_tenant(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        run, invocation = "same-1", "inv_" + clock.encode(clock.now_ns()) + "0" * 12
        for workload in ("tenant-a/j#0", "tenant-a/other#0", "tenant-b/j#0"):
            _write(engine, workload, InRun(run, invocation))
        now = clock.now_ns()
        row = await _row(engine, frames.Run("tenant-a/j#0", 1, "once", now - 1, now, 1, 1, 0, True, "", run=run))
        assert [line["text"] for line in await search(engine, run=row)] == ["of tenant-a/j#0"]
        of_b = Caller(Principal("eve", Role.USER, ("tenant-b",)), "tenant-b", Surface.INTERNAL)
        for arguments in ({"run": run}, {"invocation": invocation}):
            theirs = await engine.call("log_search", arguments, of_b)
            assert [line["text"] for line in theirs["items"]] == ["of tenant-b/j#0"]
        with pytest.raises(errors.NotFound):
            await engine.call("log_search", {"run": row}, of_b)
        found = await search(engine, invocation=invocation)
        assert sorted(line["text"] for line in found) == ["of tenant-a/j#0", "of tenant-a/other#0"]


async def test_who_follows_a_run_finds_it_also_when_there_is_no_item_of_it_any_more(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        now = clock.now_ns()
        engine.fleet.runs.began(ROW, "w", frames.Began(ROW.id, "r-1", "message", now), 0)
        await engine.fleet.runs.settled()
        (item,) = (await engine.call("run_list", {}, USER))["items"]
        _write(engine, ROW.id, InRun("r-1", ""))
        _write(engine, ROW.id, InRun("r-2", ""))
        found = await engine.call("log_search", {"run": item["run_id"]}, USER)
        assert [line["run"] for line in found["items"]] == ["r-1"]
        ended = frames.Run(ROW.id, 1, "message", now, clock.now_ns(), 1, 1, 0, True, "", run="r-1")
        assert engine.fleet.runs.ended(ROW, "w", ended, 0) == 0
        await engine.fleet.runs.settled()
        assert (await engine.call("run_list", {}, USER))["items"] == []
        _write(engine, ROW.id, InRun("r-1", ""))
        page = {"run": item["run_id"], "after": found["after"]}
        assert [line["run"] for line in (await engine.call("log_search", page, USER))["items"]] == ["r-1"]


async def test_the_items_of_several_runs_and_of_none_say_where_their_lines_are(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        began = clock.now_ns()
        for name in ("r-1", "r-2"):  # which did nothing else
            _write(engine, ROW.id, InRun(name, ""))
            ended = frames.Run(ROW.id, 1, "interval", began, clock.now_ns(), 0, 0, 0, True, "", run=name)
            engine.fleet.runs.ended(ROW, "w", ended, 0)
        engine.fleet.runs.left_out(ROW, "w", LeftOut(RunState.SKIPPED, RUN_UNDER_WAY, 1, began, clock.now_ns()))
        await engine.fleet.runs.settled()
        skipped, both = (await engine.call("run_list", {}, USER))["items"]
        assert (both["count"], skipped["state"]) == (2, "skipped")
        assert [line["run"] for line in await search(engine, run=both["run_id"])] == ["r-2", "r-1"]
        assert [line["run"] for line in await search(engine, run="r-1")] == ["r-1"]
        assert await search(engine, run=skipped["run_id"]) == []


def _write(engine: Engine, workload: str, in_run: InRun) -> None:
    said = Gathered()
    said.add(clock.now_ns(), "info", f"of {workload}", {}, in_run)
    lines = frames.Lines(workload, 1, frames.Json(said.columns()), frames.Json(said.text()))
    engine.fleet.logs.take(Source(workload, "", "w"), lines)


async def _row(engine: Engine, ended: frames.Run) -> str:
    """The id of the item of a run of which a worker tells."""
    engine.fleet.runs.ended(ROW, "w", ended, 0)
    await engine.fleet.runs.settled()
    (item,) = (await engine.call("run_list", {}, USER))["items"]
    return str(item["run_id"])
