"""What the answer to an unknown tool says: who has it, what opens it, what became of its trigger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import errors
from core.settings import Settings
from mcp_server import attach
from mcp_server.door import Door, UnknownTool
from mcp_server.session import EngineSession
from tests.mcp_server import fake

pytestmark = pytest.mark.anyio
TRIGGER = {"slug": "smoke", "target_job_name": "handler", "publication": {"mcp": True}}


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[EngineSession]:
    async with attach.open_session(Settings(home=tmp_path / "home", workers=0)) as session:
        yield session


async def why(session: EngineSession, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> str:
    async def opened() -> EngineSession:
        return session

    door = Door(opened, fake.options(**options), "memory")
    caller = door.effective(fake.CALLER)
    with pytest.raises((UnknownTool, errors.WriteDisabled)) as fault:
        await door.resolve(tool, arguments or {}, caller)
    return str(fault.value)


@pytest.mark.parametrize(
    ("tool", "allow_write", "words"),
    [
        ("kv_get", False, "toolset kv, which this session does not have. Ask the person who runs the server to start"),
        ("kv_get", False, "it with --toolsets catalog,deployments,triggers,kv."),
        ("kv_set", False, "it with --toolsets catalog,deployments,triggers,kv --allow-write."),
        ("kv_set", True, "it with --toolsets catalog,deployments,triggers,kv."),
        ("deployment_aply", True, "No toolset has it; tools/list has the tools of this session. Did you mean depl"),
        ("trigger_tools", True, "No toolset has it"),
        ("trigger_invoke_nope", True, "There is no trigger nope in tenant default; trigger_list shows"),
        ("trigger_invoke_nope", False, "There is no trigger nope in tenant default; trigger_list shows"),
        ("trigger_invoke_" + "x" * 100, False, "There is no trigger xxx"),
        ("trigger_invoke_smoke", False, "write_disabled: trigger_invoke_smoke changes things"),
        ("trigger_invoke_quiet", True, "Trigger quiet is not published as an MCP tool"),
        ("trigger_invoke_users", True, "The policy of trigger users does not let you invoke it."),
        ("trigger_invoke_over", True, "Trigger over was deactivated by ada at 20"),
        ("trigger_invoke_over", False, "Trigger over was deactivated by ada at 20"),
    ],
)
async def test_an_unknown_tool_is_told_with_what_opens_it(
    session: EngineSession, tool: str, allow_write: bool, words: str
) -> None:
    policy = {"allow_admin": False, "allow_user": True}
    for trigger in (
        TRIGGER,
        {**TRIGGER, "slug": "quiet", "publication": {"ui_admin": True}},
        {**TRIGGER, "slug": "users", "invoke_policy": policy},
        {**TRIGGER, "slug": "over"},
    ):
        await session.call("trigger_publish", trigger, fake.CALLER)
    await session.call("trigger_deactivate", {"slug": "over"}, fake.CALLER)
    assert words in await why(session, tool, allow_write=allow_write)


async def test_what_a_read_only_session_is_refused_is_on_record(session: EngineSession) -> None:
    await session.call("trigger_publish", TRIGGER, replace(fake.CALLER, allow_write=True))
    everything = {"toolsets": frozenset({"catalog", "deployments", "triggers", "jobs"})}
    await why(session, "job_undeploy", {"name": "a_job", "secret": ["x"]}, **everything)
    await why(session, "trigger_invoke_smoke", **everything)
    found = await session.call("audit_list", {"decision": "write_disabled"}, fake.CALLER)
    assert [(row["operation"], row["target"], row["surface"]) for row in found["items"]] == [
        ("trigger_invoke", "default/smoke", "mcp"),
        ("job_undeploy", "default/a_job", "mcp"),
    ]


async def test_without_the_toolset_of_triggers_their_tools_name_it(session: EngineSession) -> None:
    said = await why(session, "trigger_invoke_smoke", toolsets=("kv",), allow_write=True)
    assert said.endswith("start it with --toolsets kv,triggers.")


async def test_an_identity_that_may_not_write_is_not_sent_for_a_flag(session: EngineSession) -> None:
    async def opened() -> EngineSession:
        return session

    door = Door(opened, fake.options(allow_write=True), "memory")
    with pytest.raises(UnknownTool) as fault:
        await door.resolve("kv_set", {}, door.effective(replace(fake.CALLER, allow_write=False)))
    assert str(fault.value) == "It is in the toolset kv, and changes things, which this identity may not."
