"""Messages: what the bus has carried, as far back as the retention goes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from core.engine import Engine
from core.model.message import Type
from core.model.principal import Caller, Role
from core.operations.registry import PAGE_BYTES, Page, items_schema, operation, position, rows_page
from core.store import messages as table


class MessageSearch(Page):
    kind: Literal["system", "user"] | None = None
    """Only messages of this kind."""
    type: str | None = Field(default=None, max_length=64)
    """Only this type, e.g. user-generated, job-run-ended, user-alert."""
    tag: str | None = Field(default=None, max_length=200)
    """Only user-generated messages with this tag."""
    job: str | None = Field(default=None, max_length=200)
    """Only messages of this job."""
    source: Literal["server", "worker", "job"] | None = None
    """Only messages from there."""


@operation(
    summary="Search the message log, newest first.",
    http="GET /api/messages",
    toolset="messages",
    result=items_schema(),
    role=Role.USER,
)
async def message_search(engine: Engine, caller: Caller, params: MessageSearch) -> dict[str, Any]:
    """Search the messages of the bus, newest first, by kind, type, tag, job and source."""
    wanted = table.Wanted(
        kind=params.kind or "",
        type=params.type or "",
        tag=params.tag or "",
        job=params.job or "",
        source=params.source or "",
    )
    return await _search(engine, caller, params, wanted)


class JobNotifications(Page):
    job: str | None = Field(default=None, max_length=200)
    """Only notifications of this job."""


@operation(
    summary="What jobs reported lately: alerts, failures, ends of runs.",
    http="GET /api/jobs/notifications",
    toolset="messages",
    result=items_schema(),
    role=Role.USER,
)
async def job_notifications_recent(engine: Engine, caller: Caller, params: JobNotifications) -> dict[str, Any]:
    """The recent notifications of jobs, newest first, for clients that poll instead of holding a stream."""
    wanted = table.Wanted(job=params.job or "", source="job", leave_out=Type.JOB_RUN_STARTED)
    return await _search(engine, caller, params, wanted)


async def _search(engine: Engine, caller: Caller, page: Page, wanted: table.Wanted) -> dict[str, Any]:
    rows, more = await engine.database.read(
        lambda db: table.search(
            db, caller.tenant, wanted, before=position(page.cursor), limit=page.limit, most_bytes=PAGE_BYTES
        )
    )
    found = rows_page(rows, page.limit, lambda row: row[1], lambda row: str(row[0]), more=more)
    return {**found, "total": await engine.database.read(table.count, caller.tenant, wanted)}
