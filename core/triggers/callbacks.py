"""What a callback is: how one is asked for, and what is posted. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from pydantic import Field

from core import clock
from core.model.invocation import Invocation
from core.model.operation import Params
from core.store import callbacks as table

MOST_HEADERS = 32
EVENT_TYPE = "trigger_invocation_state"


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
    """What one slow receiver is told from another by: its site, which may be shown, and a mark (model.invocation)."""

    def to_text(self) -> str:
        """What is sealed."""
        return orjson.dumps([self.url, self.headers]).decode()


def event_id(delivery_id: int) -> str:
    """The id of an update: the same in its body and in `webhook-id`, at every try."""
    return "evt_" + clock.encode(delivery_id)


def parse_event_id(text: str) -> int | None:
    """The delivery behind an event id; None when it is not one."""
    try:
        return clock.decode(text.removeprefix("evt_")) if text.startswith("evt_") else None
    except ValueError:
        return None


def update(id: int, run: Invocation, state: str, result: str, at_ns: int) -> table.DeliveryRow:
    """The delivery that tells of a state of a run with a callback; `result` as JSON text."""
    assert run.callback is not None
    body = orjson.dumps(
        {
            "version": 1,
            "event_id": event_id(id),
            "event_type": EVENT_TYPE,
            "emitted_at": at_ns,
            "invocation": {
                "invocation_id": run.text_id,
                "trigger_slug": run.slug,
                "trigger_revision": run.revision,
                "tenant_id": run.tenant,
                "state": state,
                "result": orjson.Fragment(result),
            },
        }
    )
    return table.DeliveryRow(id, run.id, run.tenant, run.callback, state, table.PENDING, 0, at_ns, None, "[]", body)
