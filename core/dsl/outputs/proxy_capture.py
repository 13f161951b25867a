"""What http-post reports of an answer when the event carries the `trigger_proxy` envelope of an invocation."""

from __future__ import annotations

import base64
import codecs
from typing import Any

from core import clock
from core.dsl.component import Event, Outgoing
from core.guard import egress
from core.model.message import Kind, Type
from core.model.trigger import MOST_PROXY_BODY_BYTES, PROXY_HEADERS, PROXY_RESPONSE

FIELD = "trigger_proxy"
_TEXTS = ("tenant_id", "invocation_id", "response_slot", "nonce")


def envelope(event: Event) -> dict[str, Any] | None:
    """The envelope of an event, or None when there is none with which an invocation could be found."""
    found = event.get(FIELD)
    if not isinstance(found, dict):
        return None
    return found if all(isinstance(found.get(name), str) and found[name] for name in _TEXTS) else None


def without(event: Event) -> Event:
    """The event as it is sent: the nonce of the envelope is not for the other side."""
    return {name: value for name, value in event.items() if name != FIELD} if FIELD in event else event


def seconds(found: dict[str, Any], most: float) -> float:
    """How long the request may take by the policy of the trigger, and no longer than `most`."""
    told = found.get("timeout_seconds")
    return min(float(told), most) if isinstance(told, int | float) and told > 0 else most


def message(found: dict[str, Any], reply: egress.Reply) -> Outgoing:
    """The message that carries the answer to the invocation: status, allowed headers, a bounded body."""
    # What the envelope allows is cut to our own bounds: it travels through the events of a job, where anyone may change
    # it.
    told = found.get("allowed_headers")
    allowed = PROXY_HEADERS & {str(name).lower() for name in told} if isinstance(told, list) else PROXY_HEADERS
    bound = found.get("max_body_bytes")
    most = min(bound, MOST_PROXY_BODY_BYTES) if type(bound) is int and bound >= 0 else MOST_PROXY_BODY_BYTES
    body, truncated = reply.body[:most], reply.truncated or len(reply.body) > most
    try:  # a character that was cut through is left out
        text, encoding = codecs.getincrementaldecoder("utf-8")().decode(body, final=not truncated), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(body).decode(), "base64"
    response = {
        "type": PROXY_RESPONSE,
        "version": 1,
        **{name: found[name] for name in _TEXTS},
        "status": reply.status,
        "headers": {name: value for name, value in reply.headers if name in allowed},
        "body": text,
        "body_encoding": encoding,
        "truncated": truncated,
        "emitted_at_ns": clock.now_ns(),
    }
    return Outgoing(Kind.SYSTEM, Type.TRIGGER_PROXY_RESPONSE, data={"job_event": response})
