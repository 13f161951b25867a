"""What comes after the commit of an apply: the health gate, the way back, progress, and what a second apply is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from core import errors
from core.deployments.status import up
from core.engine import Engine
from core.fleet import failing
from core.model.principal import Surface
from tests import waiting
from tests.deployments.running import publish
from tests.engines import ADMIN, engine_on
from tests.operations.test_deployments import SOURCE, apply, deployed, get, plan

pytestmark = pytest.mark.anyio


async def history(engine: Engine) -> list[dict[str, Any]]:
    found = await engine.call("deployment_history", {"name": "demo"}, ADMIN)
    return list(found["items"])


def broken(tmp_path: Path) -> Path:
    """A path that no job can keep files in."""
    path = tmp_path / "a-file"
    path.write_text("not a directory")
    return path


async def test_jobs_that_do_not_come_up_make_the_apply_degraded_with_a_reason_for_each(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        result = await apply(engine, await plan(engine, broken(tmp_path)))
        assert (result["state"], result["rolled_back"], result["revision"]) == ("degraded", False, 1)
        assert "workloads did not come up: demo--" in result["reason"] and "-reader is failed: " in result["reason"]
        assert (result["came_up"], result["unwell_before"]) == (False, [])
        assert next(w["reason"] for w in result["workloads"] if w["state"] == "failed")
        row = await engine.database.read(lambda db: next(db.table("deployments").rows))
        assert (row["state"], row["gate"]) == ("degraded", "")


async def test_a_version_that_does_not_come_up_is_taken_back_and_the_history_says_why(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        first = await deployed(engine, tmp_path / "store")
        result = await apply(engine, await plan(engine, broken(tmp_path)), rollback_on_failure=True)
        assert (result["rolled_back"], result["revision"], result["state"]) == (True, 3, "running")
        assert {w["version"] for w in result["workloads"]} == {w["version"] for w in first["workloads"]}
        assert (await get(engine, detail="detailed"))["values"] == {"path": str(tmp_path / "store")}
        newest, failed, _ = await history(engine)
        assert (newest["action"], newest["revision"], newest["by"]) == ("rollback", 3, "alice")
        assert newest["surface"] == "internal"
        assert newest["reason"].startswith("revision 2 was taken back: ") and "reader is failed" in newest["reason"]
        assert (failed["action"], failed["revision"]) == ("apply", 2)


async def test_a_first_version_that_does_not_come_up_is_removed_again(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        result = await apply(engine, await plan(engine, broken(tmp_path)), rollback_on_failure=True)
        assert (result["rolled_back"], result["state"], result["workloads"]) == (True, "removed", [])
        assert (await get(engine))["state"] == "removed"
        assert [(row["revision"], row["action"]) for row in await history(engine)] == [(2, "rollback"), (1, "apply")]
        # What was removed before is nothing to go back to either.
        again = await apply(engine, await plan(engine, broken(tmp_path)), rollback_on_failure=True)
        assert (again["rolled_back"], again["state"], again["revision"]) == (True, "removed", 4)


TWO = """
kind: blueprint
slug: beat
version: 1.0.0
parameters: {type: object, properties: {path: {type: string}}, required: [path]}
jobs:
  - name: write
    input: {echo: {event: "{}", json: true, trigger: {interval: 100ms}}}
    output: {file: {path: "{{path}}"}}
---
kind: workflow
slug: two
wizard:
  - {field: one, title: One, type: string, required: true}
  - {field: other, title: Other, type: string, required: true}
steps:
  - {id: one, use: "blueprint:beat@1.0.0", with: {path: "{{wizard.one}}"}}
  - {id: other, use: "blueprint:beat@1.0.0", with: {path: "{{wizard.other}}"}}
"""


async def test_what_was_broken_before_and_is_not_touched_takes_nothing_back(tmp_path: Path) -> None:
    blocked = str(broken(tmp_path) / "out.jsonl")
    async with engine_on(tmp_path / "home") as engine:
        *_, source = await publish(engine, *TWO.split("---"))

        async def applied(**values: str) -> dict[str, Any]:
            made = await engine.call("deployment_plan", {"name": "demo", "source": source, "values": values}, ADMIN)
            return await apply(engine, made, rollback_on_failure="one" in values and "other" not in values)

        first = await applied(one=str(tmp_path / "1.jsonl"), other=blocked)
        assert (first["state"], first["came_up"], first["unwell_before"]) == ("degraded", False, [])
        second = await applied(one=str(tmp_path / "2.jsonl"))
        assert (second["state"], second["came_up"], second["rolled_back"]) == ("degraded", True, False)
        assert [fault["job"] for fault in second["unwell_before"]] == ["demo--other"]
        assert second["reason"].startswith("unwell before, and not touched: demo--other is ")
        third = await applied(one=blocked)
        assert (third["came_up"], third["rolled_back"], third["revision"]) == (False, True, 4)
        newest = (await history(engine))[0]
        assert "demo--one is failed" in newest["reason"].partition("unwell before")[0]
        mended = await applied(other=str(tmp_path / "3.jsonl"))
        assert (mended["state"], mended["came_up"], mended["reason"]) == ("running", True, "")


async def test_a_run_that_succeeds_makes_up_for_a_failure_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failing, "SETTLED_SECONDS", 3600.0)  # to be up is not enough in this test
    blocked = broken(tmp_path)
    async with engine_on(tmp_path / "home") as engine:
        *_, source = await publish(engine, *TWO.split("---"))
        values = {"one": str(tmp_path / "1.jsonl"), "other": str(blocked / "out.jsonl")}
        made = await engine.call("deployment_plan", {"name": "demo", "source": source, "values": values}, ADMIN)
        assert (await apply(engine, made))["state"] == "degraded"
        blocked.unlink()
        blocked.mkdir()
        views = lambda: engine.fleet.workload_views(tenant=ADMIN.tenant, deployment="demo")  # noqa: E731
        assert await engine.fleet.wait(lambda: all(map(up, views())), 40)
        seen = await get(engine)
        assert (seen["state"], seen["health"], seen["drift"]) == ("running", "healthy", [])


async def test_a_version_that_comes_up_is_kept(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        result = await apply(engine, await plan(engine, tmp_path / "store"), rollback_on_failure=True)
        assert (result["rolled_back"], result["state"], result["revision"]) == (False, "running", 1)


async def test_the_gate_goes_on_without_its_caller(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, broken(tmp_path))
        told = await apply(engine, made, wait_seconds=0, rollback_on_failure=True)
        assert told["state"] == "applying"
        with anyio.fail_after(20):
            await engine.rollouts.reached(ADMIN.tenant, "demo", 20)
        assert (await get(engine))["state"] == "removed"


async def test_the_gate_goes_on_under_the_next_owner(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, broken(tmp_path))
        await apply(engine, made, wait_seconds=0, rollback_on_failure=True)
        assert (await history(engine))[0]["action"] == "apply"
    async with engine_on(tmp_path / "home") as engine:
        with anyio.fail_after(20):
            await engine.rollouts.reached(ADMIN.tenant, "demo", 20)
        assert (await history(engine))[0]["action"] == "rollback"
        assert (await get(engine))["state"] == "removed"


async def test_a_later_apply_takes_the_gate_over(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await apply(engine, await plan(engine, broken(tmp_path)), wait_seconds=0, rollback_on_failure=True)
        mended = await apply(engine, await plan(engine, tmp_path / "store"))
        assert (mended["state"], mended["revision"], mended["rolled_back"]) == ("running", 2, False)
        assert [row["action"] for row in await history(engine)] == ["apply", "apply"]


async def test_progress_is_announced_in_counts_that_end_with_all(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store")
        told: list[dict[str, Any]] = []
        engine.subscribe(lambda kind, data: told.append(data) if kind == "progress" else None)
        await apply(engine, made)
        assert {one["id"] for one in told} == {made["plan_id"]}
        assert {one["tenant"] for one in told} == {ADMIN.tenant}
        assert [one["total"] for one in told] == [4] * len(told)
        counts = [one["done"] for one in told]
        assert counts == sorted(counts) and counts[-1] == 4


async def test_who_applies_a_used_plan_is_told_what_it_has_reached(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store")
        await apply(engine, made)
        with pytest.raises(
            errors.PlanUsed, match=r"as revision 1 by alice at .*; demo is at revision 1, running"
        ) as used:
            await apply(engine, made)
        assert used.value.details == {"revision": 1, "state": "running", "reason": ""}


async def test_a_plan_from_nothing_is_single_use_even_when_there_is_nothing_again(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store")
        await apply(engine, made)
        gone = await engine.call("deployment_plan", {"name": "demo", "remove": True}, ADMIN)
        await apply(engine, gone)
        for used in (made, gone):
            with pytest.raises(errors.PlanUsed):
                await apply(engine, used)
        assert (await get(engine))["state"] == "removed"
        assert len(await history(engine)) == 2


async def test_the_history_is_paged_and_names_the_door(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        for number in range(5):
            by_cli = replace(ADMIN, surface=Surface.CLI)
            made = await plan(engine, tmp_path / "store", by_cli, values={"path": str(tmp_path / f"s{number}")})
            await apply(engine, made, by_cli, wait_seconds=0)
        seen, cursor = [], None
        for total in (2, 2, 1):
            page = await engine.call(
                "deployment_history", {"name": "demo", "limit": 2, **({"cursor": cursor} if cursor else {})}, ADMIN
            )
            assert len(page["items"]) == total and page["total"] == 5
            seen += [(row["revision"], row["surface"]) for row in page["items"]]
            cursor = page["next_cursor"]
        assert cursor is None
        assert seen == [(number, "cli") for number in (5, 4, 3, 2, 1)]


async def test_the_way_back_is_a_plan_of_what_was_applied_then(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2) as engine:
        first = await deployed(engine, tmp_path / "store")
        where = (await get(engine, detail="detailed"))["placement"]
        await apply(engine, await plan(engine, tmp_path / "other", replicas={"print": 2}))
        back = await engine.call("deployment_plan", {"name": "demo", "to_revision": 1}, ADMIN)
        assert (back["base_revision"], back["source"], back["blockers"]) == (2, SOURCE, [])
        assert back["summary"]["update"] and "Plan: " in back["text"]
        result = await apply(engine, back)
        assert (result["state"], result["revision"]) == ("running", 3)
        assert {w["version"] for w in result["workloads"]} == {w["version"] for w in first["workloads"]}
        seen = await get(engine, detail="detailed")
        assert seen["values"] == {"path": str(tmp_path / "store")} and seen["placement"] == where


async def test_the_way_back_needs_no_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(tenant: str) -> list[object]:
        return []

    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, tmp_path / "store")
        await apply(engine, await plan(engine, tmp_path / "other"))
        monkeypatch.setattr(engine.library, "visible", nothing)
        with pytest.raises(errors.NotFound):
            await plan(engine, tmp_path / "store")
        back = await engine.call("deployment_plan", {"name": "demo", "to_revision": 1}, ADMIN)
        assert (await apply(engine, back))["state"] == "running"


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"to_revision": 9}, errors.NotFound, "no revision 9"),
        ({"to_revision": 2}, errors.InvalidParams, "Revision 2 removed demo"),
        ({"to_revision": 1, "replicas": {"print": 2}}, errors.InvalidParams, "do not fit together"),
        ({"to_revision": 0}, errors.InvalidParams, "do not fit"),
    ],
)
async def test_a_way_back_that_makes_no_sense_is_refused(
    tmp_path: Path, arguments: dict[str, Any], error: type[errors.SluiceError], said: str
) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, tmp_path / "store")
        await apply(engine, await engine.call("deployment_plan", {"name": "demo", "remove": True}, ADMIN))
        with pytest.raises(error, match=said):
            await engine.call("deployment_plan", {"name": "demo", **arguments}, ADMIN)


async def test_the_way_back_brings_a_removed_deployment_back(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, tmp_path / "store")
        await apply(engine, await engine.call("deployment_plan", {"name": "demo", "remove": True}, ADMIN))
        back = await engine.call("deployment_plan", {"name": "demo", "to_revision": 1}, ADMIN)
        assert back["summary"]["create"] == 9
        assert (await apply(engine, back))["revision"] == 3


async def _states(engine: Engine) -> list[str]:
    return [row["state"] for row in (await engine.call("deployment_list", {}, ADMIN))["items"]]


async def test_a_caller_that_goes_away_in_the_middle_of_an_apply_stops_nothing(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store")
        committing = anyio.Event()
        write = engine.database.write

        async def slow(fn: Any, *args: Any) -> Any:
            committing.set()
            return await write(fn, *args)

        engine.database.write = slow  # type: ignore[method-assign]
        with anyio.fail_after(2 * waiting.SECONDS):
            async with anyio.create_task_group() as group:
                group.start_soon(apply, engine, made)
                await committing.wait()
                group.cancel_scope.cancel()
            await waiting.until(lambda: _states(engine), lambda states: states == ["running"])
            await engine.rollouts.reached(ADMIN.tenant, "demo", 20)
        assert [row["plan_id"] for row in await history(engine)] == [made["plan_id"]]
