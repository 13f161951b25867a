"""A trigger: a curated, schema-validated "run this now" action (docs/triggers.md)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from core.model.operation import Effect, Params

MCP_SLUG = r"^[a-z0-9][a-z0-9_-]{0,35}$"
SLUG = r"^[a-z0-9][a-z0-9_-]{0,63}$"
RESERVED_KEYS = ("_idempotency_key", "_wait_timeout_seconds")
TOOL_PREFIX = "trigger_invoke_"
DEFAULT_RESPONSE_TIMEOUT_SECONDS = 15
DEFAULT_WAIT_SECONDS = 15
MAX_WAIT_SECONDS = 300
RESPONSE = "trigger_response"
MOST_RESPONSE_BYTES = 256 * 1024  # of a trigger_response, as JSON
PROXY_RESPONSE = "trigger_proxy_response"
PROXY_HEADERS = frozenset(
    "content-type content-length date etag last-modified location retry-after x-request-id".split(),
)
"""The headers of an answer that a proxy response tells of."""
MOST_PROXY_BODY_BYTES = 64 * 1024


class Publication(Params):
    """Where the trigger appears."""

    mcp: bool = False
    """As an MCP tool."""
    ui_admin: bool = False
    """In the console, for admins."""
    ui_user: bool = False
    """In the console, for users."""


class RateLimit(Params):
    """At most `per_user` runs by one user in any window of `per_seconds`."""

    per_user: int = Field(ge=1, le=1_000_000)
    per_seconds: int = Field(ge=1, le=86_400)


class InvokePolicy(Params):
    """Who may invoke the trigger, and how often."""

    allow_admin: bool = True
    allow_user: bool = False
    rate_limit: RateLimit | None = None


class ProxyPolicy(Params):
    """Whether the dispatch message carries a trigger_proxy envelope, and how long the proxied request may take."""

    mode: Literal["off", "passthrough"] = "off"
    timeout_seconds: int = Field(default=30, ge=1, le=300)


class Annotations(Params):
    """What a run does to the world; clients decide by these whether to ask their user first."""

    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = True

    @property
    def effect(self) -> Effect:
        """What a run does to the world, in the word of operations."""
        return Effect.READ if self.read_only else Effect.DESTRUCTIVE if self.destructive else Effect.WRITE


class Definition(Params):
    """What is published; a revision is always a whole definition."""

    kind: Literal["trigger"] = "trigger"
    slug: str = Field(pattern=SLUG)
    """Stable identifier; the MCP tool is named trigger_invoke_<slug>. For MCP: at most 36 of a-z, 0-9, _ and -."""
    tenant_id: str = Field(default="", max_length=64)
    """The tenant that owns the trigger; empty means the caller's. `platform` is for platform principals."""
    display_name: str = Field(default="", max_length=200)
    """The name that people see."""
    description: str = Field(default="", max_length=1500)
    """What a run does, for people and models."""
    parameter_schema: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})
    """JSON Schema (2020-12) of the parameters; its root type is object."""
    default_params: dict[str, Any] = Field(default_factory=dict)
    """Fill what the caller leaves out, before validation."""
    target_job_name: str = Field(min_length=1, max_length=200)
    """The job that receives the message."""
    target_message_tag: str = Field(default="", max_length=200)
    """The tag that the job's filter listens to."""
    publication: Publication = Publication()
    invoke_policy: InvokePolicy = InvokePolicy()
    response_slot: str = Field(default="", max_length=200)
    """When set, a run ends only with a trigger_response for this slot (or at the deadline)."""
    response_timeout_seconds: int = Field(default=DEFAULT_RESPONSE_TIMEOUT_SECONDS, ge=1, le=3600)
    """How long the job has to respond; only with response_slot."""
    proxy_policy: ProxyPolicy = ProxyPolicy()
    result_schema: dict[str, Any] | None = None
    """JSON Schema of the `result` in a response; a response that does not fit is not accepted."""
    annotations: Annotations = Annotations()
    tags: list[str] = Field(default_factory=list, max_length=32)

    @field_validator("proxy_policy")
    @classmethod
    def _proxy_needs_a_slot(cls, value: ProxyPolicy, info: ValidationInfo) -> ProxyPolicy:
        if value.mode != "off" and not info.data.get("response_slot"):
            raise ValueError("a proxy mode needs a response_slot")
        return value
