"""What the next call needs stands in the text of the answer before it, for hosts that give a model only the text.

Which facts these are is read off the registry: the arguments that some operation requires, such as plan_id, slug or
invocation_id. Wherever an answer has a value under such a name, or names a next call with its arguments, the text has
the value too. One session makes every sort of thing there is, and then asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import mcp
import orjson
import pytest

from core.model.operation import Effect
from core.operations import REGISTRY
from core.settings import Settings
from mcp_server import attach, protocol
from mcp_server.door import Door
from mcp_server.session import EngineSession
from tests.mcp_server import fake

pytestmark = pytest.mark.anyio
SOURCE = "workflow:quickstart-file-store-roundtrip@1"
HANDLER = "name: beat\ninput: {echo: {event: x, trigger: {interval: 1h}}}\noutput: {discard: {}}"
WORKFLOW = {
    "kind": "workflow",
    "slug": "mine",
    "title": "Mine",
    "steps": [
        {"id": "beat", "use": "blueprint:echo-source@1.0.0", "out": "channel:c"},
        {"id": "end", "use": "blueprint:file-printer@1.0.0", "in": "channel:c"},
    ],
}
TRIGGER = {
    "slug": "ask",
    "description": "Asks the job that answers.",
    "target_job_name": "beat",
    "target_message_tag": "ask",
}
CONTENT = frozenset("action document kind manifest value values".split())
"""Required arguments that are content or a choice, which the caller makes and no answer before gives."""


def needed() -> set[str]:
    """The names of arguments without which some tool cannot be called, and which an answer before it gives."""
    return {name for one in REGISTRY if one.tool for name in one.schema.get("required", ())} - CONTENT


def facts(answer: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The values of an answer that a next call needs: of the answer itself, of its rows, and of the calls it names."""
    names = needed()
    rows = [row for value in answer.values() if isinstance(value, list) for row in value if isinstance(row, dict)]
    for holder in (answer, *rows):
        for name, value in holder.items():
            if name in names and isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                yield name, value
    steps = answer.get("next")
    for step in steps if isinstance(steps, list) else ():
        called = str(step.get("operation") or step.get("call"))
        for name, value in step["arguments"].items():
            if name in REGISTRY[called].schema.get("required", ()):
                yield f"{called}.{name}", value


def missing(text: str, answer: Mapping[str, Any]) -> list[str]:
    """The facts that the text lacks."""
    said = [(name, value if isinstance(value, str) else orjson.dumps(value).decode()) for name, value in facts(answer)]
    return [f"{name}={value}" for name, value in said if value not in text and orjson.dumps(value).decode() not in text]


class Session:
    """Calls tools and notes which facts their texts lack."""

    def __init__(self, client: mcp.Client) -> None:
        self._client = client
        self.lacking: dict[str, list[str]] = {}
        self.told: dict[str, set[str]] = {}  # tool -> facts that it answered with

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self._client.call_tool(tool, arguments)
        text = "\n".join(part.text for part in result.content)
        answer = dict(result.structured_content)
        assert not result.is_error, (tool, text)
        if lacks := missing(text, answer):
            self.lacking[tool] = lacks
        self.told.setdefault(tool, set()).update(name for name, _ in facts(answer))
        return answer


async def walk(call: Session) -> None:
    """A session that makes one of each thing, and looks at it in every way."""
    plan = {"name": "demo", "source": SOURCE, "values": {"path": "store"}}
    made = await call("deployment_plan", **plan)
    await call("plan_get", plan_id=made["plan_id"])
    await call("plan_get", plan_id=made["plan_id"], detail="detailed")
    await call("plan_list")
    await call("deployment_apply", plan_id=made["plan_id"], wait_seconds=0, reason="the first")
    again = await call("deployment_plan", **{**plan, "values": {"path": "other"}}, detail="detailed")
    await call("deployment_apply", plan_id=again["plan_id"], wait_seconds=0)
    back = await call("deployment_plan", name="demo", to_revision=1)
    await call("deployment_apply", plan_id=back["plan_id"], wait_seconds=0)
    await call("deployment_history", name="demo")
    await call("deployment_history", name="demo", compare=[1, 2])
    await call("deployment_get", name="demo")
    await call("deployment_list")
    await call("explain", kind="deployment", id="demo")
    await call("deployment_reconcile", name="demo", dry_run=True)
    await call("catalog_search", query="file")
    await call("catalog_get", slug="quickstart-file-store-roundtrip", type="workflow")
    await call("job_put", document=HANDLER)
    await call("job_deploy", name="beat")
    await call("job_list")
    await call("job_get", name="beat")
    await call("job_log", name="beat")
    await call("workflow_save_draft", document=orjson.dumps(WORKFLOW).decode())
    await call("workflow_publish", slug="mine")
    await call("workflow_list")
    await call("workflow_get", slug="mine")
    await call("trigger_publish", **TRIGGER)
    await call("trigger_list")
    await call("trigger_get", slug="ask")
    ran = await call("trigger_invoke", slug="ask", params={}, wait_timeout_seconds=0)
    await call("trigger_invocation_list")
    await call("trigger_invocation_get", invocation_id=ran["invocation_id"])
    await call("explain", kind="invocation", id=ran["invocation_id"])
    await call("context_set", values={"colour": "green"})
    await call("context_get")
    await call("context_list")
    await call("variable_set", name="PACE", value="1")
    await call("variable_list")
    await call("kv_set", namespace="seen", key="k", value="v")
    await call("kv_namespaces")
    await call("kv_list", namespace="seen")
    await call("kv_get", namespace="seen", key="k")
    await call("secret_list")
    await call("message_search")
    await call("worker_list")
    await call("worker_group_list")
    await call("audit_list")
    removal = await call("deployment_plan", name="demo", remove=True)
    await call("plan_discard", plan_id=removal["plan_id"])


async def test_the_text_of_each_answer_has_what_the_next_call_needs(tmp_path: Path) -> None:
    async with attach.open_session(Settings(home=tmp_path / "home", workers=1)) as session:

        async def opened() -> EngineSession:
            return session

        door = Door(opened, fake.options(allow_write=True, toolsets=("all",)), "memory")
        with anyio.fail_after(120):
            async with mcp.Client(protocol.build(door)) as client:
                call = Session(client)
                await walk(call)
    assert call.lacking == {}
    assert "plan_id" in call.told["deployment_plan"] and "plan_id" in call.told["deployment_history"]
    assert "invocation_id" in call.told["trigger_invoke"] and "slug" in call.told["catalog_search"]


def test_the_rule_finds_a_fact_that_a_text_lacks() -> None:
    answer = {
        "plan_id": "plan_1",
        "items": [{"slug": "a"}],
        "next": [{"operation": "plan_get", "arguments": {"plan_id": "x2"}}],
    }
    assert missing("plan_1, a, x2", answer) == []
    assert missing("nothing of it", answer) == ["plan_id=plan_1", "slug=a", "plan_get.plan_id=x2"]


def test_what_is_needed_is_read_off_the_registry() -> None:
    assert {"plan_id", "slug", "name", "invocation_id", "namespace"} <= needed()
    assert any(one.effect is Effect.DESTRUCTIVE and "plan_id" in one.schema["required"] for one in REGISTRY if one.tool)
