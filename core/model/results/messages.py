"""What the bus has carried, and what MCP sessions have called."""

from typing import Annotated, Literal, NotRequired, TypedDict

from core.model.principal import Role
from core.model.results.basics import JsonObject, Listing, Row, Time


class Message(Row):
    """A message of the bus."""

    id: str
    kind: Annotated[str, Literal["system", "user"]]
    message_type: str
    """user-generated, user-alert, job-run-started, job-run-ended, job-failed, ..."""
    at: Time
    nanoseconds_since_epoch: int
    source: Annotated[str, Literal["server", "worker", "job"]]
    version: str
    """Of the form of messages."""
    tag: NotRequired[str]
    job_name: NotRequired[str]
    worker_id: NotRequired[str]
    traceparent: NotRequired[str]
    message_data: NotRequired[JsonObject]


class MessageList(Listing[Message]):
    """Messages, newest first, or with `after` the oldest first."""

    reset: NotRequired[bool]
    """With `after`: something between may be lost."""


class Activity(Row):
    """A call of a tool by an MCP session."""

    at: Time
    username: str
    role: Annotated[str, Role]
    label: str
    """The name of the session."""
    transport: Annotated[str, Literal["stdio", "http", ""]]
    protocol: str
    """The version that the client speaks."""
    tool: str
    outcome: str
    """ok, or the code of the error."""
    duration_ms: int


class ActivityList(Listing[Activity]):
    """What MCP sessions called, newest first."""

    hint: NotRequired[str]
    """Why there may be none."""


class ActivityRecorded(TypedDict):
    """How many calls were put down."""

    recorded: int


class NotificationStream(TypedDict):
    """A stream of server-sent events."""

    transport: str
    method: str
    path: str
    content_type: str
    authentication: str
    served_by: str
    tenant: str


class NotificationPolling(TypedDict):
    """A tool that tells the same when it is asked."""

    tool: str
    path: str
    interval_seconds: int


_Versions = TypedDict("_Versions", {"2026-07-28": str, "2025-11-25": str})


class NotificationMcp(_Versions):
    """How MCP clients hear of changes, by the version of the protocol."""

    resources: list[str]


class Notifications(TypedDict):
    """The ways to be told of what jobs do."""

    stream: NotificationStream
    polling: NotificationPolling
    mcp: NotificationMcp
