"""Asks the user, through the client, before what is destructive: input-required of 2026-07-28, elicitation before.

One rule decides: the effect of the call, by its operation in the registry and its arguments (a dry run is none); the
most that any call may do is also the tool's `destructiveHint`. What goes, the operation says itself (`destroys`, asked
by call_preview); a call that would be refused or change nothing is not asked about. A client that cannot be asked gets
what every client has: an apply takes nothing but the id of a plan that was shown, and the host sees the annotation of
the others.

What the user answers counts for what was shown: the state that goes to the client and comes back is sealed (AES-GCM)
and bound to the tool, its arguments, the credential and ten minutes, and counts once; a plan is applied once, files
only while their differences are those that were shown, and of a list that grew meanwhile goes what was shown.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import NoBackChannelError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from core import clock, errors
from core.model.operation import Effect, Operation
from core.model.principal import Caller
from mcp_server import results
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


async def question(
    session: EngineSession, operation: Operation, arguments: Mapping[str, Any], caller: Caller
) -> Question | None:
    """What to ask before this call; None when nothing is asked, or when the call will be refused anyway."""
    if operation.effect is not Effect.DESTRUCTIVE:
        return None
    call = {"operation": operation.name, "arguments": dict(arguments)}
    try:
        said = await session.call("call_preview", call, caller)
    except errors.SluiceError:  # what goes is not known, so the user decides without it
        given = results.as_text(results.cleaned(dict(arguments)), TEXT_CHARACTERS)
        text = f"{operation.summary.rstrip('.')}? Tenant {caller.tenant}.\n\n{given}"
        return Question(text, "Yes, do this", operation.name)
    loss = said["loss"]
    if said["refused"] is not None or loss is None:
        return None  # the call tells what is wrong with it, or does no harm
    return Question(f"{loss['question']}\n\n{_loss_text(loss)}", loss["yes"], loss["mark"], loss["pinned"])


def _loss_text(loss: Mapping[str, Any]) -> str:
    text = results.visible(str(loss["text"]))
    if len(text) <= TEXT_CHARACTERS:
        return text
    more = f"; {loss['where']} shows all of it" if loss["where"] else ""
    return text[:TEXT_CHARACTERS] + f"\n… (there is more{more})"


class Answers:
    """Which answers were used: a yes is for one call, also when the same could be done once more. Of one server, whose
    seal no other one can open."""

    def __init__(self) -> None:
        self._used: dict[str, float] = {}  # nonce -> when; in order

    def state(self, mark: str) -> str:
        """What goes to the client with a question."""
        return f"{mark}.{secrets.token_hex(12)}"

    def take(self, state: str | None, mark: str) -> bool:
        """Whether this is the state of a question with this mark that was not answered before; from now on it was."""
        asked, _, nonce = (state or "").rpartition(".")
        if asked != mark or nonce in self._used:
            return False
        now = clock.monotonic()
        while self._used and next(iter(self._used.values())) < now - VALID_SECONDS:  # the seal has ended by itself
            del self._used[next(iter(self._used))]
        self._used[nonce] = now
        return True


def can_be_asked(ctx: Any) -> bool:
    """Whether the client of this request can show a form to its user."""
    capabilities = ctx.session.client_capabilities
    asking = None if capabilities is None else capabilities.elicitation
    # A client that names no mode has the form, which was the only one when elicitation came.
    return asking is not None and (asking.form is not None or asking.url is None)


async def asked(
    ctx: Any, params: types.CallToolRequestParams, about: Question, answers: Answers
) -> dict[str, Any] | None:
    """None when the user said yes; otherwise the result to answer with, which may be the question itself."""
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        try:
            said = await ctx.session.elicit_form(about.text, about.schema, related_request_id=ctx.request_id)
        except NoBackChannelError:
            return None  # the client cannot be reached from here: as for one that cannot be asked
        return _verdict(said.action, said.content)
    response = (params.input_responses or {}).get(KEY)
    if response is None or not answers.take(params.request_state, about.mark):
        elicit = {"method": "elicitation/create", "params": {"message": about.text, "requestedSchema": about.schema}}
        return {
            "resultType": "input_required",
            "inputRequests": {KEY: elicit},
            "requestState": answers.state(about.mark),
        }
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
