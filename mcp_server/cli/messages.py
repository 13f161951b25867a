"""`sluice messages`: search the message log, or follow it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import anyio
import orjson

from mcp_server.cli import connect, render

_COLUMNS = ("at", "kind", "message_type", "source", "tag", "job_name", "worker_id", "message_data")


async def messages(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Print messages, the newest first, or follow them."""
    follow = bool(beside.get("follow"))
    async with connect.engine(common, follows=follow) as engine:
        if follow:
            await _follow(engine, {name: value for name, value in given.items() if name not in ("limit", "cursor")})
            return 0
        result = await engine.call("message_search", **given)
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
    async for page in engine.pages("message_search", **wanted):
        for item in page["items"]:
            if str(item["id"]) <= last:
                return out[::-1]
            out.append(item)
    return out[::-1]
