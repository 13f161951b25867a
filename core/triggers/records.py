"""Runs and their callback deliveries, as far as a caller may see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import orjson

from core import clock, errors
from core.model import invocation
from core.model.principal import Caller
from core.model.scopes import may_see_runs
from core.store import callbacks as table
from core.triggers import callbacks
from core.triggers.pending import Pending

if TYPE_CHECKING:
    from core.model.results import triggers


async def find(pending: Pending, caller: Caller, text_id: str) -> tuple[int, triggers.Invocation]:
    """The row id and the record of an invocation. Raises NotFound, also for one in a tenant of others."""
    parsed = invocation.parse_id(text_id)
    record = await pending.get(parsed[0], 0) if parsed is not None else None
    if parsed is not None and record is not None:
        visible = may_see_runs(caller.principal.scopes, record["trigger_slug"])
        if record["invocation_id"] == text_id and caller.member_of(record["tenant_id"]) and visible:
            return parsed[0], record
    raise errors.NotFound(
        f"There is no invocation {errors.shorten(text_id, 64)}.",
        hint="trigger_invocation_list shows the recent ones.",
    )


def delivery(found: table.Delivery) -> triggers.CallbackDelivery:
    """A callback delivery as every answer tells it."""
    row = found.row
    return {
        "event_id": callbacks.event_id(row.id),
        "invocation_id": invocation.text_id(row.invocation_id, found.nonce),
        "receiver": invocation.site(row.receiver),
        "state": row.state,
        "outcome": row.outcome,
        "attempts": row.attempts,
        "next_try_at": clock.iso(row.due_at_ns) if row.outcome == table.PENDING else None,
        "finished_at": None if row.finished_at_ns is None else clock.iso(row.finished_at_ns),
        "finished_at_ns": row.finished_at_ns,
        "tries": [cast("triggers.CallbackTry", clock.with_text(attempt)) for attempt in orjson.loads(row.log)],
    }
