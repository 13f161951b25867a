"""Runs of triggers as tasks (io.modelcontextprotocol/tasks)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.shared.message import SessionMessage

from core.model.principal import Caller
from core.settings import Settings
from mcp_server import attach, protocol, task_updates, tasks
from mcp_server.door import Door
from mcp_server.session import EngineSession
from tests.mcp_server import fake
from tests.mcp_server.wire import wire

pytestmark = pytest.mark.anyio
EXTENSIONS = {tasks.EXTENSION: {}}
# A job that is staged but never answers: its runs stay open until their deadline.
TRIGGER = {
    "slug": "slow",
    "target_job_name": "handler",
    "publication": {"mcp": True},
    "response_slot": "answer",
    "response_timeout_seconds": 60,
}


class Open(fake.FakeSession):
    """An engine whose runs stay open until they are ended."""

    def __init__(self) -> None:
        super().__init__()
        self.publish("slow")
        self.waited: list[int] = []

    async def call(self, operation: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
        if operation == "trigger_invoke":
            self.waited.append(arguments.get("wait_timeout_seconds", 15))
            record = {
                "invocation_id": f"inv_{len(self.invocations) + 1}",
                "state": "dispatched",
                "caller": {"username": caller.username},
                "requested_at_ns": 1_700_000_000_000_000_000,
                "finished_at_ns": None,
                "result": {},
            }
            self.invocations[record["invocation_id"]] = record
            return record
        if operation == "trigger_invocation_cancel":
            record = self.invocations[arguments["invocation_id"]]
            if record["state"] == "dispatched":
                self.end(record["invocation_id"], "canceled")
            return record
        return await super().call(operation, arguments, caller)

    def end(self, invocation_id: str, state: str) -> None:
        self.invocations[invocation_id] |= {"state": state, "finished_at_ns": 1_700_000_001_000_000_000}


async def test_a_run_that_is_not_over_is_a_task_with_the_id_of_its_invocation() -> None:
    engine = Open()
    async with wire(engine) as client:
        made = await client.result("tools/call", name="trigger_invoke_slow", arguments={"value": "a"})
        made.pop("_meta")
        assert made == {
            "resultType": "task",
            "taskId": "inv_1",
            "status": "working",
            "statusMessage": "The run is dispatched.",
            "createdAt": "2023-11-14T22:13:20.000Z",
            "lastUpdatedAt": "2023-11-14T22:13:20.000Z",
            "ttlMs": tasks.TTL_MS,
            "pollIntervalMs": tasks.POLL_MS,
        }
        assert (await client.result("tasks/get", taskId="inv_1"))["status"] == "working"
        engine.end("inv_1", "failed")
        task = await client.result("tasks/get", taskId="inv_1")
        assert task["status"] == "completed" and task["lastUpdatedAt"] == "2023-11-14T22:13:21.000Z"
        assert task["result"]["structuredContent"]["state"] == "failed"
        for method, more in (("tasks/cancel", {}), ("tasks/update", {"inputResponses": {"x": {}}})):
            ack = await client.result(method, taskId="inv_1", **more)
            assert ack["resultType"] == "complete" and "taskId" not in ack and "status" not in ack
    assert engine.waited == [tasks.FIRST_WAIT_SECONDS]


async def test_a_task_that_is_cancelled_says_so() -> None:
    async with wire(Open()) as client:
        await client.result("tools/call", name="trigger_invoke_slow", arguments={})
        assert (await client.result("tasks/cancel", taskId="inv_1"))["resultType"] == "complete"
        task = await client.result("tasks/get", taskId="inv_1")
        assert task["status"] == "cancelled" and "result" not in task


async def test_a_caller_who_says_how_long_to_wait_is_waited_for() -> None:
    engine = Open()
    async with wire(engine) as client:
        arguments = {"_wait_timeout_seconds": 7}
        await client.result("tools/call", name="trigger_invoke_slow", arguments=arguments)
    assert engine.waited == [7]


async def test_a_client_that_does_not_know_tasks_gets_the_record() -> None:
    engine = Open()
    async with wire(engine) as client:
        made = await client.result("tools/call", name="trigger_invoke_slow", arguments={}, extensions={})
        assert made["resultType"] == "complete" and made["structuredContent"]["state"] == "dispatched"
        status, answer = await client.ask("tasks/get", taskId="inv_1", extensions={})
        assert status == 400 and answer["error"]["code"] == -32021
        assert answer["error"]["data"] == {"requiredCapabilities": {"extensions": EXTENSIONS}}
    assert engine.waited == [15]


async def test_a_task_belongs_to_whoever_started_it() -> None:
    async with wire(Open()) as client:
        await client.result("tools/call", name="trigger_invoke_slow", arguments={})
        for method in ("tasks/get", "tasks/cancel", "tasks/update"):
            assert await client.fault(method, taskId="inv_1", user="eve") == -32602
            assert await client.fault(method, taskId="inv_2") == -32602
        status, answer = await client.ask("tasks/get", taskId="inv_1", header="inv_2")
        assert status == 400 and answer["error"]["code"] == -32020
        assert await client.fault("tasks/list") == -32601


async def test_a_run_of_a_real_engine_is_a_task_that_another_process_could_read(tmp_path: Path) -> None:
    async with attach.open_session(Settings(home=tmp_path / "home", workers=0)) as session:
        await session.call("trigger_publish", TRIGGER, fake.CALLER)
        async with wire(session) as client:
            # Nothing is deployed that could take the message, so the run is over at once and is no task.
            made = await client.result("tools/call", name="trigger_invoke_slow", arguments={})
            id = made["structuredContent"]["invocation_id"]
            assert made["resultType"] == "complete"
            assert (await client.result("tasks/get", taskId=id))["result"]["structuredContent"]["state"] == "failed"
            assert await client.fault("tasks/get", taskId=id, user="eve") == -32602


# -- notifications/tasks -----------------------------------------------------------------------------------------


class Line:
    """The messages of one connection of protocol 2026-07-28, which no SDK shapes."""

    def __init__(self, read: Any, write: Any) -> None:
        self._read, self._write = read, write

    async def ask(self, id: int, method: str, *, extensions: Any = EXTENSIONS, **params: Any) -> None:
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {"extensions": extensions},
            "io.modelcontextprotocol/clientInfo": {"name": "line", "version": "1"},
        }
        request = types.JSONRPCRequest(jsonrpc="2.0", id=id, method=method, params={**params, "_meta": meta})
        await self._write.send(SessionMessage(request))

    async def heard(self) -> dict[str, Any]:
        message: dict[str, Any] = (await self._read.receive()).message.model_dump(by_alias=True, exclude_none=True)
        return message


@asynccontextmanager
async def line(session: EngineSession) -> AsyncIterator[Line]:
    async def opened() -> EngineSession:
        return session

    built = protocol.build(Door(opened, fake.options(allow_write=True), "memory"))
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage | Exception](10)
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage](10)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group, to_server, from_client, to_client, from_server:
            group.start_soon(built.run, from_client, to_client, built.create_initialization_options())
            yield Line(from_server, to_server)
            group.cancel_scope.cancel()


def told(message: dict[str, Any]) -> tuple[str, str]:
    """The task and its status in a notification on the stream of request 7."""
    assert message["method"] == "notifications/tasks"
    params = message["params"]
    assert params["_meta"] == {"io.modelcontextprotocol/subscriptionId": 7}
    return params["taskId"], params["status"]


async def test_a_stream_is_told_what_becomes_of_the_tasks_that_it_names() -> None:
    engine = Open()
    async with line(engine) as client:
        for id in (1, 2, 3):
            await client.ask(id, "tools/call", name="trigger_invoke_slow", arguments={})
            assert (await client.heard())["result"]["taskId"] == f"inv_{id}"
        engine.end("inv_3", "succeeded")
        engine.invocations["inv_4"] = {**engine.invocations["inv_1"], "caller": {"username": "eve"}}
        asked = {"taskIds": ["inv_1", "inv_3", "inv_4", "inv_5"], "toolsListChanged": True}
        await client.ask(7, "subscriptions/listen", notifications=asked)
        acknowledged = await client.heard()
        assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
        assert acknowledged["params"]["notifications"] == {"toolsListChanged": True, "taskIds": ["inv_1", "inv_3"]}
        assert told(await client.heard()) == ("inv_3", "completed"), "what was over before the stream opened"
        for id in ("inv_2", "inv_4"):  # not asked for, and not this caller's
            engine.end(id, "failed")
            engine.notify("invocation", {"tenant": "default", "invocation_id": id, "state": "failed"})
        engine.notify("invocation", {"tenant": "default", "invocation_id": "inv_1", "state": "dispatched"})
        assert told(await client.heard()) == ("inv_1", "working")
        engine.end("inv_1", "failed")
        engine.notify("invocation", {"tenant": "default", "invocation_id": "inv_1", "state": "failed"})
        ended = await client.heard()
        assert told(ended) == ("inv_1", "completed")
        # It is what tasks/get answers.
        await client.ask(8, "tasks/get", taskId="inv_1")
        task = (await client.heard())["result"]
        assert {key: task[key] for key in ended["params"] if key != "_meta"} == {
            key: value for key, value in ended["params"].items() if key != "_meta"
        }
        engine.publish("other")
        assert (await client.heard())["method"] == "notifications/tools/list_changed"


async def test_after_a_change_of_owner_a_stream_hears_of_every_task_that_it_names() -> None:
    engine = Open()
    async with line(engine) as client:
        await client.ask(1, "tools/call", name="trigger_invoke_slow", arguments={})
        await client.heard()
        await client.ask(7, "subscriptions/listen", notifications={"taskIds": ["inv_1"]})
        await client.heard()
        engine.end("inv_1", "succeeded")  # the notice of which went to the owner that died
        engine.notify("registry", {"tenant": "", "version": -1})
        assert told(await client.heard()) == ("inv_1", "completed")


async def test_a_stream_that_may_not_follow_tasks_is_refused() -> None:
    async with line(Open()) as client:
        await client.ask(1, "subscriptions/listen", extensions={}, notifications={"taskIds": ["inv_1"]})
        fault = (await client.heard())["error"]
        assert fault["code"] == -32021 and fault["data"] == {"requiredCapabilities": {"extensions": EXTENSIONS}}
        for wrong in ("inv_1", [1], ["x"] * (task_updates.MAX_TASKS + 1)):
            await client.ask(2, "subscriptions/listen", notifications={"taskIds": wrong})
            assert (await client.heard())["error"]["code"] == -32602


JOB = """
name: handler
input: {echo: {event: "{}", json: true, trigger: {message: {filter-kind: user, filter-tag: go}}}}
output: {print: STDOUT}
"""


async def test_the_end_of_a_run_of_a_real_engine_is_told(tmp_path: Path) -> None:
    async with attach.open_session(Settings(home=tmp_path / "home", workers=1)) as session:
        await session.call("job_put", {"document": JOB}, fake.CALLER)
        await session.call("job_deploy", {"name": "handler"}, fake.CALLER)
        definition = {**TRIGGER, "target_message_tag": "go", "response_timeout_seconds": 2}
        await session.call("trigger_publish", definition, fake.CALLER)
        async with line(session) as client:
            await client.ask(1, "tools/call", name="trigger_invoke_slow", arguments={"_wait_timeout_seconds": 0})
            made = (await client.heard())["result"]
            assert made["resultType"] == "task" and made["status"] == "working"
            await client.ask(7, "subscriptions/listen", notifications={"taskIds": [made["taskId"]]})
            await client.heard()
            while True:
                message = await client.heard()
                if told(message) == (made["taskId"], "completed"):
                    break
            assert message["params"]["result"]["structuredContent"]["state"] == "timed_out"
