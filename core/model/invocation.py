"""An invocation: one run of a trigger, from the call to its terminal state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from core import clock
from core.model.message import TRIGGER_INVOKE
from core.model.trigger import MOST_PROXY_BODY_BYTES, PROXY_HEADERS, Definition

if TYPE_CHECKING:
    from core.model.results import triggers

PREFIX = "inv_"
ID_CHARACTERS = 16
NONCE_CHARACTERS = 12


@dataclass(slots=True)
class Invocation:
    """The record of one run, as it is stored; times are nanoseconds since the epoch."""

    id: int
    nonce: str
    tenant: str
    slug: str
    revision: int
    state: str
    surface: str
    username: str
    role: str
    params: str
    """JSON, with the defaults filled in."""
    idempotency_key: str | None
    requested_at_ns: int
    deadline_ns: int | None
    """None for a run that waits for no response."""
    finished_at_ns: int | None
    proxy_recorded_at_ns: int | None
    attempts: int
    result: str
    """JSON."""
    events: str
    """Its history, a JSON array that is never empty."""
    proxy_nonce: str | None = None
    callback: str | None = None
    """Whom updates are posted to (`receiver`)."""
    rerun_of: str | None = None
    message_id: int | None = None
    """The message that went out, which an open run owes to its job until it is settled."""
    response_id: int | None = None
    """The message that ended it."""
    settled_at_ns: int | None = None
    """When the job was done with the message although the run went on; None: it is owed as long as the run is open."""
    trace_id: str | None = None
    """The trace of its caller, if the call was part of one."""

    text_id: str = field(init=False)
    """What callers see of `id` and `nonce`; no column."""

    def __post_init__(self) -> None:
        self.text_id = text_id(self.id, self.nonce)

    def note(self, event: str) -> None:
        """Add an event, as JSON, to its history."""
        self.events = f"{self.events[:-1]},{event}]"


def text_id(number: int, nonce: str) -> str:
    """The id that callers see: sorts by time, and its last twelve characters cannot be guessed."""
    return f"{PREFIX}{clock.encode(number)}{nonce}"


def parse_id(text: str) -> tuple[int, str] | None:
    """(row id, nonce) behind a text id; None when it is not one."""
    body = text.removeprefix(PREFIX)
    if len(body) != ID_CHARACTERS + NONCE_CHARACTERS or not text.startswith(PREFIX):
        return None
    try:
        return clock.decode(body[:ID_CHARACTERS]), body[ID_CHARACTERS:]
    except ValueError:
        return None


def receiver(site: str, mark: str) -> str:
    """Whom callbacks go to, as it is stored: scheme, host and port, and a mark that tells its addresses apart."""
    return f"{site}#{mark}"


def site(receiver: str) -> str:
    """What may be shown of a receiver: scheme, host and port."""
    return receiver.partition("#")[0]


def trigger_id(number: int) -> str:
    """The id of a revision of a trigger as jobs see it."""
    return "trg_" + clock.encode(number)


def job_event(run: Invocation, trigger_id: str, definition: Definition, params: Any) -> dict[str, Any]:
    """What the message of a run tells its job (docs/triggers.md); `params` as a value, or as a fragment of JSON."""
    invocation_id = run.text_id
    event: dict[str, Any] = {
        "type": TRIGGER_INVOKE,
        "version": 1,
        "invocation_id": invocation_id,
        "trigger": {"id": trigger_id, "slug": run.slug, "revision": run.revision, "tenant_id": run.tenant},
        "caller": {"username": run.username, "role": run.role},
        "params": params,
        "requested_at_ns": run.requested_at_ns,
    }
    if definition.response_slot:
        event["response_slot"] = definition.response_slot
    if run.proxy_nonce is not None:
        event["trigger_proxy"] = {
            "tenant_id": run.tenant,
            "invocation_id": invocation_id,
            "response_slot": definition.response_slot,
            "nonce": run.proxy_nonce,
            "mode": definition.proxy_policy.mode,
            "timeout_seconds": definition.proxy_policy.timeout_seconds,
            "max_body_bytes": MOST_PROXY_BODY_BYTES,
            "allowed_headers": sorted(PROXY_HEADERS),
        }
    return event


def row(run: Invocation, *, with_result: bool = False) -> triggers.InvocationItem:
    """The invocation as a list shows it; `result_of_job` is what its job said, data and no instruction."""
    finished = run.finished_at_ns
    shown: triggers.InvocationItem = {
        "invocation_id": run.text_id,
        "trigger_slug": run.slug,
        "trigger_revision": run.revision,
        "state": run.state,
        "caller": {"username": run.username, "role": run.role},
        "surface": run.surface,
        "attempts": run.attempts,
        "rerun_of": run.rerun_of,
        "trace_id": run.trace_id,
        "requested_at": clock.iso(run.requested_at_ns),
        "finished_at": None if finished is None else clock.iso(finished),
        "duration_ms": None if finished is None else (finished - run.requested_at_ns) // 1_000_000,
        "requested_at_ns": run.requested_at_ns,
        "finished_at_ns": finished,
    }
    if with_result:
        shown["result_of_job"] = orjson.loads(run.result)
    return shown


def record(run: Invocation, *, params: Any = None, result: Any = None) -> triggers.Invocation:
    """The invocation as every door shows it; what is known as a value is not parsed again."""
    proxied = run.proxy_recorded_at_ns
    events: list[triggers.InvocationEvent] = orjson.loads(run.events)
    for event in events:
        event["at"] = clock.iso(event["at_ns"])
    return {
        "invocation_id": run.text_id,
        "trigger_slug": run.slug,
        "trigger_revision": run.revision,
        "tenant_id": run.tenant,
        "state": run.state,
        "params": orjson.loads(run.params) if params is None else params,
        "caller": {"username": run.username, "role": run.role},
        "surface": run.surface,
        "rerun_of": run.rerun_of,
        "trace_id": run.trace_id,
        "callback": None if run.callback is None else site(run.callback),
        "requested_at": clock.iso(run.requested_at_ns),
        "deadline": None if run.deadline_ns is None else clock.iso(run.deadline_ns),
        "finished_at": None if run.finished_at_ns is None else clock.iso(run.finished_at_ns),
        "requested_at_ns": run.requested_at_ns,
        "deadline_ns": run.deadline_ns,
        "finished_at_ns": run.finished_at_ns,
        "attempts": run.attempts,
        "result": orjson.loads(run.result) if result is None else result,
        "trigger_proxy_recorded_at": clock.iso(proxied) if proxied else None,
        "events": events,
    }
