"""What an MCP session says of where to go on: tools that it has, and commands for a person otherwise."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core.operations import REGISTRY
from core.settings import Settings
from mcp_server import attach
from mcp_server.door import Door, Origin
from mcp_server.session import DEFAULT_TOOLSETS, EngineSession
from mcp_server.wording import Steps, Use
from tests.hints import hints
from tests.mcp_server import fake

pytestmark = pytest.mark.anyio
QUICKSTART = "quickstart-file-store-roundtrip"
TRIGGER = {"slug": "smoke", "target_job_name": "handler", "publication": {"mcp": True}}


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[EngineSession]:
    async with attach.open_session(Settings(home=tmp_path / "home", workers=0)) as session:
        yield session


def door_on(session: EngineSession, **options: Any) -> Door:
    async def opened() -> EngineSession:
        return session

    return Door(opened, fake.options(**options), "memory")


async def call(door: Door, tool: str, **arguments: Any) -> dict[str, Any]:
    caller = door.effective(fake.CALLER)
    answer = await door.call(await door.resolve(tool, arguments, caller), Origin(caller))
    structured: dict[str, Any] = answer["structuredContent"]
    return structured


@pytest.mark.parametrize("toolsets", [("catalog",), DEFAULT_TOOLSETS, ("all",)])
@pytest.mark.parametrize("allow_write", [False, True])
async def test_no_hint_names_a_tool_that_the_session_does_not_have(
    session: EngineSession, toolsets: tuple[str, ...], allow_write: bool
) -> None:
    door = door_on(session, toolsets=toolsets, allow_write=allow_write)
    caller = door.effective(fake.CALLER)
    tools = {tool["name"] for tool in (await door.listing(caller)).tools}
    steps = door._steps(caller, {})
    named = re.compile(r"\b(" + "|".join(one.name for one in REGISTRY if "_" in one.name) + r")\b")
    assert {name for text in map(steps.hint, hints()) for name in named.findall(text)} <= tools


def test_a_hint_stays_as_it_is_where_the_tool_is_there_and_is_a_command_otherwise() -> None:
    steps = Steps(lambda operation, given: Use(operation, given) if operation == "deployment_plan" else None)
    assert steps.hint("Plan again: deployment_plan(name='a').") == "Plan again: deployment_plan(name='a')."
    assert steps.hint("job_list shows them.") == "'sluice job list' shows them."


async def test_the_next_calls_are_those_that_the_session_can_make(session: EngineSession) -> None:
    await session.call("trigger_publish", TRIGGER, fake.CALLER)
    found = await session.call("catalog_get", {"slug": "severity-split", "type": "perspective"}, fake.CALLER)
    assert [step["operation"] for step in found["next"]] == ["workflow_clone"]
    within = await call(door_on(session, toolsets=("all",), allow_write=True), "catalog_get", slug=found["slug"])
    (step,) = within["next"]
    assert step["operation"] == "workflow_clone" and "command" not in step and "outside" not in within
    without = await call(door_on(session), "catalog_get", slug=found["slug"])
    assert without["next"] == []
    (step,) = without["outside"]
    assert step["command"].startswith("sluice workflow clone severity-split")
    assert "'sluice workflow publish SLUG'" in step["why"]


@pytest.mark.parametrize(("allow_write", "mcp"), [(True, True), (True, False), (False, True)])
def test_a_run_again_is_a_call_of_the_trigger_s_own_tool_where_it_has_one(allow_write: bool, mcp: bool) -> None:
    door = Door(fake.FakeSession, fake.options(allow_write=allow_write), "memory")  # type: ignore[arg-type]
    caller = door.effective(fake.CALLER)
    slugs = {"trigger_invoke_smoke": "smoke"} if allow_write and mcp else {}
    again = {"call": "trigger_invoke", "arguments": {"slug": "smoke", "params": {"env": "a"}}, "why": "run it again"}
    answer = door._steps(caller, slugs).answer({"next": [again]})
    if allow_write and mcp:
        assert answer == {"next": [{"call": "trigger_invoke_smoke", "arguments": {"env": "a"}, "why": "run it again"}]}
    else:
        outside = {"command": "sluice trigger invoke smoke --set env=a", "why": "run it again"}
        assert answer == {"next": [], "outside": [outside]}


async def test_a_plan_that_a_read_only_session_cannot_save_says_what_a_person_does(session: EngineSession) -> None:
    wish = {"name": "demo", "source": f"workflow:{QUICKSTART}", "values": {"path": "/data"}}
    made = await call(door_on(session), "deployment_plan", **wish)
    (step,) = made["outside"]
    assert step["command"] == f"sluice plan demo --from workflow:{QUICKSTART} --set path=/data"
    assert step["command"] in made["text"] and "--allow-write" in made["text"]
