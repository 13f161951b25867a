"""What the doors serve: anything that answers operations, in this process or in another one.

This module imports neither mcp nor the engine, so that a command can be parsed before either is paid for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from core import clock, errors
from core.model.principal import Caller

if TYPE_CHECKING:
    from core.model.operation import Registry  # it brings what checks arguments, which a visitor leaves to the engine

Notice = Callable[[str, dict[str, Any]], None]
"""Receives `("registry", {"tenant", "version"})`, `("invocation", {"tenant", "invocation_id", "state"})` and others.

An empty tenant stands for every tenant: after a change of owner nobody knows what was missed.
"""


Hears = Callable[[Caller, str, Mapping[str, Any]], bool]
"""Whether a notice, (topic, data), is for a caller; see core.model.notices."""


class Declared(Protocol):
    """What has to be known of an operation to carry a call of it."""

    @property
    def reads(self) -> bool: ...

    @property
    def idempotent(self) -> bool: ...

    @property
    def needs_engine(self) -> bool: ...

    @property
    def homeless(self) -> bool: ...


class Operations(Protocol):
    """Operations by name: those of the registry, or what is written down of them."""

    def get(self, name: str, /) -> Declared | None: ...


class EngineSession(Protocol):
    """One way to the engine: owned, attached over the home's socket, or remote."""

    @property
    def operations(self) -> Registry:
        """All of them; to have it imports every room."""
        ...

    async def call(self, operation: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Do one operation and return its result.

        Raises a subclass of SluiceError for every fault that the caller can meet.
        """
        ...

    def subscribe(self, callback: Notice) -> Callable[[], None]:
        """Have `callback` called on the event loop for every notice, until the returned function is called.

        A callback must not block or raise. Notices are hints: they may be lost or repeated.
        """
        ...

    def acting(self, caller: Caller) -> Caller:
        """The caller as the engine will take it: the same one, unless a remote engine decides who it is by a token."""
        ...

    async def aclose(self) -> None:
        """Leave the engine; the owner also stops it. Called once, last."""
        ...


RUNS = ("trigger_invoke", "trigger_invocation_rerun")


def repeatable(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments that make a repeat of the call find what the first one did.

    A run that is asked for without a key gets one, so that a repeat after the owner's death finds it.
    """
    if operation in RUNS and isinstance(arguments, dict) and not arguments.get("idempotency_key"):
        return {**arguments, "idempotency_key": "auto-" + clock.token(20)}
    return arguments


def safe_to_repeat(operations: Operations, operation: str, arguments: dict[str, Any]) -> bool:
    """Whether a call whose answer was lost may be made once more."""
    known = operations.get(operation)
    if known is None:
        return False
    return known.reads or known.idempotent or bool(arguments.get("idempotency_key"))


async def pages(
    call: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]], arguments: Mapping[str, Any]
) -> AsyncIterator[dict[str, Any]]:
    """Every page of a list; `call` answers the arguments together with the cursor of a page."""
    page = await call({**arguments})
    yield page
    while cursor := page.get("next_cursor"):
        page = await call({**arguments, "cursor": cursor})
        yield page


@dataclass(slots=True)
class Sent:
    """One call on its way to an engine in another process, and what is known of it."""

    operations: Operations
    operation: str
    arguments: dict[str, Any]
    lost: str = ""
    """How an engine that had the call was lost before it answered."""

    async def answered(self, answer: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        """The answer of the call. Raises its fault, as `told` takes it."""
        try:
            return await answer
        except errors.SluiceError as error:
            told = self.outcome_of(error)
            if told is error:
                raise
            raise told from error

    def outcome_of(self, error: errors.SluiceError) -> errors.SluiceError:
        """What the caller is told for an error: itself, or Unconfirmed when the call may have been recorded.

        That is so when an answer was lost and nothing that came later settles the matter; a read leaves nothing open.
        """
        known = self.operations.get(self.operation)
        if not self.lost or not isinstance(error, _NOT_NOW) or (known is not None and known.reads):
            return error
        key = self.arguments.get("idempotency_key")
        if key:
            how = f"Ask again with the idempotency key {errors.shorten(key, 255)}: it is not done twice."
        elif known is not None and known.idempotent:
            how = "Ask again: it does no harm to do it twice."
        else:
            how = "Look at the present state, then ask again if it is needed."
        return errors.Unconfirmed(
            f"{self.lost} This call may or may not have been recorded.",
            hint=f"{error.hint.rstrip('.')}. {how}" if error.hint else how,
            details={"idempotency_key": key} if key else None,
        )


_NOT_NOW = (errors.Busy, errors.NoEngine, errors.StorageUnavailable, errors.Unauthenticated)


SessionFactory = Callable[[], Awaitable[EngineSession]]
"""Opens the session; awaited behind the first request, and again only if it raised."""

Authenticate = Callable[[Mapping[str, str]], Awaitable[Caller]]
"""Who sends an HTTP request, by its headers (lower-case names). Raises Unauthenticated or Forbidden."""

TOOLSETS = (
    *("catalog", "deployments", "triggers"),  # for operating
    *(
        "workflows",
        "jobs",
        "schedules",
        "workers",
        "messages",
        "letters",
        "contexts",
        "kv",
        "gitops",
    ),  # for authoring and administration
)
DEFAULT_TOOLSETS = TOOLSETS[:3]


@dataclass(frozen=True, slots=True)
class Options:
    """How an MCP server presents the engine."""

    caller: Caller
    """Who calls, unless the transport authenticates each request."""
    allow_write: bool = False
    """List and accept tools that change something."""
    toolsets: tuple[str, ...] = DEFAULT_TOOLSETS
    """Which groups of tools are offered; ("all",) for every one."""
    trigger_tools_max: int = 30
    """With more triggers than this, the generic trigger_invoke is offered beside the tool of each trigger."""
    label: str = ""
    """A human name of this session, for records."""
    activity_forward: bool = False
    """Tell the engine which tools are called (names, outcomes and times; no arguments and no results)."""
    page_bytes: int = 500 * 1024
    """The tools on one page of tools/list; with the envelope below 512 KiB (clients refuse events of 1 MiB)."""
    list_ttl_seconds: float = 5.0
    """How long a client may reuse a tools/list answer without asking again."""
    argument_bytes: int = 4 * 1024 * 1024
    """The largest arguments of one call; the same as the body limit of the HTTP transport."""
    heartbeat_seconds: float = 3.0
    """How often a call that takes long reports progress to a client that asked for it."""
    concurrency: int = 256
    """How many calls one user may have in flight; more are refused as busy."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.toolsets if name not in (*TOOLSETS, "all")]
        if unknown:
            raise errors.InvalidParams(
                f"There is no toolset {errors.shorten(unknown[0])}.", hint=f"Choose from {', '.join(TOOLSETS)}, or all."
            )

    def offers(self, toolset: str) -> bool:
        """Whether the tools of this group are offered."""
        return toolset in self.toolsets or "all" in self.toolsets
