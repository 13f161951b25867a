"""The tools that the suite's ten scenarios of the tasks extension call, and the tasks that they become.

The methods tasks/get, tasks/update and tasks/cancel are the product's; only where these tasks come from is a fixture.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import mcp_types as types
from mcp import MCPError

from core import clock
from core.model.principal import Caller
from mcp_server import tasks
from tests import waiting

Wire = dict[str, Any]
MISSING = {"requiredCapabilities": {"extensions": {tasks.EXTENSION: {}}}}
SCHEMAS: dict[str, Wire] = {
    "greet": {"name": {"type": "string"}},
    "slow_compute": {"seconds": {"type": "number"}, "label": {"type": "string"}},
    "failing_job": {},
    "protocol_error_job": {},
    "confirm_delete": {"filename": {"type": "string"}},
    "multi_input": {},
    "test_tool_with_task": {},
}


def text(words: str, *, error: bool = False) -> Wire:
    return {"content": [{"type": "text", "text": words}], "isError": error}


def form(message: str, **properties: Wire) -> Wire:
    return {
        "method": "elicitation/create",
        "params": {"message": message, "requestedSchema": {"type": "object", "properties": properties}},
    }


NAME = form("Your name?", name={"type": "string"})
CONFIRM = form("Really?", confirm={"type": "boolean"})


@dataclass
class Running:
    """One task."""

    id: str
    asks: dict[str, Wire] = field(default_factory=dict)
    status: str = "working"
    result: Wire | None = None
    error: Wire | None = None
    answered: anyio.Event = field(default_factory=anyio.Event)
    task: asyncio.Task[None] | None = None
    created: int = field(default_factory=clock.now_ns)
    updated: int = field(default_factory=clock.now_ns)

    def wire(self) -> Wire:
        out = {
            "taskId": self.id,
            "status": self.status,
            "createdAt": clock.iso(self.created),
            "lastUpdatedAt": clock.iso(self.updated),
            "ttlMs": 60_000,
            "pollIntervalMs": 100,
        }
        if self.status == "input_required":
            out["inputRequests"] = self.asks
        if self.result is not None:
            out["result"] = self.result
        if self.error is not None:
            out["error"] = self.error
        return out

    def settle(self, status: str) -> None:
        if self.status not in ("completed", "failed", "cancelled"):
            self.status, self.updated = status, clock.now_ns()


class Tasks:
    """A source of tasks that live in memory."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._tasks: dict[str, Running] = {}

    async def get(self, task_id: str, caller: Caller) -> Wire | None:
        found = self._tasks.get(task_id)
        return None if found is None else found.wire()

    async def cancel(self, task_id: str, caller: Caller) -> None:
        found = self._tasks[task_id]
        found.settle("cancelled")
        if found.task is not None:
            found.task.cancel()

    async def update(self, task_id: str, responses: Mapping[str, Any], caller: Caller) -> None:
        found = self._tasks[task_id]
        for key in [key for key in responses if key in found.asks]:
            del found.asks[key]
        if not found.asks:
            found.answered.set()

    def start(self, name: str, arguments: Mapping[str, Any], said: str = "") -> Wire:
        asks = {"confirm_delete": {"confirm": CONFIRM}, "multi_input": {"first": NAME, "second": NAME}}.get(name, {})
        running = Running(f"task_{next(self._ids)}", dict(asks))
        self._tasks[running.id] = running
        running.task = asyncio.get_running_loop().create_task(self._run(running, name, arguments, said))
        return {"resultType": "task", **{**running.wire(), "status": "working"}}

    async def _run(self, running: Running, name: str, arguments: Mapping[str, Any], said: str) -> None:
        if running.asks:
            running.settle("input_required")
            await running.answered.wait()
            running.settle("working")
        if name == "slow_compute":
            await waiting.pause(float(arguments.get("seconds", 0)))  # as slow as it was asked to be
        if name == "protocol_error_job":
            running.error = {"code": -32603, "message": "The job broke."}
            running.settle("failed")
            return
        running.result = text(f"done {said}", error=name == "failing_job")
        running.settle("completed")


def listed(name: str) -> Wire:
    return {
        "name": name,
        "description": f"A fixture of the conformance suite: {name}.",
        "inputSchema": {"type": "object", "properties": SCHEMAS[name]},
    }


async def call(source: Tasks, ctx: Any, params: types.CallToolRequestParams) -> Wire:
    """Answer a call of one of these tools."""
    arguments = params.arguments or {}
    if params.name == "greet":
        return {"resultType": "complete", **text(f"Hello, {arguments.get('name')}!")}
    said = ""
    if params.name == "test_tool_with_task":
        response = (params.input_responses or {}).get("user_name")
        if not isinstance(response, types.ElicitResult):
            return {"resultType": "input_required", "inputRequests": {"user_name": NAME}, "requestState": "asked"}
        said = str((response.content or {}).get("name"))
    if tasks.declared(ctx):
        return source.start(params.name, arguments, said)
    if params.name == "slow_compute":
        await waiting.pause(float(arguments.get("seconds", 0)))  # as slow as it was asked to be
        return {"resultType": "complete", **text("done")}
    raise MCPError(tasks.MISSING_CAPABILITY, f"{params.name} needs {tasks.EXTENSION}.", MISSING)
