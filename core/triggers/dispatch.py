"""The message that carries an invocation to its job: what it says, and why a job might not be able to take it. Pure."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from core import errors
from core.documents import canonical
from core.model.message import Filter, Message
from core.model.principal import Caller
from core.model.states import InvocationState
from core.model.trigger import Definition
from core.store import invocations
from core.store.run_commits import Key
from core.triggers.registry import Trigger

DISPATCHED = InvocationState.DISPATCHED.value
SUCCEEDED = InvocationState.SUCCEEDED.value
FAILED = InvocationState.FAILED.value
DISPATCH_ONLY_RESULT = orjson.dumps(
    {"status": "accepted_for_dispatch", "mode": "dispatch_only", "state": "succeeded"}
).decode()
WAITING_RESULT = orjson.dumps(
    {"status": "accepted_for_dispatch", "mode": "response_slot", "state": "dispatched"}
).decode()


def beginning(trigger: Trigger, refused: dict[str, Any] | None, now: int, surface: str) -> tuple[str, str, str]:
    """How the record of a run begins: (state, result, events), the last two as JSON text; `refused` as by `refusal`.

    The events are written out, since this is on the way of every run: nothing in them but the name of the job, which
    the trigger has encoded, could need escaping.
    """
    accepted = f'{{"at_ns":{now},"type":"accepted","surface":"{surface}"}}'
    if refused is not None:
        failed = invocations.encode_event(now, "failed", reason=refused["error_code"])
        return FAILED, orjson.dumps(refused).decode(), f"[{accepted},{failed}]"
    dispatched = f'{{"at_ns":{now},"type":"dispatched","job":{trigger.job_json}}}'
    if trigger.definition.response_slot:
        return DISPATCHED, WAITING_RESULT, f"[{accepted},{dispatched}]"
    succeeded = f'{{"at_ns":{now},"type":"succeeded","by":"dispatch"}}'
    return SUCCEEDED, DISPATCH_ONLY_RESULT, f"[{accepted},{dispatched},{succeeded}]"


def refusal(filter: Filter | None, message: Message, definition: Definition) -> dict[str, Any] | None:
    """Why the target job cannot take the message: the `result` of a failed invocation, or None."""
    job = definition.target_job_name
    if filter is None:
        why = f"No deployed job {job} listens to messages in tenant {message.tenant}."
        hint = (
            f"Deploy it with job_deploy, in tenant {message.tenant}, with a message trigger as its input; trigger_get"
            " says whether it is staged or only down."
        )
    elif not filter.matches(message):
        why = f"Job {job} is deployed, but its filter does not match a user-generated message with tag {message.tag!r}."
        hint = "Make target_message_tag of the trigger and filter-tag of the job the same."
    else:
        return None
    return {
        "status": "rejected",
        "mode": "response_slot" if definition.response_slot else "dispatch_only",
        "state": "failed",
        "error_code": errors.TargetUnavailable.code,
        "error_message": why,
        "hint": hint,
    }


def idempotency(trigger: Trigger, caller: Caller, key: str, params: dict[str, Any]) -> Key:
    if not 1 <= len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise errors.InvalidParams(
            "An idempotency key has 1 to 255 printable ASCII characters.",
            errors=[errors.Problem("/idempotency_key", "is too long, or has other than printable ASCII characters")],
        )
    scope = "\0".join((trigger.tenant, trigger.slug, caller.username, key))
    return Key(hashlib.blake2b(scope.encode(), digest_size=16).digest(), canonical.params_digest(params))
