"""Callbacks: the log of what was posted where, and once more what has ended."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core import errors
from core.admission import in_tenant
from core.engine import Engine
from core.model import invocation, results
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.operations.registry import LISTED, Page, operation, position, rows_page
from core.store import audit
from core.store import callbacks as table
from core.triggers import callbacks, records


class CallbackList(Page):
    invocation_id: str | None = Field(default=None, max_length=64)
    """Only deliveries that tell of this run."""
    outcome: Literal["pending", "delivered", "dead"] | None = None
    """Only deliveries that are still tried, were accepted, or were given up."""
    tenant_id: str | None = Field(default=None, max_length=64)
    """The tenant to look in; your own when left out."""


@operation(
    summary="List callback deliveries, newest first.",
    http="GET /api/callback-deliveries",
    toolset="messages",
    outline=LISTED,
    role=Role.VIEWER,
)
async def callback_delivery_list(
    engine: Engine, caller: Caller, params: CallbackList
) -> results.Listing[results.triggers.CallbackDelivery]:
    """List what was posted to callbacks: receiver, outcome and every try with its status or fault.

    Addresses and headers are kept encrypted and never shown.
    """
    id = None
    if params.invocation_id is not None:
        id, record = await records.find(engine.pending, caller, params.invocation_id)
        caller = in_tenant(caller, record["tenant_id"])
    before = position(params.cursor)
    rows, total = await engine.database.read(
        lambda db: table.search(
            db,
            caller.tenant,
            invocation_id=id,
            outcome=params.outcome or "",
            before=before,
            limit=params.limit + 1,
        )
    )

    return {**rows_page(rows, params.limit, records.delivery, lambda found: str(found.row.id)), "total": total}


class CallbackRedeliver(Params):
    event_id: str = Field(max_length=40)
    """The delivery, as callback_delivery_list names it."""
    tenant_id: str | None = Field(default=None, max_length=64)
    """Its tenant; your own when left out."""


@operation(
    summary="Post a callback delivery that has ended once more.",
    http="POST /api/callback-deliveries/{event_id}/redeliver",
    toolset="messages",
    effect=Effect.WRITE,
    role=Role.OPERATOR,
    open_world=True,
)
async def callback_redeliver(
    engine: Engine, caller: Caller, params: CallbackRedeliver
) -> results.triggers.CallbackOwed:
    """Owe a delivery again, with the same event id and body and five tries, whatever became of it before."""
    id = callbacks.parse_event_id(params.event_id)
    found = await engine.database.read(table.get, caller.tenant, id) if id is not None else None
    if id is None or found is None:
        raise errors.NotFound(
            f"There is no callback delivery {errors.shorten(params.event_id, 40)} in tenant {caller.tenant}.",
            hint="callback_delivery_list shows what there is.",
        )
    note = audit.row(engine.ids.next(), caller, "callback_redeliver", f"{caller.tenant}/{params.event_id}")
    if not await engine.deliveries.redeliver(caller.tenant, found.row.receiver, id, note):
        raise errors.Busy("This delivery has not ended; it is being tried.", hint="Look at it again later.")
    return {"event_id": params.event_id, "outcome": table.PENDING, "receiver": invocation.site(found.row.receiver)}
