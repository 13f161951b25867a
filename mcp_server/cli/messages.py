"""`sluice messages`: search the message log, or follow it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import orjson

from mcp_server.cli import connect, following, render

PAGE = 200
_FIRST = "msg_0000000000000000"  # which comes before every message
_COLUMNS = ("at", "kind", "message_type", "source", "tag", "job_name", "worker_id", "message_data")


async def messages(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Print messages, the newest first; or every one as a line of JSON, the oldest first; or follow them."""
    follow = bool(beside.get("follow"))
    wanted = {name: value for name, value in given.items() if name not in ("limit", "cursor")}
    async with connect.engine(common, follows=follow) as engine:
        if follow:
            await _follow(engine, wanted)
            return 0
        if beside.get("export"):
            await _print_after(functools.partial(engine.call, "message_search"), wanted, given.get("after") or _FIRST)
            return 0
        result = await engine.call("message_search", **given)
        engine.tell_when_idle()
    return render.page(result, _COLUMNS, empty="No messages fit.", as_json=common.json)


async def _follow(engine: connect.Client, wanted: dict[str, Any]) -> None:
    """Print each new message as one line of JSON, also of the next engines; ends with the command.

    A notice only says that there is something new; what is printed is read from the log, so nothing is lost or
    printed twice.
    """

    def search(**asked: Any) -> Awaitable[dict[str, Any]]:
        return following.ask(lambda: engine.call("message_search", **asked))

    arrived = anyio.Event()

    def notice(kind: str, data: dict[str, Any]) -> None:
        arrived.set()

    leave = engine.session.subscribe(notice)
    try:
        last = wanted.get("after") or await _newest(engine)
        connect.note("Following; Ctrl-C ends it.")
        while True:
            arrived = anyio.Event()  # before the look, so that nothing between the two is missed
            last = await _print_after(search, wanted, last)
            with anyio.move_on_after(1):
                await arrived.wait()
    finally:
        leave()


async def _newest(engine: connect.Client) -> str:
    found = (await engine.call("message_search", limit=1))["items"]
    return str(found[0]["id"]) if found else _FIRST


async def _print_after(search: Callable[..., Awaitable[dict[str, Any]]], wanted: Mapping[str, Any], last: str) -> str:
    """Print what came after a message, the oldest first; the id of the last one."""
    while True:
        items = (await search(**{**wanted, "after": last, "limit": PAGE}))["items"]
        sys.stdout.writelines(orjson.dumps(item).decode() + "\n" for item in items)
        sys.stdout.flush()
        if not items:
            return last
        last = str(items[-1]["id"])
