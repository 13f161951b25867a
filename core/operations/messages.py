"""Messages: what the bus has carried, as far back as the retention goes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from core.engine import Engine
from core.model import message, results
from core.model.message import Type
from core.model.principal import Caller, Role
from core.operations.registry import LISTED, PAGE_BYTES, Page, moment, operation, position, rows_page
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
    worker: str | None = Field(default=None, max_length=200)
    """Only messages that are about this worker, or came through it."""
    text: str | None = Field(default=None, min_length=1, max_length=200)
    """Only messages that say this somewhere, in any case."""
    since: str | None = Field(default=None, max_length=40)
    """Not before this time: ISO 8601, or how long ago (90s, 2h, 7d)."""
    until: str | None = Field(default=None, max_length=40)
    """Before this time."""
    after: str | None = Field(default=None, pattern="^msg_[0-9a-f]{16}$")
    """Only what came after the message with this id, the oldest first: `reset` is true when that one is kept no longer,
    so that something between may be lost."""


@operation(
    summary="Search the message log, newest first.",
    http="GET /api/messages",
    toolset="messages",
    outline=LISTED,
    role=Role.VIEWER,
)
async def message_search(engine: Engine, caller: Caller, params: MessageSearch) -> results.messages.MessageList:
    """Search the messages of the bus, newest first, by what they are, whom they are about, text and time.

    `total` counts what fits. With `after`, the last item's id is the next `after`, and an empty page the end for now.
    """
    now = engine.now_ns()
    equal = {name: getattr(params, name) or "" for name in ("kind", "type", "tag", "job", "source", "worker", "text")}
    since = 0 if params.since is None else moment(params.since, now, "/since") - 1
    until = 2**63 - 1 if params.until is None else moment(params.until, now, "/until")
    wanted = table.Wanted(**equal, since=since, until=until)
    if params.after is None:
        return await _search(engine, caller, params, wanted)
    after = message.number(params.after)
    reset = await engine.database.read(table.is_gone, caller.tenant, after)
    wanted = wanted._replace(since=max(since, after))
    return {**await _search(engine, caller, params, wanted, oldest_first=True), "reset": reset}


class JobNotifications(Page):
    job: str | None = Field(default=None, max_length=200)
    """Only notifications of this job."""


@operation(
    summary="What jobs reported lately: alerts, failures, ends of runs.",
    http="GET /api/jobs/notifications",
    toolset="messages",
    outline=LISTED,
    role=Role.VIEWER,
)
async def job_notifications_recent(
    engine: Engine, caller: Caller, params: JobNotifications
) -> results.messages.MessageList:
    """The recent notifications of jobs, newest first, for clients that poll instead of holding a stream."""
    wanted = table.Wanted(job=params.job or "", source="job", leave_out=Type.JOB_RUN_STARTED)
    return await _search(engine, caller, params, wanted)


async def _search(
    engine: Engine, caller: Caller, page: Page, wanted: table.Wanted, *, oldest_first: bool = False
) -> results.messages.MessageList:
    before = None if oldest_first else position(page.cursor)
    rows, more = await engine.database.read(
        lambda db: table.search(
            db,
            caller.tenant,
            wanted,
            before=before,
            oldest_first=oldest_first,
            limit=page.limit,
            most_bytes=PAGE_BYTES,
        )
    )
    found = rows_page(rows, page.limit, _message, lambda row: str(row[0]), more=more)
    return {
        "items": found["items"],
        "next_cursor": None if oldest_first else found["next_cursor"],
        "total": await engine.database.read(table.count, caller.tenant, wanted),
    }


def _message(row: tuple[int, Any]) -> results.messages.Message:
    message: results.messages.Message = row[1]
    return message
