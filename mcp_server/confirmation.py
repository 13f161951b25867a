"""Asks the user, through the client, before an apply: input-required of 2026-07-28, elicitation of 2025-11-25.

A client that cannot be asked gets the handshake that every client has: the plan comes first, and the apply takes
nothing but its id. What the user answers counts for the plan that was shown: the state that goes to the client and
comes back is sealed (AES-GCM) and bound to the tool, its arguments, the caller and ten minutes; a plan is applied once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import NoBackChannelError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from core import errors
from core.model.principal import Caller
from mcp_server import results
from mcp_server.session import EngineSession

VALID_SECONDS = 600
TEXT_CHARACTERS = 3_000
KEY = "confirm"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {KEY: {"type": "boolean", "title": "Apply this plan", "default": False}},
    "required": [KEY],
}
TOOL = "deployment_apply"


@dataclass(frozen=True, slots=True)
class Question:
    """What the user is asked; `mark` is the same only for the same plan."""

    text: str
    mark: str


async def question(session: EngineSession, name: str, arguments: Mapping[str, Any], caller: Caller) -> Question | None:
    """What to ask before this call; None when nothing is asked, or when the call will be refused anyway."""
    plan_id = arguments.get("plan_id")
    if name != TOOL or not isinstance(plan_id, str) or not caller.allow_write or not caller.is_admin:
        return None
    try:
        plan = await session.call("plan_get", {"plan_id": plan_id}, caller)
    except errors.SluiceError:
        return None  # the apply tells what is wrong with it
    if plan.get("state") != "open" or plan.get("blockers"):
        return None
    shown = results.visible(str(plan["text"]))
    if len(shown) > TEXT_CHARACTERS:
        shown = shown[:TEXT_CHARACTERS] + "\n… (the plan is longer; plan_get shows all of it)"
    asked = f"Apply this plan to deployment {plan['name']}, in tenant {caller.tenant}?\n\n{shown}"
    return Question(asked, f"{plan_id}/{plan.get('digest', '')}/{plan['base_revision']}")


def can_be_asked(ctx: Any) -> bool:
    """Whether the client of this request can show a form to its user."""
    capabilities = ctx.session.client_capabilities
    asking = None if capabilities is None else capabilities.elicitation
    # A client that names no mode has the form, which was the only one when elicitation came.
    return asking is not None and (asking.form is not None or asking.url is None)


async def asked(ctx: Any, params: types.CallToolRequestParams, about: Question) -> dict[str, Any] | None:
    """None when the user said yes; otherwise the result to answer with, which may be the question itself."""
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        try:
            said = await ctx.session.elicit_form(about.text, SCHEMA, related_request_id=ctx.request_id)
        except NoBackChannelError:
            return None  # the client cannot be reached from here: as for one that cannot be asked
        return _verdict(said.action, said.content)
    response = (params.input_responses or {}).get(KEY)
    if response is None or params.request_state != about.mark:
        elicit = {"method": "elicitation/create", "params": {"message": about.text, "requestedSchema": SCHEMA}}
        return {"resultType": "input_required", "inputRequests": {KEY: elicit}, "requestState": about.mark}
    if not isinstance(response, types.ElicitResult):
        return _verdict(None, None)
    return _verdict(response.action, response.content)


def _verdict(action: Any, content: Any) -> dict[str, Any] | None:
    if action == "accept" and isinstance(content, Mapping) and content.get(KEY) is True:
        return None
    return results.failure(
        errors.Forbidden(
            "The user did not confirm this plan, so nothing was applied.",
            hint="Ask what should be different, and plan again. Do not apply it in another way.",
        )
    )
