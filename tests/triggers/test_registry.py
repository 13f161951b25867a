"""The registry: revisions and their differences, surfaces, platform scope, and the tools that triggers are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from core import errors
from core.engine import Engine
from core.model.principal import PLATFORM, Caller, Principal, Role, Surface
from core.triggers import schemas
from mcp_server import tools
from tests.engines import ADMIN, EXAMPLES, USER, engine_on

pytestmark = pytest.mark.anyio

DRAFT: dict[str, Any] = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
OPERATOR = Caller(Principal("root", Role.ADMIN, (), platform=True), PLATFORM, Surface.INTERNAL)
LATER = Principal("later", Role.ADMIN, ADMIN.principal.tenants)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=0) as running:
        yield running


async def test_every_revision_stays_and_two_of_them_can_be_compared(engine: Engine) -> None:
    await engine.call("trigger_publish", DRAFT, ADMIN)
    second = {**DRAFT, "response_timeout_seconds": 60, "tags": ["smoke"]}
    await engine.call("trigger_revise", second, ADMIN)
    shown = await engine.call("trigger_get", {"slug": "smoke_trigger", "compare": 1}, ADMIN)
    assert shown["revision"] == 2
    assert [one["revision"] for one in shown["revisions"]] == [2, 1]
    assert shown["changes"] == [
        {"path": "response_timeout_seconds", "old": 30, "new": 60},
        {"path": "tags[0]", "new": "smoke"},
    ]
    old = await engine.call("trigger_get", {"slug": "smoke_trigger", "revision": 1}, ADMIN)
    assert (old["revision"], old["definition"]["response_timeout_seconds"]) == (1, 30)
    assert (old["active"], old["invokable"]) == (False, False), "only the present revision runs"
    with pytest.raises(errors.NotFound) as caught:
        await engine.call("trigger_get", {"slug": "smoke_trigger", "compare": 9}, ADMIN)
    assert [problem.pointer for problem in caught.value.errors] == ["/compare"]


async def test_a_run_is_of_the_revision_that_was_there_when_it_was_asked_for(engine: Engine) -> None:
    await engine.call("trigger_publish", DRAFT, ADMIN)
    first = await engine.call("trigger_invoke", {"slug": "smoke_trigger", "params": {"env": "a"}}, ADMIN)
    await engine.call("trigger_revise", {**DRAFT, "default_params": {"depth": 5}}, ADMIN)
    second = await engine.call("trigger_invoke", {"slug": "smoke_trigger", "params": {"env": "a"}}, ADMIN)
    assert [(run["trigger_revision"], run["params"]["depth"]) for run in (first, second)] == [(1, 1), (2, 5)]


@pytest.mark.parametrize(
    ("publication", "seen"),
    [
        ({"mcp": True}, {"mcp"}),
        ({"ui_admin": True}, {"ui by admin"}),
        ({"ui_user": True}, {"ui by user"}),
        ({"mcp": True, "ui_admin": True, "ui_user": True}, {"mcp", "ui by admin", "ui by user"}),
        ({}, set()),
    ],
)
async def test_a_trigger_appears_on_the_surfaces_it_is_published_to(
    engine: Engine, publication: dict[str, bool], seen: set[str]
) -> None:
    await engine.call("trigger_publish", {**DRAFT, "publication": publication}, ADMIN)
    found = set()
    for name, caller, surface in (("mcp", ADMIN, "mcp"), ("ui by admin", ADMIN, "ui"), ("ui by user", USER, "ui")):
        listed = await engine.call("trigger_list", {"surface": surface, "invokable_only": True}, caller)
        if listed["items"]:
            found.add(name)
    assert found == seen
    assert len((await engine.call("trigger_tools", {}, ADMIN))["tools"]) == ("mcp" in seen)


async def test_a_deactivated_trigger_is_listed_as_such_and_offered_to_nobody(engine: Engine) -> None:
    await engine.call("trigger_publish", DRAFT, ADMIN)
    await engine.call("trigger_deactivate", {"slug": "smoke_trigger"}, ADMIN)
    await engine.call("trigger_deactivate", {"slug": "smoke_trigger"}, replace(ADMIN, principal=LATER))
    (listed,) = (await engine.call("trigger_list", {}, ADMIN))["items"]
    assert (listed["active"], listed["deactivated_by"]) == (False, ADMIN.username)
    with pytest.raises(errors.NotFound) as refused:
        await engine.call("trigger_invoke", {"slug": "smoke_trigger"}, ADMIN)
    told = f"Trigger smoke_trigger was deactivated by {ADMIN.username} at {listed['deactivated_at']}."
    assert refused.value.message == told
    assert (await engine.call("trigger_list", {"invokable_only": True}, ADMIN))["items"] == []
    assert (await engine.call("trigger_tools", {}, ADMIN))["tools"] == []
    assert (await engine.call("trigger_revise", DRAFT, ADMIN))["revision"] == 2
    (listed,) = (await engine.call("trigger_list", {"invokable_only": True}, ADMIN))["items"]
    assert listed["revision"] == 2 and "deactivated_by" not in listed


async def test_the_defaults_of_a_trigger_are_those_of_its_tool(engine: Engine) -> None:
    schema = {
        "type": "object",
        "properties": {"env": {"type": "string"}, "depth": {"type": "integer"}, "any": True},
        "required": ["env", "depth"],
    }
    more = {"parameter_schema": schema, "default_params": {"depth": 2, "any": [], "other": 1}}
    await engine.call("trigger_publish", {**DRAFT, **more}, ADMIN)
    (tool,) = (await engine.call("trigger_tools", {}, ADMIN))["tools"]
    properties = tool["input_schema"]["properties"]
    assert properties["depth"] == {"type": "integer", "default": 2}
    assert (properties["any"], properties["env"]) == ({"default": []}, {"type": "string"})
    assert "other" not in properties and tool["input_schema"]["required"] == ["env"]


async def test_platform_triggers_are_for_platform_principals_and_dispatch_only(engine: Engine) -> None:
    plain = {"slug": "sweep", "tenant_id": "platform", "target_job_name": "sweeper"}
    with pytest.raises(errors.NotFound):
        await engine.call("trigger_publish", plain, ADMIN)
    for more in ({"response_slot": "s"}, {"response_slot": "s", "proxy_policy": {"mode": "passthrough"}}):
        with pytest.raises(errors.InvalidParams) as caught:
            await engine.call("trigger_publish", {**plain, **more}, OPERATOR)
        assert {problem.pointer for problem in caught.value.errors} <= {"/response_slot", "/proxy_policy"}
    await engine.call("trigger_publish", plain, OPERATOR)
    record = await engine.call("trigger_invoke", {"slug": "sweep"}, OPERATOR)
    assert (record["tenant_id"], record["result"]["mode"]) == ("platform", "dispatch_only")
    member = Caller(Principal("root", Role.ADMIN, ("default",), platform=True), "default", Surface.HTTP)
    for tenant in ({}, {"tenant_id": ""}, {"tenant_id": None}):
        again = await engine.call("trigger_invoke", {"slug": "sweep", **tenant}, member)
        assert again["tenant_id"] == "platform", "an empty tenant is the platform's scope for who may act in it"
    with pytest.raises(errors.NotFound):
        await engine.call("trigger_invoke", {"slug": "sweep", "tenant_id": "default"}, member)
    for plain_one in (replace(member, principal=Principal("root", Role.ADMIN, ("default",))), ADMIN):
        with pytest.raises(errors.NotFound):
            await engine.call("trigger_invoke", {"slug": "sweep"}, plain_one)
    with pytest.raises(errors.NotFound):
        await engine.call("trigger_invoke", {"slug": "sweep", "tenant_id": "platform"}, ADMIN)
    with pytest.raises(errors.NotFound):
        await engine.call("trigger_invocation_get", {"invocation_id": record["invocation_id"]}, ADMIN)


async def test_a_proxy_mode_needs_a_response_slot(engine: Engine) -> None:
    draft = {key: value for key, value in DRAFT.items() if key not in ("response_slot", "response_timeout_seconds")}
    with pytest.raises(errors.InvalidParams) as caught:
        await engine.call("trigger_publish", {**draft, "proxy_policy": {"mode": "passthrough"}}, ADMIN)
    assert [problem.pointer for problem in caught.value.errors] == ["/proxy_policy"]


RESULT = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "items": {"type": "array", "items": {"$ref": "#/$defs/item"}}},
    "required": ["ok"],
    "$defs": {"item": {"type": "object", "properties": {"parent": {"$ref": "#"}, "n": {"type": "integer"}}}},
}


async def test_the_result_schema_is_the_output_schema_of_the_tool(engine: Engine) -> None:
    annotations = {"read_only": False, "destructive": True, "idempotent": True, "open_world": False}
    await engine.call("trigger_publish", {**DRAFT, "result_schema": RESULT, "annotations": annotations}, ADMIN)
    (entry,) = (await engine.call("trigger_tools", {}, ADMIN))["tools"]
    tool = tools.trigger_tool(entry)
    assert tool["annotations"] == {
        "readOnlyHint": False,
        "destructiveHint": True,
        "idempotentHint": True,
        "openWorldHint": False,
    }
    validator = jsonschema_rs.Draft202012Validator(tool["outputSchema"], offline=True)

    def answer(outcome: str, result: Any) -> dict[str, Any]:
        response = {"outcome": outcome, "result": result}
        return {"invocation_id": "i", "state": outcome, "result": {"trigger_response": response}}

    assert validator.is_valid(answer("succeeded", {"ok": True, "items": [{"n": 1, "parent": {"ok": False}}]}))
    assert not validator.is_valid(answer("succeeded", {"ok": "yes"}))
    assert not validator.is_valid(answer("succeeded", {"ok": True, "items": [{"n": "1"}]}))
    assert not validator.is_valid(answer("succeeded", {"ok": True, "items": [{"parent": {}}]}))
    assert validator.is_valid(answer("failed", {"why": "the result of a failure is free"}))
    assert validator.is_valid({"invocation_id": "i", "state": "dispatched", "result": {"mode": "response_slot"}})
    assert validator.is_valid({"error": {"code": "busy"}})
    assert validator.is_valid({"truncated": [], "result": {"trigger_response": {"outcome": "succeeded", "result": 5}}})


def test_a_moved_schema_means_the_same() -> None:
    moved = schemas.moved(RESULT, "#/$defs/result")
    outer = {"$ref": "#/$defs/result", "$defs": {"result": moved}}
    plain, nested = (jsonschema_rs.Draft202012Validator(one, offline=True) for one in (RESULT, outer))
    for value in ({"ok": True}, {}, {"ok": True, "items": [{"n": 1}]}, {"ok": True, "items": [{"parent": {}}]}):
        assert plain.is_valid(value) == nested.is_valid(value)
    assert RESULT["properties"]["items"]["items"] == {"$ref": "#/$defs/item"}, "the original is as it was"  # type: ignore[index]
