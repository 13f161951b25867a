"""Calls beyond the scopes of the token of an MCP host: refused before the protocol sees them, with what is needed.

A host hears from the status and its WWW-Authenticate that it may ask its user for more (RFC 6750, 3.1). Other refusals
are answers of the protocol.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from core.model.operation import Operation, Registry
from core.model.principal import Caller, Role
from core.model.scopes import permits
from core.model.trigger import TOOL_PREFIX

Needed = Callable[[Caller, bytes], str]
"""The WWW-Authenticate for a request that its caller's scopes do not let through; empty when they do."""

INVOKE = "trigger_invoke"


def needed(operations: Registry, caller: Caller, body: bytes) -> str:
    """The scope that a request lacks, as hosts ask for it; empty when it lacks none, or more than a scope."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""  # the protocol says what is wrong with it
    if not isinstance(said, dict) or said.get("method") != "tools/call" or not isinstance(said.get("params"), dict):
        return ""
    name = str(said["params"].get("name", ""))
    operation = operations.get(INVOKE if name.startswith(TOOL_PREFIX) else name)
    if operation is None or not operation.allows(caller.role):
        return ""
    return "" if permits(caller.principal.scopes, operation, None) else scope_of(operation)


def scope_of(operation: Operation) -> str:
    """The least scope that includes an operation."""
    if operation.reads:
        return "sluice:read"
    return "sluice:run" if operation.allows(Role.OPERATOR) else "sluice:write"
