"""`sluice messages`: search the message log, or follow it."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import anyio
import orjson
from cyclopts import Parameter

from mcp_server.cli import connect, render

_COLUMNS = ("at", "kind", "message_type", "source", "tag", "job_name", "worker_id", "message_data")


async def messages(
    *,
    follow: Annotated[bool, Parameter(negative=())] = False,
    kind: str | None = None,
    type: str | None = None,
    tag: str | None = None,
    job: str | None = None,
    source: Literal["server", "worker", "job"] | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Search the message log, the newest first, or follow it.

    Parameters
    ----------
    follow
        Keep printing messages as they come, until interrupted.
    kind
        Only system or user messages.
    type
        Only messages of this type, for example job-run-ended.
    tag
        Only messages with this tag.
    job
        Only messages of this job.
    source
        Only messages from there.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    wanted: dict[str, Any] = {"kind": kind, "type": type, "tag": tag, "job": job, "source": source}
    async with connect.engine(common, follows=follow) as engine:
        if follow:
            await _follow(engine, {name: value for name, value in wanted.items() if value is not None})
            return 0
        result = await engine.call("message_search", **wanted, limit=limit, cursor=cursor)
    return render.page(result, _COLUMNS, empty="No messages fit.", as_json=common.json)


async def _follow(engine: connect.Client, wanted: dict[str, Any]) -> None:
    """Print each new message as one line of JSON.

    A notice only says that there is something new; what is printed is read from the log, so nothing is lost or
    printed twice.
    """
    arrived = anyio.Event()

    def notice(kind: str, data: dict[str, Any]) -> None:
        arrived.set()

    leave = engine.session.subscribe(notice)
    try:
        last = await _newest(engine, wanted)
        connect.note("Following; Ctrl-C ends it.")
        while True:
            with anyio.move_on_after(1):
                await arrived.wait()
            arrived = anyio.Event()
            fresh = await _since(engine, wanted, last)
            for item in fresh:
                sys.stdout.write(orjson.dumps(item).decode() + "\n")
            sys.stdout.flush()
            last = fresh[-1]["id"] if fresh else last
    finally:
        leave()


async def _newest(engine: connect.Client, wanted: dict[str, Any]) -> str:
    found = (await engine.call("message_search", **wanted, limit=1))["items"]
    return str(found[0]["id"]) if found else ""


async def _since(engine: connect.Client, wanted: dict[str, Any], last: str) -> list[dict[str, Any]]:
    """The messages after `last`, the oldest first; ids sort like time."""
    out: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await engine.call("message_search", **wanted, cursor=cursor)
        for item in page["items"]:
            if str(item["id"]) <= last:
                return out[::-1]
            out.append(item)
        cursor = page.get("next_cursor")
        if not cursor:
            return out[::-1]
