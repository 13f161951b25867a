"""Saved plans: shown again as they were made, listed with what has become of them, discarded by who made them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import clock, errors
from core.engine import Engine
from core.model.principal import Principal, Role, Surface
from tests import waiting
from tests.deployments.documents import pairs
from tests.engines import ADMIN, engine_on
from tests.operations.test_deployments import SOURCE, apply, deployed, plan

pytestmark = pytest.mark.anyio
COLLEAGUE = replace(ADMIN, principal=Principal("carol", Role.ADMIN, ("tenant-a",)))
STANDING = ("state", "applied_as_revision", "by", "created_at", "asked")


async def test_a_plan_is_shown_again_exactly_as_it_was_made_whatever_has_happened_since(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, tmp_path / "store")
        made = await plan(engine, tmp_path / "store", values={"guid_prefix": "v2"})
        again = await engine.call("plan_get", {"plan_id": made["plan_id"]}, COLLEAGUE)
        assert {key: value for key, value in again.items() if key not in STANDING} == made | {"text": again["text"]}
        assert again["text"].startswith(f"{made['text']}\nIt is open; made by alice at ")
        assert (again["state"], again["by"], again["applied_as_revision"]) == ("open", "alice", None)
        assert again["asked"]["values"]["guid_prefix"] == "v2" and not again["asked"]["remove"]
        await apply(engine, await plan(engine, tmp_path / "other"))
        stale = await engine.call("plan_get", {"plan_id": made["plan_id"]}, ADMIN)
        assert stale["state"] == "stale" and stale["changes"] == made["changes"]
        assert stale["text"].startswith(f"{made['text']}\nIt is stale; made by alice at ")
        assert stale["moved"][0]["by"] == "alice" and "Since then: revision 2 (apply) by alice" in stale["text"]


async def test_a_plan_that_is_too_long_for_one_answer_is_read_in_pages(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await engine.call("workflow_save_draft", {"document": pairs(20)}, ADMIN)
        await engine.call("workflow_publish", {"slug": "pairs"}, ADMIN)
        made = await engine.call("deployment_plan", {"name": "big", "source": "workflow:pairs"}, ADMIN)
        assert made["summary"]["create"] == 100 and len(made["changes"]) == 50 and made["changes_left_out"] == 50
        rest = await engine.call("plan_get", {"plan_id": made["plan_id"], "cursor": made["next_cursor"]}, ADMIN)
        assert len(rest["changes"]) == 50 and rest["next_cursor"] is None
        ids = [(change["kind"], change["id"]) for change in (*made["changes"], *rest["changes"])]
        assert len(set(ids)) == 100


async def test_the_detailed_form_shows_the_document_of_every_job_that_comes(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store", detail="detailed")
        by_id = {(change["kind"], change["id"]): change for change in made["changes"]}
        assert '+  "name": "demo--print"' in by_id["job", "demo--print"]["diff"]
        assert "placement" in made["text"]
        concise = await plan(engine, tmp_path / "store")
        assert all(change["diff"] == "" for change in concise["changes"])
        assert len(concise["text"].splitlines()) <= 12


async def test_plans_are_listed_newest_first_with_what_has_become_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine_on(tmp_path / "home") as engine:
        used, stale = await plan(engine, tmp_path / "store"), await plan(engine, tmp_path / "other")
        await apply(engine, used)
        fresh, dropped = await plan(engine, tmp_path / "x"), await plan(engine, tmp_path / "y")
        gone = await engine.call("plan_discard", {"plan_id": dropped["plan_id"]}, ADMIN)
        assert gone == {"plan_id": dropped["plan_id"], "name": "demo", "state": "discarded"}
        listed = await engine.call("plan_list", {}, ADMIN)
        assert [(row["plan_id"], row["state"]) for row in listed["items"]] == [
            (dropped["plan_id"], "discarded"),
            (fresh["plan_id"], "open"),
            (stale["plan_id"], "stale"),
            (used["plan_id"], "applied"),
        ]
        assert listed["total"] == 4
        only = await engine.call("plan_list", {"state": "open", "name": "demo"}, ADMIN)
        assert [row["plan_id"] for row in only["items"]] == [fresh["plan_id"]] and only["total"] == 1
        page = await engine.call("plan_list", {"limit": 3}, ADMIN)
        rest = await engine.call("plan_list", {"limit": 3, "cursor": page["next_cursor"]}, ADMIN)
        assert [row["plan_id"] for row in rest["items"]] == [used["plan_id"]] and rest["next_cursor"] is None
        assert [row["blockers"] for row in listed["items"]] == [0, 0, 0, 0]
        blocked = await engine.call("deployment_plan", {"name": "other", "source": SOURCE}, ADMIN)
        (row,) = (await engine.call("plan_list", {"limit": 1}, ADMIN))["items"]
        assert row["plan_id"] == blocked["plan_id"] and row["blockers"] == len(blocked["blockers"]) > 0
        later = clock.now_ns() + 2 * engine.settings.plan_ttl_seconds * clock.NANOSECONDS
        monkeypatch.setattr(engine, "now_ns", lambda: later)
        assert (await engine.call("plan_get", {"plan_id": fresh["plan_id"]}, ADMIN))["state"] == "expired"


async def test_only_who_made_a_plan_discards_it_and_then_nobody_applies_it(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store")
        arguments = {"plan_id": made["plan_id"]}
        with pytest.raises(errors.Forbidden, match="made by alice"):
            await engine.call("plan_discard", arguments, COLLEAGUE)
        for _ in range(2):
            assert (await engine.call("plan_discard", arguments, ADMIN))["state"] == "discarded"
        with pytest.raises(errors.PlanUsed, match="discarded"):
            await apply(engine, made)


@pytest.mark.parametrize("operation", ["plan_get", "plan_discard"])
async def test_a_plan_of_another_tenant_is_not_there(tmp_path: Path, operation: str) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store")
        arguments: dict[str, Any] = {"plan_id": made["plan_id"]}
        with pytest.raises(errors.NotFound, match="no plan"):
            await engine.call(operation, arguments, replace(ADMIN, tenant="tenant-b"))
        assert (await engine.call("plan_list", {}, replace(ADMIN, tenant="tenant-b")))["items"] == []


async def test_three_plans_have_three_texts_and_three_questions_with_their_ids_and_values(tmp_path: Path) -> None:
    async def prefixed(engine: Engine, prefix: str) -> dict[str, Any]:
        return await plan(engine, tmp_path / "store", values={"path": str(tmp_path / "store"), "guid_prefix": prefix})

    async with engine_on(tmp_path / "home") as engine:
        for prefix in ("alpha", "beta"):
            await apply(engine, await prefixed(engine, prefix), wait_seconds=0)
        back = await engine.call("deployment_plan", {"name": "demo", "to_revision": 1}, ADMIN)
        plans = {"gamma": await prefixed(engine, "gamma"), "delta": await prefixed(engine, "delta"), "alpha": back}
        texts, questions = set(), set()
        for prefix, made in plans.items():
            call = {"operation": "deployment_apply", "arguments": {"plan_id": made["plan_id"]}}
            question = (await engine.call("call_preview", call, ADMIN))["loss"]["text"]
            whole = await engine.call("plan_get", {"plan_id": made["plan_id"], "detail": "detailed"}, ADMIN)
            for text in (made["text"], question, whole["text"]):
                assert made["plan_id"] in text and "made on revision 2, valid until " in text
                assert f'values.guid_prefix: "beta" -> "{prefix}"' in text
            for text in (made["text"], question, *made["changes"][0]["values"]):
                assert f'output.file-store.guid-prefix: "beta-" -> "{prefix}-"' in text
            assert made["values"] == [f'values.guid_prefix: "beta" -> "{prefix}"']
            texts.add(made["text"].replace(made["plan_id"], ""))
            questions.add(question.replace(made["plan_id"], ""))
        assert len(texts) == len(questions) == 3


async def test_a_read_only_session_is_told_that_its_plan_is_not_saved(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store", replace(ADMIN, allow_write=False))
        assert made["plan_id"] is None and "Plan not saved: read-only session" in made["text"]


async def test_a_plan_that_waits_for_a_worker_says_that_an_apply_would_be_refused(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store", placement={"print": "edge"})
        assert made["refused_until"] == ["group edge has a worker"]
        assert "An apply would be refused until group edge has a worker." in made["text"]
        again = await engine.call("plan_get", {"plan_id": made["plan_id"]}, ADMIN)
        assert again["refused_until"] == made["refused_until"]
        with pytest.raises(errors.TargetUnavailable):
            await apply(engine, made)


async def test_a_removal_says_which_files_and_which_state_stay_and_how_large_they_are(tmp_path: Path) -> None:
    store = tmp_path / "store"
    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, store)
        await waiting.until(lambda: any(one.is_file() for one in store.rglob("*")))
        made = await engine.call("deployment_plan", {"name": "demo", "remove": True}, ADMIN)
        stays = {(one["kind"], one["where"]): one["bytes"] for one in made["stays"]}
        assert stays["files", str(store)] > 0
        assert any(kind == "state" and where.startswith("state/") for kind, where in stays)
        again = await engine.call("plan_get", {"plan_id": made["plan_id"]}, ADMIN)
        assert again["stays"] == made["stays"]
        assert f"files {store}, " in again["text"] and "logs of the jobs" in again["text"]


async def test_a_model_reads_the_documents_of_a_plan_a_page_at_a_time(tmp_path: Path) -> None:
    model = replace(ADMIN, surface=Surface.MCP)
    async with engine_on(tmp_path / "home") as engine:
        await engine.call("workflow_save_draft", {"document": pairs(20)}, ADMIN)
        await engine.call("workflow_publish", {"slug": "pairs"}, ADMIN)
        made = await engine.call("deployment_plan", {"name": "big", "source": "workflow:pairs"}, model)
        seen, cursor = "", None
        while True:
            asked = {"plan_id": made["plan_id"], "detail": "detailed", **({"cursor": cursor} if cursor else {})}
            page = await engine.call("plan_get", asked, model)
            assert len(page["text"]) <= 6_000
            seen, cursor = seen + page["text"], page["next_cursor"]
            if cursor is None:
                break
            assert f"detail='detailed', cursor='{cursor}')" in page["text"]
        assert all(f'"name": "big--s{number}"' in seen for number in range(20))


SHELL = """
kind: blueprint
slug: shell
version: 1.0.0
title: A command
jobs:
  - name: run
    input: {exec: {command: date, trigger: {interval: 1h}}}
    output: {http-post: {url: "http://10.1.2.3/x"}}
"""


async def test_a_plan_tells_what_its_workers_do_not_open_and_an_apply_is_refused(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await engine.call("workflow_save_draft", {"document": SHELL}, ADMIN)
        await engine.call("workflow_publish", {"slug": "shell", "type": "blueprint"}, ADMIN)
        made = await engine.call("deployment_plan", {"name": "shell", "source": "blueprint:shell"}, ADMIN)
        assert [one["code"] for one in made["blockers"]] == ["closed", "closed"]
        assert "setting allow_exec (sluice.toml, or SLUICE_ALLOW_EXEC=true)" in made["blockers"][0]["hint"]
        assert "SLUICE_EGRESS_ALLOW=10.1.2.3" in made["blockers"][1]["hint"]
        with pytest.raises(errors.PlanBlocked, match="no worker of group default runs commands"):
            await apply(engine, made)
    async with engine_on(tmp_path / "home", allow_exec=True, egress_allow=("10.0.0.0/8",)) as engine:
        made = await engine.call("deployment_plan", {"name": "shell", "source": "blueprint:shell"}, ADMIN)
        assert made["blockers"] == []


BEATS = """
kind: blueprint
slug: beats
version: 1.0.0
title: Beats
jobs:
  - name: beat
    input: {echo: {event: "{}", trigger: {interval: 1h}}}
    output: {discard: {}}
"""


async def test_a_plan_warns_of_a_schedule_that_several_replicas_keep(tmp_path: Path) -> None:
    wish = {"name": "beats", "source": "blueprint:beats"}
    async with engine_on(tmp_path / "home") as engine:
        await engine.call("workflow_save_draft", {"document": BEATS}, ADMIN)
        await engine.call("workflow_publish", {"slug": "beats", "type": "blueprint"}, ADMIN)
        one = await engine.call("deployment_plan", wish, ADMIN)
        several = await engine.call("deployment_plan", {**wish, "replicas": {"beats": 3}}, ADMIN)
        codes = [[warning["code"] for warning in made["warnings"]] for made in (one, several)]
        assert [("replicas_of_a_schedule" in found) for found in codes] == [False, True], several
