"""What an API key is limited to, besides the role of its user: a list of scopes, or nothing for no limit.

A scope is `read` (every operation that reads), `run` (also what an operator may), `write` (everything),
`toolset:NAME`, `operation:NAME` or `trigger:SLUG` (that trigger: to look at it, run it, and fetch its runs). Scopes add
up; none of them raises what the role allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.model.operation import Effect, Operation
from core.model.principal import Role

PATTERN = r"^(read|run|write|toolset:[a-z]{1,40}|operation:[a-z_]{1,64}|trigger:[a-z0-9][a-z0-9_-]{0,63})$"
SESSION = ("console_session_create", "console_session_end")  # of a browser, which has the same scopes
ALWAYS = frozenset(
    {"whoami", "token_mint", "trigger_tools", "mcp_activity_record", "call_once", "call_preview", *SESSION}
)
"""What every session needs; trigger_tools lists only what the caller may invoke."""
_OF_TRIGGER = frozenset({"trigger_get", "trigger_invoke"})
FILTERED = frozenset(
    {"trigger_invocation_get", "trigger_invocation_cancel"}
)  # these look at the trigger themselves, by `holds`


def permits(scopes: tuple[str, ...], operation: Operation, arguments: Mapping[str, Any] | None) -> bool:
    """Whether a credential with these scopes may call an operation with these (unchecked) arguments.

    With None for the arguments: whether it may with any.
    """
    if not scopes or operation.name in ALWAYS:
        return True
    return any(_permits(scope, operation, arguments) for scope in scopes)


def _permits(scope: str, operation: Operation, arguments: Mapping[str, Any] | None) -> bool:
    kind, _, name = scope.partition(":")
    match kind:
        case "read":
            return operation.effect is Effect.READ
        case "run":
            return operation.effect is Effect.READ or operation.allows(Role.OPERATOR)
        case "write":
            return True
        case "toolset":
            return operation.toolset == name
        case "operation":
            return operation.name == name
        case "trigger":
            if operation.name in FILTERED:
                return True
            return operation.name in _OF_TRIGGER and (arguments is None or arguments.get("slug") == name)
    return False


def may_invoke(scopes: tuple[str, ...], slug: str) -> bool:
    """Whether a credential with these scopes may run the trigger."""
    wanted = {"run", "write", "toolset:triggers", "operation:trigger_invoke", f"trigger:{slug}"}
    return not scopes or not wanted.isdisjoint(scopes)


def may_hear(scopes: tuple[str, ...], operation: Operation, slug: str) -> bool:
    """Whether a credential with these scopes may hear what an operation tells about a thing; `slug` is the trigger that
    the thing belongs to, if it belongs to one."""
    if operation.name in FILTERED:
        return may_see_runs(scopes, slug)
    return permits(scopes, operation, {"slug": slug})


def may_end_runs(scopes: tuple[str, ...], slug: str) -> bool:
    """Whether a credential with these scopes may end the runs of the trigger."""
    wanted = {"run", "write", "toolset:triggers", "operation:trigger_invocation_cancel", f"trigger:{slug}"}
    return not scopes or not wanted.isdisjoint(scopes)


def may_search_logs(scopes: tuple[str, ...]) -> bool:
    """Whether a credential with these scopes may search the logs of jobs."""
    wanted = {"read", "run", "write", "toolset:deployments", "operation:log_search"}
    return not scopes or not wanted.isdisjoint(scopes)


def may_see_runs(scopes: tuple[str, ...], slug: str) -> bool:
    """Whether a credential with these scopes may fetch the runs of the trigger."""
    wanted = {"read", "run", "write", "toolset:triggers", "operation:trigger_invocation_get", f"trigger:{slug}"}
    return not scopes or not wanted.isdisjoint(scopes)
