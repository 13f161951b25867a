"""Jobs through the engine: drafts, versions, clones, and what a deployment manages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import errors
from core.engine import Engine
from tests.engines import ADMIN, USER, engine_on

pytestmark = pytest.mark.anyio
HELLO = """\
name: hello
# the comment stays in a draft
input: {echo: {event: '{"a": 1}', json: true}}
actions:
  - add: {output-fields: {b: 2}}
output: {print: STDOUT}
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=0) as opened:
        yield opened


async def call(engine: Engine, operation: str, /, **arguments: Any) -> dict[str, Any]:
    return await engine.call(operation, arguments, ADMIN)


async def test_a_draft_is_saved_with_its_faults_shown_compared_and_staged_once_it_is_sound(engine: Engine) -> None:
    broken = await call(engine, "job_put", document=HELLO.replace("print:", "prnt:"), draft=True)
    assert (broken["name"], broken["version"], broken["revision"]) == ("hello", None, 1)
    assert broken["valid"] is False
    assert "did you mean 'print'" in broken["errors"][0]["message"]
    with pytest.raises(errors.InvalidDocument) as caught:
        await call(engine, "job_stage", name="hello")
    assert caught.value.errors[0].pointer == "/output/prnt"
    assert (caught.value.errors[0].where or "").endswith(":6:10")
    mended = await call(engine, "job_put", document=HELLO, draft=True, base_revision=1)
    assert (mended["revision"], mended["valid"], mended["errors"]) == (2, True, [])
    shown = await call(engine, "job_get", name="hello")
    assert (shown["version"], shown["document"], shown["versions"]) == (None, None, [])
    assert "# the comment stays" in shown["draft"]["document"]
    assert await call(engine, "job_stage", name="hello", revision=2) == {"name": "hello", "version": 1, "changed": True}
    shown = await call(engine, "job_get", name="hello")
    assert (shown["version"], shown["draft"]) == (1, None)
    assert shown["versions"][0]["created_by"] == "alice"


async def test_a_staged_job_with_placeholders_is_shown_as_it_runs_and_as_it_was_written(engine: Engine) -> None:
    await call(engine, "context_set", values={"WHO": "eu"})
    await call(engine, "job_put", document=HELLO.replace('"a": 1', '"a": "{{WHO}}"'))
    shown = await call(engine, "job_get", name="hello")
    assert shown["document"]["input"]["echo"]["event"] == '{"a": "eu"}'
    assert shown["written"]["input"]["echo"]["event"] == '{"a": "{{WHO}}"}'
    await call(engine, "job_put", document=HELLO)
    assert "written" not in await call(engine, "job_get", name="hello"), "it has none"


async def test_two_people_who_edit_one_draft_do_not_overwrite_each_other(engine: Engine) -> None:
    await call(engine, "job_put", document=HELLO, draft=True)
    await call(engine, "job_put", document=HELLO.replace("b: 2", "b: 3"), draft=True, base_revision=1)
    with pytest.raises(errors.AlreadyExists, match="at revision 2") as caught:
        await call(engine, "job_put", document=HELLO.replace("b: 2", "b: 4"), draft=True, base_revision=1)
    assert "base_revision 2" in caught.value.hint
    assert "b: 3" in caught.value.details["document"]
    with pytest.raises(errors.AlreadyExists, match="at revision 2"):
        await call(engine, "job_stage", name="hello", revision=1)


async def test_a_version_never_changes_and_two_can_be_compared(engine: Engine) -> None:
    assert (await call(engine, "job_put", document=HELLO))["version"] == 1
    again = await call(engine, "job_put", document=HELLO)
    assert (again["name"], again["version"], again["changed"]) == ("hello", 1, False)
    assert [(step["call"], step["arguments"]) for step in again["next"]] == [("job_deploy", {"name": "hello"})]
    assert (await call(engine, "job_put", document=HELLO.replace("b: 2", "b: 3")))["version"] == 2
    first = await call(engine, "job_get", name="hello", version=1)
    assert first["document"]["actions"] == [{"add": {"output-fields": {"b": 2}}}]
    assert [version["version"] for version in first["versions"]] == [2, 1]
    diff = (await call(engine, "job_get", name="hello", compare=1))["diff"]
    assert "-    b: 2" in diff.replace("      b", "    b")
    assert "+    b: 3" in diff.replace("      b", "    b")
    await call(engine, "job_put", document=HELLO.replace("b: 2", "b: 9"), draft=True)
    assert "b: 9" in (await call(engine, "job_get", name="hello", compare=0))["diff"]
    for bad in ({"version": 7}, {"compare": 7}):
        with pytest.raises(errors.NotFound, match="no version 7"):
            await call(engine, "job_get", name="hello", **bad)


async def test_a_clone_is_a_draft_under_a_name_that_was_free(engine: Engine) -> None:
    await call(engine, "job_put", document=HELLO)
    made = await call(engine, "job_clone", name="hello", new_name="mine")
    assert made["cloned_from"] == {"name": "hello", "managed_by": None, "source": "job hello version 1"}
    assert made["document"].startswith("name: mine\n")
    assert (await call(engine, "job_stage", name="mine"))["version"] == 1
    for taken in ("mine", "hello"):
        with pytest.raises(errors.AlreadyExists) as caught:
            await call(engine, "job_clone", name="hello", new_name=taken)
        assert caught.value.errors[0].pointer == "/new_name"
    with pytest.raises(errors.InvalidParams):
        await call(engine, "job_clone", name="hello", new_name="not a name")
    with pytest.raises(errors.NotFound):
        await call(engine, "job_clone", name="gone", new_name="other")


async def test_deleting_takes_a_job_or_only_its_draft(engine: Engine) -> None:
    await call(engine, "job_put", document=HELLO)
    await call(engine, "job_put", document=HELLO.replace("b: 2", "b: 3"), draft=True)
    only = await call(engine, "job_delete", name="hello", draft_only=True)
    assert only == {"name": "hello", "deleted_versions": 0, "deleted_draft": True}
    with pytest.raises(errors.NotFound):
        await call(engine, "job_delete", name="hello", draft_only=True)
    assert (await call(engine, "job_delete", name="hello"))["deleted_versions"] == 1
    with pytest.raises(errors.NotFound):
        await call(engine, "job_delete", name="hello")
    assert (await call(engine, "job_list"))["items"] == []


async def test_the_list_shows_drafts_beside_versions(engine: Engine) -> None:
    await call(engine, "job_put", document=HELLO)
    await call(engine, "job_put", document=HELLO.replace("hello", "other"), draft=True)
    items = {item["name"]: item for item in (await call(engine, "job_list"))["items"]}
    assert (items["hello"]["version"], items["hello"]["draft"]) == (1, None)
    assert (items["other"]["version"], items["other"]["draft"]) == (None, 1)
    with pytest.raises(errors.NotFound, match="only a draft"):
        await call(engine, "job_deploy", name="other")


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ("name: [", "not valid YAML"),
        ("input: {echo: {event: x}}", "needs a name"),
        ("name: a b\ninput: {}", "needs a name"),
        ("kind: workflow\nname: w", "found workflow"),
        ("name: a\n---\nname: b", "Expected one job document"),
    ],
)
async def test_what_cannot_even_be_a_draft_is_refused(engine: Engine, document: str, what: str) -> None:
    with pytest.raises(errors.InvalidDocument, match=what):
        await call(engine, "job_put", document=document, draft=True)


async def test_who_may_not_write_may_not_draft_stage_clone_or_delete(engine: Engine) -> None:
    await call(engine, "job_put", document=HELLO)
    for name, arguments in (
        ("job_put", {"document": HELLO, "draft": True}),
        ("job_stage", {"name": "hello"}),
        ("job_clone", {"name": "hello", "new_name": "x"}),
        ("job_delete", {"name": "hello"}),
        ("job_trace", {"name": "hello"}),
    ):
        with pytest.raises(errors.Forbidden):
            await engine.call(name, arguments, USER)


async def test_a_missing_context_key_is_told_with_its_line(engine: Engine) -> None:
    found = await call(engine, "job_validate", document=HELLO.replace("b: 2", 'b: "{{gone}}"'))
    assert found["valid"] is False
    (problem,) = found["errors"]
    assert problem["pointer"] == "/actions/0/add/output-fields/b"
    assert problem["where"] == "<document>:5:27"


async def test_a_missing_key_does_not_hide_the_other_faults(engine: Engine) -> None:
    text = HELLO.replace("json: true", 'json: "{{flag}}"').replace("b: 2", 'b: "{{gone}}"').replace("print:", "prnt:")
    found = (await call(engine, "job_validate", document=text))["errors"]
    assert [p["pointer"] for p in found] == ["/input/echo/json", "/actions/0/add/output-fields/b", "/output/prnt"]
    assert [p["where"] for p in found] == ["<document>:3:35", "<document>:5:27", "<document>:6:10"]


async def test_a_job_in_the_home_of_the_engine_is_refused_by_job_put_and_blocks_a_plan(engine: Engine) -> None:
    inside = str(engine.settings.home / "engine")
    document = f"name: thief\ninput: {{files: {{path: {inside}}}}}\noutput: {{print: STDOUT}}\n"
    with pytest.raises(errors.InvalidDocument) as caught:
        await call(engine, "job_put", document=document)
    assert [problem.pointer for problem in caught.value.errors] == ["/input/files/paths/0"]
    plan = await call(
        engine,
        "deployment_plan",
        name="thief",
        source="workflow:quickstart-file-store-roundtrip",
        values={"path": inside},
    )
    told = [blocker["message"] for blocker in plan["blockers"]]
    assert any("/output/file-store/path" in one and "which no job may enter" in one for one in told), told


async def test_a_pointer_leads_to_what_is_written_and_not_to_its_long_form(engine: Engine) -> None:
    text = HELLO.replace("json: true", 'json: true, trigger: {cron: "* * * *"}')
    (problem,) = (await call(engine, "job_validate", document=text))["errors"]
    assert problem["pointer"] == "/input/echo/trigger/cron"
    assert problem["where"] == "<document>:3:57"
    text = "name: f\ninput: {files: {path: 7, mode: bach}}\noutput: {file-store: {path: /x, object-name: {}}}\n"
    found = (await call(engine, "job_validate", document=text))["errors"]
    assert {p["pointer"] for p in found} >= {"/input/files/path", "/input/files/mode", "/output/file-store/object-name"}
    assert all(p["where"].startswith("<document>:") for p in found)


@pytest.mark.parametrize(
    ("operation", "more"),
    [("job_validate", {}), ("job_put", {}), ("job_put", {"draft": True}), ("job_trace", {"events": []})],
)
async def test_a_large_document_is_read_beside_the_loop_and_holds_up_nobody(
    engine: Engine, operation: str, more: dict[str, Any]
) -> None:
    document = "name: j\nactions:\n" + "  - x: 1\n" * 25_000  # a good part of a second to read
    answered = 0
    with anyio.fail_after(60):
        reading = asyncio.ensure_future(engine.call(operation, {"document": document, **more}, ADMIN))
        while not reading.done():
            await call(engine, "trigger_invocation_list")
            answered += 1
    assert answered > 3, "other calls are answered meanwhile"
    if operation == "job_validate" or more.get("draft"):
        assert (await reading)["valid"] is False
    else:
        with pytest.raises(errors.InvalidDocument):
            await reading


async def test_a_managed_job_is_not_edited_by_hand_and_can_be_cloned(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        plan = await call(
            engine,
            "deployment_plan",
            name="demo",
            source="workflow:quickstart-file-store-roundtrip@1",
            values={"path": str(tmp_path / "store")},
        )
        await call(engine, "deployment_apply", plan_id=plan["plan_id"])
        name = "demo--print--roundtrip-reader"
        document = (await call(engine, "job_get", name=name))["document"]
        for operation, arguments in (
            ("job_put", {"document": HELLO.replace("name: hello", f"name: {name}")}),
            ("job_put", {"document": HELLO.replace("name: hello", f"name: {name}"), "draft": True}),
            ("job_deploy", {"name": name}),
            ("job_undeploy", {"name": name}),
            ("job_delete", {"name": name}),
            ("job_stage", {"name": name}),
        ):
            with pytest.raises(errors.AlreadyExists, match="managed by deployment demo") as caught:
                await call(engine, operation, **arguments)
            assert "job_clone" in caught.value.hint
        made = await call(engine, "job_clone", name=name, new_name="my-reader")
        assert made["cloned_from"]["managed_by"] == "demo"
        assert any("worker channel" in warning for warning in made["warnings"])
        assert any(str(tmp_path / "store") in warning for warning in made["warnings"])
        await call(engine, "job_stage", name="my-reader")
        copied = (await call(engine, "job_get", name="my-reader"))["document"]
        assert {**copied, "name": name} == document
        assert (await call(engine, "job_get", name="my-reader"))["managed_by"] is None


async def test_a_job_that_fails_at_once_is_told_by_deploy_and_later_by_get(tmp_path: Path) -> None:
    text = f"name: reads\ninput: {{file-store: {{path: {tmp_path}/nothing}}}}\noutput: {{print: STDOUT}}\n"
    async with engine_on(tmp_path / "home") as engine:
        await call(engine, "job_put", document=text)
        (workload,) = (await call(engine, "job_deploy", name="reads"))["workloads"]
        assert workload["state"] == "failed"
        assert "does not exist" in workload["reason"]
        shown = await call(engine, "job_get", name="reads")
        assert "does not exist" in shown["last_failure"]["reason"]
        assert any("does not exist" in line["text"] for line in shown["log"])
        with pytest.raises(errors.AlreadyExists, match="is deployed"):
            await call(engine, "job_delete", name="reads")
        await call(engine, "job_undeploy", name="reads")
        assert "does not exist" in (await call(engine, "job_get", name="reads"))["last_failure"]["reason"]
        assert (await call(engine, "job_delete", name="reads"))["deleted_versions"] == 1
