"""What MCP sessions do, as far as they tell (--activity-forward), and how their clients hear of what jobs do."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from core import clock
from core.engine import Engine
from core.model import results
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.operations.registry import LISTED, Page, operation, position, rows_page
from core.store import activity as table

Outcome = Annotated[str, Field(max_length=40, pattern="^[a-z_]+$")]


class Record(Params):
    """One call of a tool. There is no place for arguments or results."""

    model_config = ConfigDict(extra="forbid")

    tool: str = Field(max_length=64)
    """The tool that was called."""
    outcome: Outcome
    """ok, or the code of the error."""
    duration_ms: int = Field(ge=0, le=2**40)
    """How long it took."""
    at_ns: int = Field(ge=0, le=2**63 - 1)
    """When it ended."""
    protocol: str = Field(default="", max_length=20)
    """The protocol version of the client."""


class ActivityRecord(Params):
    records: list[Record] = Field(min_length=1, max_length=100)
    """The calls, in the order in which they ended."""
    label: str = Field(default="", max_length=100)
    """The name of the session."""
    transport: Literal["stdio", "http", ""] = ""
    """How the client is connected."""


@operation(
    summary="Record what tools an MCP session called.",
    http="POST /api/mcp/activity",
    toolset="messages",
    effect=Effect.WRITE,
    gated=False,
    tool=False,
    offline=True,
    role=Role.VIEWER,
)
async def mcp_activity_record(
    engine: Engine, caller: Caller, params: ActivityRecord
) -> results.messages.ActivityRecorded:
    """Keep metadata of tool calls, in the name of the caller: an MCP server with --activity-forward sends it."""
    rows = [
        (
            engine.ids.next(),
            caller.tenant,
            caller.username,
            caller.role.value,
            params.label,
            params.transport,
            one.protocol,
            one.tool,
            one.outcome,
            one.duration_ms,
            one.at_ns,
        )
        for one in params.records
    ]
    await engine.database.write(table.insert, rows)
    return {"recorded": len(rows)}


class ActivityList(Page):
    label: str | None = Field(default=None, max_length=100)
    """Only sessions of this label."""
    username: str | None = Field(default=None, max_length=200)
    """Only calls by this user."""
    tool: str | None = Field(default=None, max_length=64)
    """Only calls of this tool."""
    outcome: Outcome | None = None
    """Only calls that ended so: ok, or the code of an error."""


@operation(
    summary="List what MCP sessions called lately.",
    http="GET /api/mcp/activity",
    toolset="messages",
    role=Role.ADMIN,
    outline=LISTED,
)
async def mcp_activity_list(engine: Engine, caller: Caller, params: ActivityList) -> results.messages.ActivityList:
    """The tool calls of sessions that run with --activity-forward, newest first: who, which tool, outcome, duration.

    Metadata only, sent as best effort: a call that is missing here may have been made all the same. audit_list has
    what was changed and refused, whatever the flags of its session.
    """
    named = {name: getattr(params, name) for name in ("label", "username", "tool", "outcome")}
    equal = {name: value for name, value in named.items() if value is not None}
    before, limit = position(params.cursor), params.limit + 1
    rows, total = await engine.database.read(lambda db: table.search(db, caller.tenant, equal, before, limit))

    def show(row: dict[str, Any]) -> results.messages.Activity:
        return {
            "at": clock.iso(row["at_ns"]),
            "username": row["username"],
            "role": row["role"],
            "label": row["label"],
            "transport": row["transport"],
            "protocol": row["protocol"],
            "tool": row["tool"],
            "outcome": row["outcome"],
            "duration_ms": row["duration_ms"],
        }

    page = rows_page(rows, params.limit, show, lambda row: str(row["id"]))
    shown: results.messages.ActivityList = {"items": page["items"], "next_cursor": page["next_cursor"], "total": total}
    if not total:
        shown["hint"] = (
            "Nothing that fits was forwarded: a session tells of its calls only with --activity-forward."
            " audit_list has what was changed and refused."
        )
    return shown


class Nothing(Params):
    pass


@operation(
    summary="How to be told of what jobs do.",
    http="GET /api/mcp/notifications/transport",
    toolset="messages",
    role=Role.ADMIN,
)
async def mcp_notifications_transport_get(
    engine: Engine, caller: Caller, params: Nothing
) -> results.messages.Notifications:
    """The ways to hear of notifications: a stream of events over HTTP, polling by a tool, and changes over MCP."""
    return {
        "stream": {
            "transport": "sse",
            "method": "GET",
            "path": "/api/messages/subscribe",
            "content_type": "text/event-stream",
            "authentication": "Authorization: Bearer TOKEN",
            "served_by": "sluice serve",
            "tenant": caller.tenant,
        },
        "polling": {"tool": "job_notifications_recent", "path": "/api/jobs/notifications", "interval_seconds": 5},
        "mcp": {
            "2026-07-28": "subscriptions/listen with toolsListChanged and resourceSubscriptions",
            "2025-11-25": "resources/subscribe, and notifications/tools/list_changed",
            "resources": ["deployment://{name}", "invocation://{invocation_id}", "workflow://{slug}"],
        },
    }
