"""Invocations: the records of the runs of triggers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from core import errors
from core.engine import Engine
from core.model import invocation
from core.model.operation import Params
from core.model.principal import Caller
from core.model.trigger import MAX_WAIT_SECONDS
from core.operations.registry import Page, items_schema, operation, position
from core.operations.triggers import RECORD
from core.store import invocations as table


class InvocationGet(Params):
    invocation_id: str = Field(max_length=64)
    """The id that the invoke call returned."""
    wait_seconds: int = Field(default=0, ge=0, le=MAX_WAIT_SECONDS)
    """Wait up to this long for the end of the run before answering."""


@operation(
    summary="Status and result of one run of a trigger.",
    http="GET /api/trigger-invocations/{invocation_id}",
    toolset="triggers",
    result=RECORD,
)
async def trigger_invocation_get(engine: Engine, caller: Caller, params: InvocationGet) -> dict[str, Any]:
    """Fetch an invocation: state, result and history of one run.

    Terminal states are succeeded, failed and timed_out. Prefer wait_seconds over polling in a loop.
    """
    parsed = invocation.parse_id(params.invocation_id)
    if parsed is not None:
        record = await engine.pending.get(parsed[0], 0)
        if _mine(record, params.invocation_id, caller):
            if params.wait_seconds and record is not None and record["finished_at_ns"] is None:
                record = await engine.pending.get(parsed[0], params.wait_seconds)
            assert record is not None
            return record
    raise errors.NotFound(
        f"There is no invocation {errors.shorten(params.invocation_id, 64)}.",
        hint="trigger_invocation_list shows the recent ones.",
    )


def _mine(record: dict[str, Any] | None, id: str, caller: Caller) -> bool:
    return record is not None and record["invocation_id"] == id and caller.member_of(record["tenant_id"])


class InvocationList(Page):
    slug: str | None = Field(default=None, max_length=64)
    """Only runs of this trigger."""
    state: Literal["accepted", "dispatched", "succeeded", "failed", "timed_out"] | None = None
    """Only runs in this state."""
    username: str | None = Field(default=None, max_length=200)
    """Only runs by this user."""
    tenant_id: str | None = Field(default=None, max_length=64)
    """The tenant to look in; your own when left out."""


@operation(
    summary="List the recent runs of triggers, newest first.",
    http="GET /api/trigger-invocations",
    toolset="triggers",
    result=items_schema(),
)
async def trigger_invocation_list(engine: Engine, caller: Caller, params: InvocationList) -> dict[str, Any]:
    """List invocations, newest first; use trigger_invocation_get for params, result and history of one."""
    rows = await engine.database.read(
        lambda db: table.search(
            db,
            caller.tenant,
            slug=params.slug or "",
            state=params.state or "",
            username=params.username or "",
            before=position(params.cursor),
            limit=params.limit + 1,
        )
    )
    total = await engine.database.read(table.count, caller.tenant)
    shown = rows[: params.limit]
    return {
        "items": [
            {
                "invocation_id": invocation.text_id(row["id"], row["nonce"]),
                "trigger_slug": row["slug"],
                "trigger_revision": row["revision"],
                "state": row["state"],
                "caller": {"username": row["username"], "role": row["role"]},
                "surface": row["surface"],
                "requested_at_ns": row["requested_at_ns"],
                "finished_at_ns": row["finished_at_ns"],
            }
            for row in shown
        ],
        "next_cursor": str(shown[-1]["id"]) if len(rows) > params.limit else None,
        "total": total,
    }
