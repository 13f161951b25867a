"""The revisions of a deployment: what was done at each, by whom and why, and what differs between two of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import errors
from core.engine import Engine
from core.model.principal import Surface
from tests.engines import ADMIN, engine_on
from tests.operations.test_deployments import apply, plan

pytestmark = pytest.mark.anyio
CLI = replace(ADMIN, surface=Surface.CLI)


async def prefixed(engine: Engine, path: Path, prefix: str, **more: Any) -> dict[str, Any]:
    made = await plan(engine, path, values={"path": str(path), "guid_prefix": prefix})
    await apply(engine, made, CLI, wait_seconds=0, **more)
    return made


async def story(engine: Engine, path: Path) -> list[dict[str, Any]]:
    """An apply, a change, the way back and a removal; the entries, newest first."""
    await prefixed(engine, path, "alpha", reason="the first of them")
    await prefixed(engine, path, "beta")
    back = await engine.call("deployment_plan", {"name": "demo", "to_revision": 1}, ADMIN)
    await apply(engine, back, wait_seconds=0, reason="beta was wrong")
    await apply(engine, await engine.call("deployment_plan", {"name": "demo", "remove": True}, ADMIN))
    return list((await engine.call("deployment_history", {"name": "demo"}, ADMIN))["items"])


async def test_each_entry_says_what_was_done_by_whom_and_why_and_which_values_changed(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        removed, back, second, first = await story(engine, tmp_path / "store")
        assert [row["action"] for row in (first, second, back, removed)] == ["apply", "apply", "rollback", "remove"]
        assert (back["to_revision"], second["to_revision"]) == (1, None)
        assert (first["reason"], second["reason"], back["reason"]) == ("the first of them", "", "beta was wrong")
        assert (first["by"], first["surface"], back["surface"]) == ("alice", "cli", ADMIN.surface.value)
        assert all(row["plan_id"].startswith("plan_") for row in (first, second, back, removed))
        assert 'values.guid_prefix: nothing -> "alpha"' in first["changed"]
        assert second["changed"] == ['values.guid_prefix: "alpha" -> "beta"']
        assert back["changed"] == ['values.guid_prefix: "beta" -> "alpha"']
        assert removed["changed"] == []


async def test_the_values_of_a_page_are_compared_with_the_revision_before_it(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await story(engine, tmp_path / "store")
        page = await engine.call("deployment_history", {"name": "demo", "limit": 2}, ADMIN)
        rest = await engine.call("deployment_history", {"name": "demo", "cursor": page["next_cursor"]}, ADMIN)
        assert page["items"][1]["changed"] == ['values.guid_prefix: "beta" -> "alpha"']
        assert rest["items"][0]["changed"] == ['values.guid_prefix: "alpha" -> "beta"']


async def test_the_reason_is_in_the_audit_log_and_in_the_question(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store")
        arguments = {"plan_id": made["plan_id"], "reason": "a reason\nof two lines"}
        asked = await engine.call("call_preview", {"operation": "deployment_apply", "arguments": arguments}, ADMIN)
        assert asked["loss"]["text"].startswith("Reason: a reason of two lines\n\ndemo from ")
        await engine.call("deployment_apply", {**arguments, "wait_seconds": 0}, ADMIN)
        listed = await engine.call("audit_list", {"operation": "deployment_apply"}, ADMIN)
        assert [row["reason"] for row in listed["items"]] == ["a reason\nof two lines"]
        with pytest.raises(errors.InvalidParams):
            await engine.call("deployment_apply", {**arguments, "reason": "x" * 501}, ADMIN)


async def test_two_revisions_are_compared(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await story(engine, tmp_path / "store")
        found = await engine.call("deployment_history", {"name": "demo", "compare": [2, 3]}, ADMIN)
        assert [row["revision"] for row in found["items"]] == [2, 3] and found["total"] == 4
        assert found["values"] == ['values.guid_prefix: "beta" -> "alpha"']
        assert found["summary"]["update"] == 1 and "alpha-" in found["changes"][0]["diff"]
        lines = found["text"].splitlines()
        assert lines[0] == "demo: revision 2 -> revision 3"
        assert lines[1].startswith("Revision 2: apply by alice through cli at ")
        assert "Revision 3: rollback to revision 1 by alice" in lines[2] and lines[2].endswith(": beta was wrong")
        assert any('output.file-store.guid-prefix: "beta-" -> "alpha-"' in line for line in lines)
        assert lines[-1] == "In all: 1 to update (1 transport), 8 unchanged."
        same = await engine.call("deployment_history", {"name": "demo", "compare": [1, 3]}, ADMIN)
        assert "No difference." in same["text"]
        gone = await engine.call("deployment_history", {"name": "demo", "compare": [3, 4]}, ADMIN)
        assert gone["summary"]["remove"] == 9


@pytest.mark.parametrize(
    ("compare", "error"),
    [
        ([1, 9], errors.NotFound),
        ([], errors.InvalidParams),
        ([1, 2, 3], errors.InvalidParams),
        ([0, 1], errors.InvalidParams),
    ],
)
async def test_revisions_that_are_not_there_are_not_compared(
    tmp_path: Path, compare: list[int], error: type[errors.SluiceError]
) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await prefixed(engine, tmp_path / "store", "alpha")
        with pytest.raises(error):
            await engine.call("deployment_history", {"name": "demo", "compare": compare}, ADMIN)


async def test_a_managed_job_is_compared_with_what_an_earlier_revision_ran(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await prefixed(engine, tmp_path / "store", "alpha")
        await prefixed(engine, tmp_path / "store", "beta")
        name = "demo--generate--roundtrip-writer"
        found = await engine.call("job_get", {"name": name, "compare": 1}, ADMIN)
        lines = found["diff"].splitlines()
        assert any(line.startswith("-") and "alpha-" in line for line in lines)
        assert any(line.startswith("+") and "beta-" in line for line in lines)
        with pytest.raises(errors.NotFound, match="Revision 9 of deployment demo has no job"):
            await engine.call("job_get", {"name": name, "compare": 9}, ADMIN)
