"""Answers to triggers: how a job document declares one, and the trigger_response that it becomes (docs/triggers.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import orjson
from pydantic import field_validator, model_validator

from core import clock
from core.dsl.component import Config, Env, Event, Outgoing, Run
from core.dsl.language import templates
from core.errors import shorten
from core.model.message import TRIGGER_INVOKE, Kind, Type
from core.model.trigger import MOST_RESPONSE_BYTES, RESPONSE

SUCCEEDED, FAILED = OUTCOMES = ("succeeded", "failed")
UNHEARD = "nobody waits for an answer: the trigger has no response_slot"
REASON_CHARACTERS = 500  # of why a run failed, as the caller reads it


class Fault(Config):
    """What a caller is told when the outcome is `failed`. A text stands for `message`."""

    scalar: ClassVar[str] = "message"

    code: templates.Text = ""
    """A name for programs, as in `no_such_customer`."""
    message: templates.Text = ""
    """A sentence for people."""


class Response(Config):
    """An answer to the trigger that started the run: tenant, invocation and response slot are those of its message."""

    result: templates.Structure = None
    """What the caller gets: an object with templates. A text that is one `${…}` and nothing else keeps the type of its
    value. Left out: the event (when the outcome is `succeeded`)."""
    outcome: templates.Text = ""
    """`succeeded` or `failed`, also as a template. Left out: `failed` when `error` is given, else `succeeded`."""
    error: Fault | None = None
    """What went wrong: `code` and `message`, or a text as the message. It is sent when the outcome is `failed`."""
    on_error: Literal["answer", "wait"] = "answer"
    """When a run ends without an answer: `answer` with outcome `failed` at once, or let the caller `wait` until the
    deadline of the trigger, because somebody else answers."""

    @field_validator("result")
    @classmethod
    def _object(cls, value: Any) -> Any:
        if (
            value is None
            or isinstance(value, dict)
            or (isinstance(value, str) and templates.lookup_of(value) is not None)
        ):
            return value
        raise ValueError("must be an object, or one ${…} that names one")

    @field_validator("outcome")
    @classmethod
    def _known_outcome(cls, value: str) -> str:
        if value and value not in OUTCOMES and templates.parse(value) == [value]:
            raise ValueError(f"{shorten(value, 40)!r} is no outcome; allowed: succeeded, failed")
        return value

    @model_validator(mode="after")
    def _no_error_of_a_success(self) -> Self:
        if self.outcome == SUCCEEDED and self.error is not None:
            raise ValueError("an error belongs to the outcome failed; leave one of both out")
        return self


class NoAnswer(ValueError):
    """An event that cannot be an answer, with the reason."""


class Answers:
    """Makes the responses of one job."""

    def __init__(self, declared: Response, env: Env) -> None:
        fault = declared.error or Fault()
        self._on_error = declared.on_error
        self._job = env.job
        self._result = templates.typed(declared.result, env) if declared.result is not None else None
        self._outcome = templates.template(declared.outcome or (FAILED if declared.error else SUCCEEDED), env)
        self._error = {
            key: templates.template(text, env)
            for key, text in (("error_code", fault.code), ("error_message", fault.message))
            if text
        }

    def of(self, event: Event, run: Run) -> Outgoing | None:
        """The response that an event stands for; None when the trigger waits for none.

        Raises NoAnswer, and what a template raises.
        """
        request = request_of(event, run)
        if request is None:
            raise NoAnswer(
                "there is nobody to answer: the run was not started by an invocation of a trigger"
                if run.msg is None
                else "there is nobody to answer: the message is no invocation of a trigger (job_event.type is not "
                f"{TRIGGER_INVOKE})"
            )
        if not request.slot:
            return None
        outcome = self._outcome(event, run)
        if outcome not in OUTCOMES:
            raise NoAnswer(f"the outcome is {shorten(outcome, 40)!r}; allowed: succeeded, failed")
        more: dict[str, Any] = {}
        if self._result is not None:
            more["result"] = self._result(event, run)
        elif outcome == SUCCEEDED:
            more["result"] = event
        if not isinstance(more.get("result", {}), dict):
            raise NoAnswer("the result is no object")
        if outcome == FAILED:
            more |= {key: fill(event, run) for key, fill in self._error.items()}
        return request.response(outcome, **more)

    def of_ended(self, run: Run, reason: str) -> Outgoing | None:
        """The response in the place of a run that has ended without one; None when there is to be none."""
        request = request_of({}, run)
        if self._on_error == "wait" or run.answered or request is None or not request.slot:
            return None
        why = shorten(reason, REASON_CHARACTERS) or f"The run of {self._job} ended, and no event came through."
        return request.response(FAILED, error_code="run_failed" if reason else "no_answer", error_message=why)


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be answered."""

    tenant: str
    invocation_id: str
    slot: str  # empty: nobody waits for an answer

    def response(self, outcome: str, **more: Any) -> Outgoing:
        """The message with the trigger_response. Raises NoAnswer when it is too large."""
        body = {
            "type": RESPONSE,
            "version": 1,
            "tenant_id": self.tenant,
            "invocation_id": self.invocation_id,
            "response_slot": self.slot,
            "nonce": self.invocation_id,
            "outcome": outcome,
            **more,
            "emitted_at_ns": clock.now_ns(),
        }
        if len(orjson.dumps(body)) > MOST_RESPONSE_BYTES:
            raise NoAnswer(f"the response is larger than {MOST_RESPONSE_BYTES} bytes")
        return Outgoing(Kind.USER, Type.USER_GENERATED, data={"job_event": body})


def request_of(event: Event, run: Run) -> Request | None:
    """The invocation that is to be answered; None when there is none.

    It is the message that started the run; for a job that reads messages (internal-messages), the one that the event
    is.
    """
    message = event.get("message_data") if run.msg is None else run.msg
    body = message.get("job_event") if isinstance(message, dict) else None
    if not isinstance(body, dict) or body.get("type") != TRIGGER_INVOKE or not isinstance(body.get("trigger"), dict):
        return None
    tenant, id, slot = body["trigger"].get("tenant_id"), body.get("invocation_id"), body.get("response_slot", "")
    if not isinstance(tenant, str) or not isinstance(id, str) or not isinstance(slot, str):
        return None
    return Request(tenant, id, slot)
