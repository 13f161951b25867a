"""What is destructive is asked about first, wherever the client can ask, and the answer counts for what was shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import mcp
import mcp_types as types
import pytest

from core import errors
from core.model.kv import Namespace
from core.model.operation import Effect
from core.model.principal import Role
from core.operations import REGISTRY
from core.settings import Settings
from mcp_server import attach, confirmation, protocol, tools
from mcp_server.door import Door
from mcp_server.session import EngineSession
from tests.mcp_server import fake
from tests.mcp_server.wire import wire

pytestmark = pytest.mark.anyio
ERAS = ("legacy", "2026-07-28")
SOURCE = "workflow:quickstart-file-store-roundtrip@1"


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[EngineSession]:
    async with attach.open_session(Settings(home=tmp_path / "home", workers=1)) as session:
        yield session


async def planned(session: EngineSession, tmp_path: Path) -> str:
    arguments = {"name": "demo", "source": SOURCE, "values": {"path": "store"}}
    return str((await session.call("deployment_plan", arguments, fake.CALLER))["plan_id"])


@asynccontextmanager
async def client(
    session: EngineSession, era: str, answers: Any, meanwhile: Any = None
) -> AsyncIterator[tuple[mcp.Client, list[str]]]:
    """A client whose user answers with `answers` (None: it cannot be asked), and what the user was asked.

    `meanwhile` happens while the user looks at the question.
    """
    asked: list[str] = []

    async def on_elicit(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        asked.append(params.message)
        if meanwhile is not None:
            await meanwhile()
        return types.ElicitResult(**answers)

    async def opened() -> EngineSession:
        return session

    built = protocol.build(Door(opened, fake.options(allow_write=True, toolsets=("all",)), "memory"))
    more = {} if answers is None else {"elicitation_callback": on_elicit}
    with anyio.fail_after(20):
        async with mcp.Client(built, mode=era, **more) as connected:
            yield connected, asked


APPLY = {"wait_seconds": 0}
YES = {"action": "accept", "content": {"confirm": True}}
NO = {"action": "decline"}


def test_the_registry_says_what_a_user_is_asked_about() -> None:
    page = (Path(__file__).parents[2] / "docs" / "mcp-server.md").read_text()
    for operation in REGISTRY:
        destructive = operation.effect is Effect.DESTRUCTIVE
        assert (
            not (destructive and operation.tool) or operation.name.endswith("_delete") or f"`{operation.name}`" in page
        )
        # The host sees the same mark on the tool, for the clients that cannot be asked.
        assert tools.operation_tool(operation, allow_write=True)["annotations"]["destructiveHint"] is destructive


@pytest.mark.parametrize("era", ERAS)
async def test_the_user_sees_the_plan_and_says_yes(session: EngineSession, tmp_path: Path, era: str) -> None:
    plan_id = await planned(session, tmp_path)
    async with client(session, era, {"action": "accept", "content": {"confirm": True}}) as (connected, asked):
        applied = await connected.call_tool("deployment_apply", {"plan_id": plan_id, **APPLY})
    assert applied.structured_content["deployment"] == "demo" and applied.structured_content["revision"] == 1
    assert len(asked) == 1
    assert asked[0].startswith("Apply this plan to deployment demo, in tenant default?") and "demo--print" in asked[0]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    "answers",
    [{"action": "decline"}, {"action": "cancel"}, {"action": "accept", "content": {"confirm": False}}],
    ids=["declined", "cancelled", "unchecked"],
)
async def test_without_a_yes_nothing_is_applied(
    session: EngineSession, tmp_path: Path, era: str, answers: dict[str, Any]
) -> None:
    plan_id = await planned(session, tmp_path)
    async with client(session, era, answers) as (connected, asked):
        refused = await connected.call_tool("deployment_apply", {"plan_id": plan_id, **APPLY})
    assert refused.is_error and refused.structured_content["error"]["code"] == "forbidden"
    assert len(asked) == 1
    assert (await session.call("plan_get", {"plan_id": plan_id}, fake.CALLER))["state"] == "open"


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_cannot_be_asked_applies_by_the_id_of_the_plan(
    session: EngineSession, tmp_path: Path, era: str
) -> None:
    plan_id = await planned(session, tmp_path)
    async with client(session, era, None) as (connected, _):
        applied = await connected.call_tool("deployment_apply", {"plan_id": plan_id, **APPLY})
    assert applied.structured_content["revision"] == 1


async def test_nobody_is_asked_about_a_plan_that_would_be_refused_anyway(
    session: EngineSession, tmp_path: Path
) -> None:
    plan_id = await planned(session, tmp_path)
    await session.call("deployment_apply", {"plan_id": plan_id, **APPLY}, fake.CALLER)
    async with client(session, "legacy", {"action": "accept", "content": {"confirm": True}}) as (connected, asked):
        used = await connected.call_tool("deployment_apply", {"plan_id": plan_id})
        nope = await connected.call_tool("deployment_apply", {"plan_id": "plan_nope"})
    assert used.structured_content["error"]["code"] == "plan_used"
    assert nope.structured_content["error"]["code"] == "not_found"
    assert asked == []
    reader = replace(fake.CALLER, allow_write=False)
    user = replace(fake.CALLER, principal=replace(fake.CALLER.principal, role=Role.USER))
    scoped = replace(fake.CALLER, principal=replace(fake.CALLER.principal, scopes=("toolset:catalog",)))
    fresh = {"plan_id": await planned(session, tmp_path)}
    for nobody in (reader, user, scoped):
        assert await confirmation.question(session, REGISTRY["deployment_apply"], fresh, nobody) is None
    assert await confirmation.question(session, REGISTRY["deployment_apply"], fresh, fake.CALLER) is not None


async def test_the_sealed_state_is_good_for_this_plan_this_caller_and_nothing_else(
    session: EngineSession, tmp_path: Path
) -> None:
    first, second = await planned(session, tmp_path), await planned(session, tmp_path)
    yes = {"confirm": {"action": "accept", "content": {"confirm": True}}}
    asking = {"capabilities": {"elicitation": {"form": {}}}, "name": "deployment_apply"}
    async with wire(session) as client:
        asked = await client.result("tools/call", **asking, arguments={"plan_id": first, **APPLY})
        assert asked["resultType"] == "input_required" and set(asked["inputRequests"]) == {"confirm"}
        state = asked["requestState"]
        assert first not in state, "what the client holds is sealed"
        # An answer without the question, a changed state, another plan, another user or key: none of them counts.
        bare = await client.result("tools/call", **asking, arguments={"plan_id": first, **APPLY}, inputResponses=yes)
        assert bare["resultType"] == "input_required"
        answered = {**asking, "inputResponses": yes, "requestState": state}
        turned = {**answered, "requestState": state[:-2] + ("AA" if state[-2:] != "AA" else "BB")}
        assert await client.fault("tools/call", **turned, arguments={"plan_id": first, **APPLY}) == -32602
        assert await client.fault("tools/call", **answered, arguments={"plan_id": second, **APPLY}) == -32602
        for other in ("eve", "ada/2"):  # also not another key of the same user, which may do less
            moved = {**answered, "arguments": {"plan_id": first, **APPLY}, "user": other}
            assert await client.fault("tools/call", **moved) == -32602
        for plan_id in (first, second):
            assert (await session.call("plan_get", {"plan_id": plan_id}, fake.CALLER))["state"] == "open"
        applied = await client.result("tools/call", **answered, arguments={"plan_id": first, **APPLY})
        assert applied["structuredContent"]["revision"] == 1


async def test_an_answer_counts_only_for_the_server_that_asked(session: EngineSession, tmp_path: Path) -> None:
    arguments = {"plan_id": await planned(session, tmp_path), **APPLY}
    asking = {"capabilities": {"elicitation": {"form": {}}}, "name": "deployment_apply", "arguments": arguments}
    async with wire(session) as first, wire(session) as second:
        state = (await first.result("tools/call", **asking))["requestState"]
        moved = {**asking, "inputResponses": {"confirm": YES}, "requestState": state}
        assert await second.fault("tools/call", **moved) == -32602
        again = await second.result("tools/call", **asking)
        assert again["resultType"] == "input_required"
        answered = {**asking, "inputResponses": {"confirm": YES}, "requestState": again["requestState"]}
        assert (await second.result("tools/call", **answered))["structuredContent"]["revision"] == 1


async def test_a_yes_counts_once(session: EngineSession) -> None:
    """Also when there is something of the same name to delete again."""
    key = {"namespace": "ns", "key": "k"}
    asking = {"capabilities": {"elicitation": {"form": {}}}, "name": "kv_delete", "arguments": key}
    async with wire(session, toolsets=("all",)) as client:
        await session.call("kv_set", {**key, "value": 1}, fake.CALLER)
        state = (await client.result("tools/call", **asking))["requestState"]
        answered = {**asking, "inputResponses": {"confirm": YES}, "requestState": state}
        assert (await client.result("tools/call", **answered))["resultType"] == "complete"
        await session.call("kv_set", {**key, "value": 1}, fake.CALLER)
        assert (await client.result("tools/call", **answered))["resultType"] == "input_required"
        assert (await session.call("kv_get", key, fake.CALLER))["value"] == 1


@pytest.mark.parametrize("era", ERAS)
async def test_a_deletion_is_asked_about_and_a_harmless_write_is_not(session: EngineSession, era: str) -> None:
    key = {"namespace": "ns", "key": "k"}
    async with client(session, era, NO) as (connected, asked):
        assert not (await connected.call_tool("kv_set", {**key, "value": "v"})).is_error
        assert asked == []
        refused = await connected.call_tool("kv_delete", key)
    assert refused.structured_content["error"]["code"] == "forbidden"
    gone = "Of key k of default:ns goes: its value (3 characters)."
    assert asked == [f"Delete a key: its value and its set? Tenant default.\n\n{gone}"]
    assert (await session.call("kv_get", key, fake.CALLER))["value"] == "v"
    async with client(session, era, YES) as (connected, asked):
        assert not (await connected.call_tool("kv_delete", key)).is_error
        assert len(asked) == 1
        faulty = await connected.call_tool("kv_delete", {"namespace": "ns"})
        assert faulty.structured_content["error"]["code"] == "invalid_params" and len(asked) == 1


@pytest.mark.parametrize("era", ERAS)
async def test_what_is_asked_about_depends_on_the_arguments_and_names_what_goes(
    session: EngineSession, era: str
) -> None:
    """Dead items are discarded, as many as were shown, or handed out again, which destroys nothing."""
    space = Namespace(session.engine.kv, "default:q")  # type: ignore[attr-defined]

    async def die(*values: str) -> None:
        for value in values:
            await space.push(value)
        lease = await space.pop_batch(len(values), max_attempts=1)
        assert lease is not None
        await space.release(lease.id)

    await die('"a"', '"b"')
    again, discard = [{"namespace": "q", "action": action} for action in ("requeue", "discard")]
    async with client(session, era, NO) as (connected, asked):
        assert (await connected.call_tool("kv_dead_items", discard)).is_error
        assert len(asked) == 1 and '2 dead items: "a", "b".' in asked[0] and "Tenant default." in asked[0]
        assert (await connected.call_tool("kv_dead_items", again)).structured_content["items"] == 2
        assert (await connected.call_tool("kv_dead_items", discard)).structured_content["items"] == 0
        assert len(asked) == 1, "handing out again destroys nothing, and where nothing is dead nothing goes"
    lease = await space.pop_batch(2, max_attempts=1)
    assert lease is not None
    await space.release(lease.id)

    late = ['"c"']

    async def another_dies() -> None:
        if late:
            await die(late.pop())

    async with client(session, era, YES, another_dies) as (connected, asked):
        gone = await connected.call_tool("kv_dead_items", discard)
    assert gone.structured_content["items"] == (2 if era == "legacy" else 3)
    assert len(asked) == (1 if era == "legacy" else 2), "the call that comes again with the answer is another question"


async def test_what_cannot_be_previewed_is_asked_about_all_the_same(
    session: EngineSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = type(session).call

    async def without(self: Any, name: str, *rest: Any) -> dict[str, Any]:
        if name == "call_preview":
            raise errors.Busy("Not now.")
        return await call(self, name, *rest)

    monkeypatch.setattr(type(session), "call", without)
    async with client(session, "legacy", NO) as (connected, asked):
        refused = await connected.call_tool("kv_delete", {"namespace": "ns", "key": "k"})
    assert refused.structured_content["error"]["code"] == "forbidden"
    assert asked == ["Delete a key: its value and its set? Tenant default.\n\nnamespace: ns\nkey: k"]


FILES = {
    "manifest": {"schema_version": "v1", "scope": {"tenant_id": "default", "environment": "dev"}},
    "files": [{"kind": "context", "path": "c.yaml", "text": "kind: context\nenvironment: dev\nvalues: {region: eu}\n"}],
}


@pytest.mark.parametrize("era", ERAS)
async def test_files_are_applied_as_they_were_shown_or_not_at_all(session: EngineSession, era: str) -> None:
    region = {"environment": "dev", "values": {"region": "us"}}

    async def another_changes_it() -> None:
        await session.call("context_set", region, fake.CALLER)

    async with client(session, era, YES, another_changes_it) as (connected, asked):
        first = await connected.call_tool("gitops_apply", FILES)
    assert "region" in asked[0] and asked[0].startswith(
        "Bring a tenant's environment to what files say? Tenant default."
    )
    if era == "legacy":  # asked within the call: what is there by then is held against what was shown
        assert first.structured_content["error"]["code"] == "stale_plan" and len(asked) == 1
    else:  # the call comes again with the answer, and what is there by then is another question
        assert not first.is_error and len(asked) == 2 and "us" in asked[1]
        await another_changes_it()
    async with client(session, era, YES) as (connected, asked):
        done = await connected.call_tool("gitops_apply", FILES)
        assert done.structured_content["state"] == "succeeded" and len(asked) == 1
        again = await connected.call_tool("gitops_apply", FILES)
        assert again.structured_content["state"] == "succeeded" and len(asked) == 1, "nothing changes: nothing to ask"
