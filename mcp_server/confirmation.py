"""Asks the user, through the client, before what is destructive: input-required of 2026-07-28, elicitation before.

One rule decides: the operation's effect in the registry, which is also the tool's `destructiveHint`. A dry run and a
call that would be refused or change nothing are not asked about. A client that cannot be asked gets what every client
has: an apply takes nothing but the id of a plan that was shown, and the host sees the annotation of the others.

What the user answers counts for what was shown: the state that goes to the client and comes back is sealed (AES-GCM)
and bound to the tool, its arguments, the caller and ten minutes; a plan is applied once, and files only while their
differences are those that were shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import NoBackChannelError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from core import errors
from core.model.operation import Effect, Operation
from core.model.principal import Caller
from core.model.scopes import permits
from mcp_server import results, tools
from mcp_server.session import EngineSession

VALID_SECONDS = 600
TEXT_CHARACTERS = 3_000
KEY = "confirm"


@dataclass(frozen=True, slots=True)
class Question:
    """What the user is asked; `mark` is the same only for the same thing to do, and `pinned` are the arguments that
    hold the call to it."""

    text: str
    yes: str
    mark: str
    pinned: Mapping[str, Any] = field(default_factory=dict)

    @property
    def schema(self) -> dict[str, Any]:
        """The form: one box to tick."""
        box = {"type": "boolean", "title": self.yes, "default": False}
        return {"type": "object", "properties": {KEY: box}, "required": [KEY]}


def concerns(operation: Operation, arguments: Mapping[str, Any]) -> bool:
    """Whether this call is one that a user is asked about."""
    return operation.effect is Effect.DESTRUCTIVE and arguments.get("dry_run") is not True


async def question(
    session: EngineSession, operation: Operation, arguments: Mapping[str, Any], caller: Caller
) -> Question | None:
    """What to ask before this call; None when nothing is asked, or when the call will be refused anyway."""
    allowed = (
        tools.may_run(operation, caller)
        and operation.allows(caller.principal.role)
        and permits(caller.principal.scopes, operation, arguments)
    )
    if not allowed or not concerns(operation, arguments):
        return None
    try:
        operation.validate(dict(arguments))
        match operation.name:
            case "deployment_apply":
                return _of_plan(await session.call("plan_get", {"plan_id": arguments["plan_id"]}, caller), caller)
            case "gitops_apply":
                files = {name: arguments[name] for name in ("manifest", "files", "prune") if name in arguments}
                return _of_files(operation, await session.call("gitops_diff", files, caller))
            case "gitops_promote" | "gitops_rollback":
                return _of_files(operation, await session.call(operation.name, {**arguments, "dry_run": True}, caller))
    except errors.SluiceError:
        return None  # the call tells what is wrong with it
    given = results.as_text(results.cleaned(dict(arguments)), TEXT_CHARACTERS)
    return Question(f"{_asking(operation)} Tenant {caller.tenant}.\n\n{given}", "Yes, do this", operation.name)


def _of_plan(plan: Mapping[str, Any], caller: Caller) -> Question | None:
    if plan.get("state") != "open" or plan.get("blockers"):
        return None
    text = f"Apply this plan to deployment {plan['name']}, in tenant {caller.tenant}?\n\n{_shown(plan, 'plan_get')}"
    mark = f"{plan['plan_id']}/{plan.get('digest', '')}/{plan['base_revision']}"
    return Question(text, "Apply this plan", mark)


def _of_files(operation: Operation, diff: Mapping[str, Any]) -> Question | None:
    if diff["blockers"] or not diff["changes"]:
        return None
    tenant = diff["scope"]["tenant_id"]
    text = f"{_asking(operation)} Tenant {tenant}.\n\n{_shown(diff, 'gitops_diff')}"
    return Question(text, "Make these changes", str(diff["digest"]), {"expect": diff["digest"]})


def _asking(operation: Operation) -> str:
    return operation.summary.rstrip(".") + "?"


def _shown(found: Mapping[str, Any], where: str) -> str:
    text = results.visible(str(found["text"]))
    if len(text) <= TEXT_CHARACTERS:
        return text
    return text[:TEXT_CHARACTERS] + f"\n… (there is more; {where} shows all of it)"


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
            said = await ctx.session.elicit_form(about.text, about.schema, related_request_id=ctx.request_id)
        except NoBackChannelError:
            return None  # the client cannot be reached from here: as for one that cannot be asked
        return _verdict(said.action, said.content)
    response = (params.input_responses or {}).get(KEY)
    if response is None or params.request_state != about.mark:
        elicit = {"method": "elicitation/create", "params": {"message": about.text, "requestedSchema": about.schema}}
        return {"resultType": "input_required", "inputRequests": {KEY: elicit}, "requestState": about.mark}
    if not isinstance(response, types.ElicitResult):
        return _verdict(None, None)
    return _verdict(response.action, response.content)


def _verdict(action: Any, content: Any) -> dict[str, Any] | None:
    if action == "accept" and isinstance(content, Mapping) and content.get(KEY) is True:
        return None
    return results.failure(
        errors.Forbidden(
            "The user did not confirm this, so nothing was done.",
            hint="Ask what should be different. Do not do it in another way.",
        )
    )
