"""The extension io.modelcontextprotocol/tasks: a run that is not over yet is a task, and its id is the invocation's.

The invocation is on disk before its id is handed out, so a task outlives this server, and any server of the same
engine can answer for it. It belongs to whoever started it: to everyone else it does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import mcp_types as types
from mcp import MCPError
from mcp.server.context import HandlerResult
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from core import clock, errors
from core.model.principal import Caller
from mcp_server import results
from mcp_server.session import RUNS, EngineSession
from mcp_server.toolcall import ToolCall

EXTENSION = "io.modelcontextprotocol/tasks"
MISSING_CAPABILITY = -32021
HEADER_MISMATCH = -32020

TTL_MS = 24 * 3600 * 1000
"""How long a finished invocation is kept at least (the engine's retention never goes below a day)."""
POLL_MS = 1000
FIRST_WAIT_SECONDS = 1
"""How long a call waits for the end of the run before it becomes a task, unless the caller said how long."""

OVER = ("completed", "failed", "cancelled")
"""The states of a task that no other follows."""

_OPEN = ("accepted", "dispatched")
_STATUS = {**dict.fromkeys(_OPEN, "working"), "canceled": "cancelled"}


class TaskParams(types.RequestParams):
    """Params of tasks/get and tasks/cancel."""

    task_id: str = Field(max_length=200)


class UpdateParams(TaskParams):
    """Params of tasks/update."""

    input_responses: dict[str, Any] = Field(default_factory=dict)


class Source(Protocol):
    """Where tasks come from. A task is a DetailedTask in its wire form, without resultType."""

    async def get(self, task_id: str, caller: Caller) -> dict[str, Any] | None:
        """The task as it is now; None when this caller has none of that id."""
        ...

    async def cancel(self, task_id: str, caller: Caller) -> None:
        """Ask for its end; the task may go on all the same."""
        ...

    async def update(self, task_id: str, responses: Mapping[str, Any], caller: Caller) -> None:
        """Take what the user answered."""
        ...


class Invocations:
    """The runs of triggers as tasks."""

    def __init__(self, session: EngineSession) -> None:
        self._session = session

    async def get(self, task_id: str, caller: Caller) -> dict[str, Any] | None:
        try:
            record = await self._session.call("trigger_invocation_get", {"invocation_id": task_id}, caller)
        except (errors.NotFound, errors.InvalidParams):
            return None
        started_by = record.get("caller") or {}
        if started_by.get("username") != caller.username:
            return None
        return detailed(record)

    async def cancel(self, task_id: str, caller: Caller) -> None:
        given = {"invocation_id": task_id, "reason": "tasks/cancel"}
        await self._session.call("trigger_invocation_cancel", given, caller)

    async def update(self, task_id: str, responses: Mapping[str, Any], caller: Caller) -> None:
        """A run asks nothing, so there is nothing to answer."""


def offered(call: ToolCall) -> bool:
    """Whether this call can become a task."""
    return call.operation.name in RUNS


def patient(call: ToolCall) -> ToolCall:
    """A run that waits but a moment, unless it says how long."""
    return call.with_arguments({"wait_timeout_seconds": FIRST_WAIT_SECONDS, **call.arguments})


def created(answer: dict[str, Any]) -> dict[str, Any]:
    """A CreateTaskResult instead of the answer of a run that is not over; any other answer as it is."""
    record = answer.get("structuredContent") or {}
    if answer.get("isError") or record.get("state") not in _OPEN or "invocation_id" not in record:
        return answer
    return {"resultType": "task", **_task(record)}


def detailed(record: Mapping[str, Any]) -> dict[str, Any]:
    """An invocation as a DetailedTask. A run that failed is a completed task whose result says so, as in any call."""
    task = _task(record)
    if task["status"] == "completed":
        result = results.success(dict(record))
        del result["resultType"]
        task["result"] = result
    return task


def _task(record: Mapping[str, Any]) -> dict[str, Any]:
    started = int(record["requested_at_ns"])
    updated = record.get("finished_at_ns") or max(
        (int(event["at_ns"]) for event in record.get("events") or () if "at_ns" in event), default=started
    )
    state = str(record["state"])
    return {
        "taskId": record["invocation_id"],
        "status": _STATUS.get(state, "completed"),
        "statusMessage": f"The run is {state}.",
        "createdAt": clock.iso(started),
        "lastUpdatedAt": clock.iso(int(updated)),
        "ttlMs": TTL_MS,
        "pollIntervalMs": POLL_MS,
    }


def declared(ctx: Any) -> bool:
    """Whether the client that sends this request understands tasks."""
    capabilities = ctx.session.client_capabilities
    return (
        ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        and capabilities is not None
        and EXTENSION in (capabilities.extensions or {})
    )


class Methods:
    """tasks/get, tasks/update and tasks/cancel over any number of sources."""

    def __init__(self) -> None:
        self.sources: list[Source] = []

    async def find(self, task_id: str, caller: Caller) -> dict[str, Any] | None:
        """The task as it is now; None when this caller has none of that id."""
        for source in self.sources:
            task = await source.get(task_id, caller)
            if task is not None:
                return task
        return None

    async def get(self, ctx: Any, params: TaskParams, caller: Caller) -> HandlerResult:
        self._check(ctx, params)
        task = await self.find(params.task_id, caller)
        if task is None:
            raise _unknown(params.task_id)
        return {"resultType": "complete", **task}

    async def cancel(self, ctx: Any, params: TaskParams, caller: Caller) -> HandlerResult:
        source = await self._owner(ctx, params, caller)
        await source.cancel(params.task_id, caller)
        return {"resultType": "complete"}

    async def update(self, ctx: Any, params: UpdateParams, caller: Caller) -> HandlerResult:
        source = await self._owner(ctx, params, caller)
        await source.update(params.task_id, params.input_responses, caller)
        return {"resultType": "complete"}

    async def _owner(self, ctx: Any, params: TaskParams, caller: Caller) -> Source:
        self._check(ctx, params)
        for source in self.sources:
            if await source.get(params.task_id, caller) is not None:
                return source
        raise _unknown(params.task_id)

    def _check(self, ctx: Any, params: TaskParams) -> None:
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            raise MCPError(types.METHOD_NOT_FOUND, "Method not found")
        # The SDK compares Mcp-Name with the body for the methods of the core protocol only.
        headers = getattr(ctx.request, "headers", None)
        if headers is not None and decode_header_value(headers.get(MCP_NAME_HEADER)) != params.task_id:
            raise MCPError(HEADER_MISMATCH, f"{MCP_NAME_HEADER} header does not match params.taskId.")
        if not declared(ctx):
            raise undeclared(ctx.method)


def undeclared(what: str) -> MCPError:
    """The refusal of a client that does not say that it understands tasks."""
    needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
    return MCPError(MISSING_CAPABILITY, f"{what} needs the client capability {EXTENSION}.", needed)


def _unknown(task_id: str) -> MCPError:
    return MCPError(types.INVALID_PARAMS, f"There is no task {errors.shorten(task_id, 64)}.")
