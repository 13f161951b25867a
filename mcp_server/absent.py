"""Why there is no tool of a name in a session, and what opens it. Pure: door.py asks the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core import errors, near
from core.model.operation import Operation
from core.model.principal import Caller
from mcp_server import tools
from mcp_server.session import TOOLSETS, Options

SLUG_MAX = 64


def toolset(operation: Operation, caller: Caller, options: Options) -> str:
    """Which toolset has the tool of an operation, and how the session gets it."""
    name = next((one for one in operation.toolsets if one in TOOLSETS), "all")
    flags = f"--toolsets {','.join((*options.toolsets, name))}"
    if not tools.may_run(operation, caller):
        if options.allow_write:
            return f"It is in the toolset {name}, and changes things, which this identity may not."
        flags += " --allow-write"
    return (
        f"It is in the toolset {name}, which this session does not have. Ask the person who runs the server to start "
        f"it with {flags}."
    )


def unheard_of(name: str, known: Mapping[str, Operation]) -> str:
    """That no toolset has a tool of this name."""
    names = {_in_order(one.name): one.name for one in known.values() if one.tool}  # list_jobs is job_list to many
    found = near.nearest(_in_order(name), names)
    meant = f" Did you mean {names[found[0]]}?" if found else ""
    return f"No toolset has it; tools/list has the tools of this session.{meant}"


def _in_order(name: str) -> str:
    """The words of a name in one order, in the singular."""
    words = name.replace("-", "_").lower().split("_")
    return "_".join(sorted(word if word.endswith("ss") else word.removesuffix("s") for word in words))


def unpublished(slug: str, tenant: str) -> str:
    """That there is no trigger of this slug."""
    return f"There is no trigger {errors.shorten(slug, SLUG_MAX)} in tenant {tenant}; trigger_list shows what there is."


def of_trigger(trigger: Mapping[str, Any]) -> str:
    """Why a trigger that is there, as trigger_get shows it, is no tool of a caller who may write."""
    slug = trigger["slug"]
    if not trigger["active"]:
        by, at = trigger.get("deactivated_by"), trigger.get("deactivated_at")
        since = f"was deactivated by {by} at {at}" if at else "is not active"
        return f"Trigger {slug} {since}. An admin can make it active again with trigger_revise."
    if not trigger["publication"]["mcp"]:
        return f"Trigger {slug} is not published as an MCP tool (publication.mcp of its definition)."
    return f"The policy of trigger {slug} does not let you invoke it."
