"""Authoring through the engine: drafts with two editors, immutable versions, copies, tenants, what can be planned."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import errors
from core.documents import dump
from core.engine import Engine
from core.model.principal import Caller
from core.store import audit
from mcp_server import results
from tests.engines import ADMIN, USER, engine_on

pytestmark = pytest.mark.anyio
BOB = replace(ADMIN, principal=replace(ADMIN.principal, username="bob"))
OTHER = replace(ADMIN, tenant="tenant-b")
TEXT = """\
# Prints greetings.
kind: workflow
slug: greet
title: Greetings
wizard:
  - {field: word, default: hello}
steps:
  - {id: say, use: "blueprint:echo-source@1.0.0", with: {event: '{"say": "{{wizard.word}}"}'}, out: channel:said}
  - {id: print, use: "blueprint:file-printer@1.0.0", in: channel:said}
"""
BLUEPRINT = """\
kind: blueprint
slug: shout
version: 1.2.0
title: Shout
parameters: {properties: {word: {type: string, default: hey}}}
jobs:
  - {name: j, input: {echo: {event: "{{word}}"}}, output: {print: STDOUT}}
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=0) as opened:
        yield opened


async def save(engine: Engine, text: str, base: int = 0, caller: Caller = ADMIN) -> dict[str, Any]:
    return await engine.call("workflow_save_draft", {"document": text, "base_revision": base}, caller)


async def publish(engine: Engine, slug: str = "greet", caller: Caller = ADMIN, **more: Any) -> dict[str, Any]:
    return await engine.call("workflow_publish", {"slug": slug, **more}, caller)


async def get(engine: Engine, slug: str = "greet", caller: Caller = ADMIN, **more: Any) -> dict[str, Any]:
    return await engine.call("workflow_get", {"slug": slug, **more}, caller)


async def test_a_draft_is_saved_published_and_planned(engine: Engine) -> None:
    saved = await save(engine, TEXT)
    assert (saved["draft_revision"], saved["changed"], saved["valid"], saved["errors"]) == (1, True, True, [])
    shown = await get(engine, detail="detailed")
    assert (shown["state"], shown["version"], shown["text"]) == ("draft", None, TEXT)
    published = await publish(engine)
    (step,) = published.pop("next")
    assert (step["call"], step["arguments"]) == ("deployment_plan", {"name": "greet", "source": "workflow:greet@1"})
    assert published == {
        "slug": "greet",
        "type": "workflow",
        "version": 1,
        "changed": True,
        "state": "published",
        "source": "workflow:greet@1",
    }
    found = await engine.call("catalog_search", {"query": "greetings", "source": "local"}, ADMIN)
    assert [(one["slug"], one["version"], one["source"]) for one in found["items"]] == [("greet", 1, "local")]
    planned = await engine.call("deployment_plan", {"name": "d", "source": "workflow:greet"}, ADMIN)
    assert (planned["source"], planned["blockers"]) == ("workflow:greet@1", [])


async def test_of_two_editors_of_one_draft_the_second_is_told_what_moved(engine: Engine) -> None:
    await save(engine, TEXT)
    mine = await save(engine, TEXT.replace("Greetings", "Mine"), 1)
    assert mine["draft_revision"] == 2
    with pytest.raises(errors.AlreadyExists) as refused:
        await save(engine, TEXT.replace("id: print", "id: show"), 1, BOB)
    told = refused.value
    assert "revision 2 (saved by alice" in told.message
    assert told.details["draft_revision"] == 2
    assert 'title: "Mine" -> "Greetings"' in told.details["diff"]
    assert "- step print" in told.details["diff"]
    assert (await get(engine))["title"] == "Mine"
    assert (await save(engine, TEXT, 2, BOB))["draft_revision"] == 3


async def test_of_many_editors_at_once_exactly_one_wins(engine: Engine) -> None:
    await save(engine, TEXT)
    outcomes: list[str] = []

    async def edit(number: int) -> None:
        try:
            await save(engine, TEXT.replace("Greetings", f"Edit {number}"), 1)
        except errors.AlreadyExists:
            outcomes.append("refused")
        else:
            outcomes.append("saved")

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(edit, number)
    assert sorted(outcomes) == ["refused"] * 19 + ["saved"]
    assert (await get(engine))["draft_revision"] == 2


async def test_saving_the_same_text_again_changes_nothing(engine: Engine) -> None:
    await save(engine, TEXT)
    again = await save(engine, TEXT)
    assert (again["draft_revision"], again["changed"]) == (1, False)


async def test_a_draft_is_kept_with_its_faults_and_cannot_be_published(engine: Engine) -> None:
    broken = TEXT.replace("in: channel:said", "in: channel:sad")
    saved = await save(engine, broken)
    assert {fault["code"] for fault in saved["errors"]} == {"no_producer", "no_consumer"}
    with pytest.raises(errors.InvalidDocument) as refused:
        await publish(engine)
    assert [problem.where for problem in refused.value.errors] == ["draft of greet:8:96", "draft of greet:9:54"]
    checked = await engine.call("workflow_validate", {"slug": "greet"}, ADMIN)
    assert (checked["valid"], len(checked["errors"])) == (False, 2)


async def test_a_version_never_changes_and_the_next_one_is_a_new_one(engine: Engine) -> None:
    await save(engine, TEXT)
    await publish(engine)
    first = await get(engine, version=1)
    cloned = await engine.call("workflow_clone", {"slug": "greet"}, ADMIN)
    assert cloned["document"] == TEXT  # as it was written, with its comments
    assert cloned["derived_from"] == "workflow:greet@1"
    await save(engine, TEXT.replace("hello", "good day"), cloned["draft_revision"])
    assert (await publish(engine))["version"] == 2
    assert await get(engine, version=1) == {**first, "versions": (await get(engine, version=1))["versions"]}
    assert (await get(engine))["version"] == 2
    compared = await engine.call("workflow_diff", {"slug": "greet"}, ADMIN)
    assert (compared["from_version"], compared["to_version"]) == (1, 2)
    assert compared["changes"] == [
        {
            "action": "changed",
            "kind": "wizard field",
            "id": "word",
            "changes": [{"key": "default", "before": "hello", "after": "good day"}],
        }
    ]


async def test_publishing_what_is_published_already_makes_no_version(engine: Engine) -> None:
    await save(engine, TEXT)
    await publish(engine)
    await save(engine, TEXT + "\n# a remark\n")
    again = await publish(engine)
    assert (again["version"], again["changed"]) == (1, False)
    assert (await get(engine))["draft_revision"] is None


async def test_going_back_to_an_older_content_is_a_new_version(engine: Engine) -> None:
    for text, version in ((TEXT, 1), (TEXT.replace("hello", "hi"), 2), (TEXT, 3)):
        await save(engine, text)
        assert (await publish(engine))["version"] == version


async def test_what_was_looked_at_is_what_is_published(engine: Engine) -> None:
    await save(engine, TEXT)
    await save(engine, TEXT.replace("hello", "boo"), 1, BOB)
    with pytest.raises(errors.AlreadyExists, match="revision 2"):
        await publish(engine, draft_revision=1)
    assert (await publish(engine, draft_revision=2))["version"] == 1


async def test_of_two_who_publish_one_draft_one_is_told_that_it_is_gone(engine: Engine) -> None:
    await save(engine, TEXT)
    outcomes: list[Any] = []

    async def attempt() -> None:
        try:
            outcomes.append((await publish(engine))["version"])
        except (errors.AlreadyExists, errors.NotFound) as error:
            outcomes.append(error.code)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(attempt)
    assert outcomes.count(1) == 1
    assert len((await get(engine))["versions"]) == 1


async def test_an_editor_of_an_older_draft_cannot_go_over_a_newer_one(engine: Engine) -> None:
    await save(engine, TEXT)
    await publish(engine)
    with pytest.raises(errors.AlreadyExists, match="no draft of greet"):
        await save(engine, TEXT.replace("hello", "late"), 1)
    assert (await save(engine, TEXT.replace("hello", "new")))["draft_revision"] == 2
    await engine.call("workflow_retire", {"slug": "greet", "version": "draft"}, ADMIN)
    with pytest.raises(errors.AlreadyExists, match="thrown away"):
        await save(engine, TEXT.replace("hello", "late"), 2)
    assert (await save(engine, TEXT.replace("hello", "newer")))["draft_revision"] == 3


async def test_a_perspective_becomes_the_draft_of_a_workflow(engine: Engine) -> None:
    cloned = await engine.call(
        "workflow_clone", {"slug": "ingest-spool-deliver", "type": "perspective", "new_slug": "mine"}, ADMIN
    )
    assert (cloned["type"], cloned["slug"]) == ("workflow", "mine")
    assert [fault["code"] for fault in cloned["errors"]] == ["unbound_slot", "unbound_slot"]
    document = (await get(engine, "mine"))["document"]
    for step, use in zip(document["steps"], ("echo-source", "file-printer"), strict=True):
        del step["slot"]
        step["use"] = f"blueprint:{use}@1.0.0"
    saved = await save(engine, dump.to_yaml(document), cloned["draft_revision"])
    assert saved["errors"] == []
    assert saved["derived_from"] == "perspective:ingest-spool-deliver@1.0.0"
    assert (await publish(engine, "mine"))["version"] == 1


async def test_blueprints_and_perspectives_carry_the_version_that_they_say(engine: Engine) -> None:
    await save(engine, BLUEPRINT)
    assert (await publish(engine, "shout", type="blueprint"))["version"] == "1.2.0"
    await save(engine, BLUEPRINT.replace("hey", "oi"))
    with pytest.raises(errors.AlreadyExists, match=r"version 1\.2\.0 already, with other content"):
        await publish(engine, "shout", type="blueprint")
    await save(engine, BLUEPRINT.replace("hey", "oi").replace("1.2.0", "1.10.0"), 2)
    assert (await publish(engine, "shout", type="blueprint"))["version"] == "1.10.0"
    planned = await engine.call("deployment_plan", {"name": "d", "source": "blueprint:shout"}, ADMIN)
    assert (planned["source"], planned["blockers"]) == ("blueprint:shout@1.10.0", [])
    cloned = await engine.call("workflow_clone", {"slug": "shout", "type": "blueprint"}, ADMIN)
    assert "version: '1.11.0'" in cloned["document"]
    slots = "[{id: a, slot: {}, out: channel:c}, {id: b, slot: {}, in: channel:c}]"
    text = f"kind: perspective\nslug: p\nversion: 2.0.0\nsteps: {slots}"
    assert (await save(engine, text))["valid"]
    assert (await publish(engine, "p", type="perspective"))["version"] == "2.0.0"


async def test_a_workflow_uses_own_blueprints_and_own_workflows_as_modules(engine: Engine) -> None:
    printer = "{id: p, use: 'blueprint:file-printer@1.0.0', in: port:e}"
    inner = f"kind: workflow\nslug: inner\nports: {{in: [e]}}\nsteps: [{printer}]"
    await save(engine, inner)
    await publish(engine, "inner")
    outer = TEXT.replace("blueprint:file-printer@1.0.0", "workflow:inner@1")
    assert (await save(engine, outer))["errors"] == []
    await publish(engine)
    planned = await engine.call("deployment_plan", {"name": "d", "source": "workflow:greet@1"}, ADMIN)
    assert planned["blockers"] == []
    assert {c["id"] for c in planned["changes"] if c["kind"] == "job"} == {"d--say", "d--print--p"}


async def test_a_retired_version_is_not_offered_and_still_resolves(engine: Engine) -> None:
    await save(engine, BLUEPRINT)
    await publish(engine, "shout", type="blueprint")
    uses = "kind: workflow\nslug: w\nsteps: [{id: s, use: 'blueprint:shout@1.2.0'}]"
    await save(engine, uses)
    await publish(engine, "w")
    retired = await engine.call("workflow_retire", {"slug": "shout", "type": "blueprint", "version": "1.2.0"}, ADMIN)
    assert (retired["state"], retired["changed"]) == ("retired", True)
    again = await engine.call("workflow_retire", {"slug": "shout", "type": "blueprint", "version": "1.2.0"}, ADMIN)
    assert again["changed"] is False
    assert (await engine.call("catalog_search", {"query": "shout"}, ADMIN))["items"] == []
    assert (await engine.call("deployment_plan", {"name": "d", "source": "workflow:w"}, ADMIN))["blockers"] == []
    with pytest.raises(errors.NotFound, match="retired"):
        await engine.call("deployment_plan", {"name": "e", "source": "blueprint:shout"}, ADMIN)
    exact = await engine.call("deployment_plan", {"name": "e", "source": "blueprint:shout@1.2.0"}, ADMIN)
    assert exact["blockers"] == []
    late = await engine.call("workflow_validate", {"document": uses.replace("slug: w", "slug: v")}, ADMIN)
    assert [fault["code"] for fault in late["errors"]] == ["retired_module"]


async def test_a_slug_that_comes_with_sluice_is_taken(engine: Engine) -> None:
    with pytest.raises(errors.AlreadyExists, match="comes with Sluice"):
        await save(engine, TEXT.replace("slug: greet", "slug: quickstart-file-store-roundtrip"))
    with pytest.raises(errors.AlreadyExists, match="comes with Sluice"):
        await engine.call("workflow_clone", {"slug": "quickstart-file-store-roundtrip"}, ADMIN)
    with pytest.raises(errors.Forbidden):
        await engine.call("workflow_retire", {"slug": "quickstart-file-store-roundtrip", "version": 1}, ADMIN)


async def test_another_tenant_sees_nothing_and_cannot_name_it(engine: Engine) -> None:
    await save(engine, TEXT)
    await publish(engine)
    await save(engine, BLUEPRINT)
    await publish(engine, "shout", type="blueprint")
    for operation in ("workflow_get", "workflow_diff", "workflow_publish", "workflow_clone"):
        with pytest.raises(errors.NotFound):
            await engine.call(operation, {"slug": "greet"}, OTHER)
    with pytest.raises(errors.NotFound):
        await engine.call("workflow_retire", {"slug": "greet", "version": 1}, OTHER)
    with pytest.raises(errors.NotFound):
        await engine.call("deployment_plan", {"name": "d", "source": "workflow:greet@1"}, OTHER)
    listed = await engine.call("workflow_list", {"source": "local"}, OTHER)
    assert listed["items"] == []
    uses = "kind: workflow\nslug: w\nsteps: [{id: s, use: 'blueprint:shout@1.2.0'}]"
    theirs = await engine.call("workflow_validate", {"document": uses}, OTHER)
    nowhere = await engine.call("workflow_validate", {"document": uses.replace("shout", "shuot")}, OTHER)
    assert [fault["code"] for fault in theirs["errors"]] == ["unknown_blueprint"]
    assert theirs["errors"][0]["message"].replace("shout", "shuot") == nowhere["errors"][0]["message"]
    assert (await save(engine, TEXT, caller=OTHER))["draft_revision"] == 1


async def test_the_list_shows_drafts_versions_and_what_comes_with_sluice(engine: Engine) -> None:
    await save(engine, TEXT)
    await publish(engine)
    await save(engine, TEXT.replace("hello", "hi"))
    await save(engine, BLUEPRINT)
    own = (await engine.call("workflow_list", {"source": "local"}, ADMIN))["items"]
    assert [(one["type"], one["slug"], one["version"], one["states"], one["draft_revision"]) for one in own] == [
        ("workflow", "greet", 1, ["draft", "published"], 2),
        ("blueprint", "shout", None, ["draft"], 1),
    ]
    every = await engine.call("workflow_list", {"limit": 200}, ADMIN)
    assert every["items"][:2] == own
    assert {one["source"] for one in every["items"][2:]} == {"builtin"}
    for filters, slugs in (
        ({"state": "draft", "type": "blueprint"}, ["shout"]),
        ({"query": "greetings"}, ["greet"]),
        ({"state": "retired"}, []),
    ):
        found = await engine.call("workflow_list", filters, ADMIN)
        assert [one["slug"] for one in found["items"]] == slugs


async def test_only_admins_write_and_only_in_sessions_that_may(engine: Engine) -> None:
    with pytest.raises(errors.Forbidden):
        await save(engine, TEXT, caller=USER)
    with pytest.raises(errors.WriteDisabled):
        await save(engine, TEXT, caller=replace(ADMIN, allow_write=False))
    checked = await engine.call("workflow_validate", {"document": TEXT}, replace(USER, allow_write=False))
    assert checked["valid"]


async def test_what_was_done_is_in_the_audit(engine: Engine) -> None:
    await save(engine, TEXT)
    await publish(engine)
    await engine.call("workflow_clone", {"slug": "greet"}, ADMIN)
    await engine.call("workflow_retire", {"slug": "greet", "version": "draft"}, ADMIN)
    await engine.call("workflow_retire", {"slug": "greet", "version": 1}, ADMIN)
    rows = await engine.database.read(audit.recent, "tenant-a")
    assert [(row.operation, row.target) for row in reversed(rows)] == [
        ("workflow_save_draft", "tenant-a/workflow:greet"),
        ("workflow_publish", "tenant-a/workflow:greet"),
        ("workflow_clone", "tenant-a/workflow:greet"),
        ("workflow_retire", "tenant-a/workflow:greet@draft"),
        ("workflow_retire", "tenant-a/workflow:greet@1"),
    ]


async def test_versions_are_there_after_a_restart(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        await save(engine, TEXT)
        await publish(engine)
        await save(engine, TEXT.replace("hello", "hi"))
        before = await get(engine, version=1)
    async with engine_on(tmp_path / "home", workers=0) as engine:
        assert await get(engine, version=1) == before
        assert (await get(engine, version="draft"))["draft_revision"] == 2


@pytest.mark.parametrize(
    "arguments", [{}, {"document": TEXT, "slug": "greet"}, {"slug": "x" * 65}, {"document": "x" * 1_000_001}]
)
async def test_validate_takes_a_document_or_a_slug(engine: Engine, arguments: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidParams):
        await engine.call("workflow_validate", arguments, ADMIN)


async def test_a_text_that_cannot_be_read_is_an_answer_of_validate_and_a_refusal_of_save(engine: Engine) -> None:
    told = await engine.call("workflow_validate", {"document": "a: &a [x]\nb: *a"}, ADMIN)
    assert (told["valid"], told["errors"][0]["where"]) == (False, "<document>:1:4")
    with pytest.raises(errors.InvalidDocument):
        await save(engine, "a: &a [x]\nb: *a")


async def test_the_engine_answers_others_while_it_checks_a_large_document(engine: Engine) -> None:
    steps = "\n".join(f'  - {{id: s{n}, use: "blueprint:echo-source@1.0.0", out: "channel:c"}}' for n in range(9_000))
    text = f"kind: workflow\nslug: big\nsteps:\n{steps}\n"
    answered = 0
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:

            async def check() -> None:
                told = await engine.call("workflow_validate", {"document": text}, ADMIN)
                assert [fault["code"] for fault in told["errors"]] == ["no_consumer"]
                group.cancel_scope.cancel()

            group.start_soon(check)
            while True:
                await engine.call("worker_list", {}, ADMIN)
                answered += 1
                await anyio.lowlevel.checkpoint()
    assert answered > 10


async def test_the_call_to_go_on_with_is_in_the_text_of_an_item_that_is_cut(engine: Engine) -> None:
    found = await engine.call("catalog_get", {"slug": "access-log-fan-out", "detail": "detailed"}, ADMIN)
    text = results.as_text(found, results.TEXT_CHARACTERS)
    assert "see the structured content" in text and "operation=deployment_plan" in text


async def test_a_trace_refuses_values_that_nothing_takes_and_names_the_text_that_it_was_sent(engine: Engine) -> None:
    flow = """\
kind: workflow
slug: asking
wizard: [{field: word, title: Word, type: string, default: hello}]
steps:
  - {id: a, use: "blueprint:saying@1.0.0", with: {word: "{{wizard.word}}"}}
"""
    saying = """\
kind: blueprint
slug: saying
version: 1.0.0
parameters: {type: object, properties: {word: {type: string, default: none}}, additionalProperties: false}
jobs: [{name: say, input: {echo: {event: '{{word}}'}}, output: {discard: {}}}]
"""
    both = f"{flow}---\n{saying}"
    found = await engine.call("workflow_trace", {"document": both, "values": {"word": "bye"}}, ADMIN)
    assert found["steps"]
    for text in (both, saying):
        with pytest.raises(errors.PlanBlocked) as refused:
            await engine.call("workflow_trace", {"document": text, "values": {"wrod": "1"}}, ADMIN)
        assert "wrod" in refused.value.errors[0].message
        assert text == saying or "did you mean word?" in refused.value.errors[0].message
    with pytest.raises(errors.InvalidDocument) as torn:
        await engine.call("workflow_trace", {"document": flow.replace("use:", "usr:")}, ADMIN)
    assert (torn.value.errors[0].where or "").startswith("<document>:5:")


async def test_a_draft_and_a_text_are_traced_as_they_would_be_published(engine: Engine) -> None:
    """With blueprints of their own, in place of published ones; nothing of it is kept."""
    flow = """\
kind: workflow
slug: traced
steps:
  - {id: a, use: "blueprint:tagging@1.0.0", out: channel:c}
  - {id: b, use: "blueprint:file-printer@1.0.0", in: channel:c}
"""
    tagging = """\
kind: blueprint
slug: tagging
version: 1.0.0
ports: {out: [out]}
jobs: [{name: tag, input: {echo: {event: '{"n": 1}', json: true}}, actions: [{add: {output-fields: {tag: %s}}}],
        output: {port: out}}]
"""

    async def trace(**given: Any) -> list[Any]:
        found = await engine.call("workflow_trace", given, ADMIN)
        return [one["events_out"] for one in found["steps"]]

    before = await engine.call("workflow_list", {}, ADMIN)
    both = await trace(document=f"{flow}---\n{tagging % 'text'}")
    assert both[0] == [{"n": 1, "tag": "text"}]
    assert both[1] == both[0], "the next step has them"
    assert await engine.call("workflow_list", {}, ADMIN) == before

    await save(engine, tagging % "published")
    await engine.call("workflow_publish", {"slug": "tagging", "type": "blueprint"}, ADMIN)
    await save(engine, flow)
    assert (await trace(source="workflow:traced@draft"))[0] == [{"n": 1, "tag": "published"}]
    assert (await trace(document=f"{tagging % 'changed'}---\n{flow}"))[0] == [{"n": 1, "tag": "changed"}]

    with pytest.raises(errors.NotFound, match="no draft"):
        await trace(source="workflow:absent@draft")
    with pytest.raises(errors.InvalidDocument, match="fault"):
        await trace(document=flow.replace("file-printer", "no-such"))
    with pytest.raises(errors.InvalidParams, match="either"):
        await trace()
