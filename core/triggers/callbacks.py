"""What a callback is: how one is asked for, the body that is posted, and what follows from an answer. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import Field

from core import clock, errors
from core.dsl import egress, http
from core.errors import Problem, shorten
from core.model import invocation
from core.model.operation import Params
from core.store import callbacks as table

MOST_HEADERS = 32
MOST_TRIES = 5
PAUSES_SECONDS = (2.0, 10.0, 60.0, 300.0)  # before the second, third, fourth and fifth try
LEAST_RETRY_AFTER_SECONDS = 1.0
RETRYABLE = frozenset({408, 429})
EVENT_TYPE = "trigger_invocation_state"
# Ours, or about one connection and not the message; and what would let a caller sign in our name.
OWN_HEADERS = frozenset(
    "content-type keep-alive proxy-authenticate proxy-authorization proxy-connection expect webhook-id"
    " webhook-timestamp webhook-signature".split()
)


class Callback(Params):
    """Where updates of this run are posted to."""

    url: str = Field(min_length=1, max_length=2048)
    """An http or https address; each update is one POST with a JSON body."""
    headers: dict[str, str] = Field(default_factory=dict, max_length=MOST_HEADERS)
    """Headers of these requests, at most 32; kept encrypted, never shown."""


@dataclass(frozen=True, slots=True)
class Target:
    """A callback that was checked."""

    url: str
    headers: dict[str, str]
    receiver: str
    """Scheme, host and port: what may be shown, and what one slow receiver is told from another by."""

    def to_text(self) -> str:
        """What is sealed."""
        return orjson.dumps([self.url, self.headers]).decode()


def check(wish: Callback, allow: Iterable[str]) -> Target:
    """The target of a callback. Raises InvalidParams with every fault; the values of headers are never told."""
    problems, parsed = [], None
    try:
        parsed = egress.check_target(wish.url, allow)
    except errors.Forbidden as error:
        problems.append(Problem("/callback/url", error.message))
    for name, value in wish.headers.items():
        pointer = "/callback/headers/" + shorten(name, 60).replace("~", "~0").replace("/", "~1")
        try:
            egress.check_headers({name: value})
            value.encode("latin-1")
        except (errors.Forbidden, UnicodeEncodeError) as error:
            said = error.message if isinstance(error, errors.Forbidden) else f"the header {name} is not Latin-1 text"
            problems.append(Problem(pointer, said))
            continue
        if name.lower() in OWN_HEADERS:
            problems.append(Problem(pointer, f"the header {name} is set by Sluice itself"))
    if len({name.lower() for name in wish.headers}) < len(wish.headers):
        problems.append(Problem("/callback/headers", "two headers differ by their case only"))
    if problems or parsed is None:
        raise errors.InvalidParams("The callback is not valid.", hint="Nothing was run.", errors=problems)
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    port = parsed.port or {"http": 80, "https": 443}[parsed.scheme]
    return Target(wish.url, wish.headers, f"{parsed.scheme}://{host.rstrip('.')}:{port}".lower())


def event_id(delivery_id: int) -> str:
    """The id of an update: the same in its body and in `webhook-id`, at every try."""
    return "evt_" + clock.encode(delivery_id)


def parse_event_id(text: str) -> int | None:
    """The delivery behind an event id; None when it is not one."""
    try:
        return clock.decode(text.removeprefix("evt_")) if text.startswith("evt_") else None
    except ValueError:
        return None


def update(id: int, row: Mapping[str, Any], state: str, result: str, at_ns: int) -> table.DeliveryRow:
    """The delivery that tells of a state of an invocation (`row` as the store has it; `result` as JSON text)."""
    body = orjson.dumps(
        {
            "version": 1,
            "event_id": event_id(id),
            "event_type": EVENT_TYPE,
            "emitted_at": at_ns,
            "invocation": {
                "invocation_id": invocation.text_id(row["id"], row["nonce"]),
                "trigger_slug": row["slug"],
                "trigger_revision": row["revision"],
                "tenant_id": row["tenant"],
                "state": state,
                "result": orjson.Fragment(result),
            },
        }
    )
    return (id, row["id"], row["tenant"], row["callback"], state, table.PENDING, 0, at_ns, None, "[]", body)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from one try."""

    outcome: str  # pending, delivered or dead
    pause_seconds: float = 0.0  # until the next try, when it is pending
    reason: str = ""


def judge(tries: int, status: int | None, retry_after: str, fault: str) -> Verdict:
    """Decide about a try, the `tries`-th of its delivery: by its status, or by its fault when there was no answer."""
    if status is not None and 200 <= status < 300:
        return Verdict(table.DELIVERED)
    if status is None:
        reason = fault
    elif 300 <= status < 400:
        return Verdict(table.DEAD, reason=f"redirect: {status} is not followed")
    else:
        reason = f"answered {status}"
        if status not in RETRYABLE and status < 500:
            return Verdict(table.DEAD, reason=reason)
    if tries >= MOST_TRIES:
        return Verdict(table.DEAD, reason=f"given up after {tries} tries: {reason}")
    pause = PAUSES_SECONDS[tries - 1] * random.uniform(0.8, 1.2)
    if status in (429, 503) and retry_after:
        pause = max(pause, LEAST_RETRY_AFTER_SECONDS, http.retry_after(retry_after))
    return Verdict(table.PENDING, pause, reason)
