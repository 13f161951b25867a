"""Messages as they happen, resumable: who names the last one that it has seen gets what was committed since, in order.

The id of a message is its place in the stream (core.bus.told). A reader is subscribed first; then what the log has is
sent in pages, and after it what has arrived meanwhile, without what was sent already: nothing is lost between the two.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson

from core import errors
from core.model import message, principal
from mcp_server import session
from mcp_server.http import sse
from mcp_server.live import Reason

OPERATION = "message_search"
PAGE = 200
MOST_REPLAYED = 10_000  # of one connection; what is left out is told, and stays in the log
_KEYS = {"type": "message_type", "job": "job_name", "worker": "worker_id"}  # a filter -> the event's key


async def messages(
    engine: session.EngineSession,
    caller: principal.Caller,
    wanted: Mapping[str, str],
    reader: sse.Reader,
    last: str | None = None,
) -> sse.Parts:
    """The messages of a tenant that fit the filters; those after the message `last` first.

    Events: `message`; `reset` {oldest, missed} when what came after `last` is not all there any more, or was too much
    (missed: how many were left out, null when nobody knows); `end` for a reader who is too slow, who then resumes.
    """
    text = wanted.get("text", "").lower().encode()
    named = {_KEYS.get(name, name): value for name, value in wanted.items() if name != "text"}
    newest = ""  # of the tenant, whether it fits or not

    def select(topic: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        nonlocal newest
        if topic == "registry" and not data.get("tenant"):  # notices were lost, of messages perhaps
            reader.lose()
        if topic != "message" or data.get("tenant") != caller.tenant:
            return None
        told = data["event"]
        if isinstance(told, bytes):  # as the engine has it; over the channel it is an object
            told = orjson.loads(told)
        newest = str(told.get("id", ""))
        if not all(told.get(key) == value for key, value in named.items()):
            return None
        if text and text not in orjson.dumps(told.get("message_data")).lower():
            return None
        return newest, told

    sent: set[str] = set()  # of the replay
    async with contextlib.aclosing(reader.parts(engine, caller, "message", select)) as parts:
        async for part, told in parts:
            if part == sse.CONNECTED:
                yield part
                async for id, replayed in _replay(engine, caller, wanted, last):
                    sent.add(id)
                    yield replayed
            elif part == sse.ALIVE:
                yield part + (b"id: %s\n\n" % newest.encode() if newest else b"")
            elif part.startswith(sse.MISSED):  # what it has is a place to go on from
                yield part
                yield sse.event("end", "", sse.ending(Reason.SLOW))
                return
            elif told.get("id") not in sent:
                yield part


async def _replay(
    engine: session.EngineSession, caller: principal.Caller, wanted: Mapping[str, str], last: str | None
) -> AsyncGenerator[tuple[str, bytes], None]:
    """What came after a message, each as (its id, bytes), with an empty id for what is none; without one, the place
    where the stream begins."""
    if last is None:
        found = (await engine.call(OPERATION, {"limit": 1}, caller))["items"]
        if found:
            yield "", b"id: %s\n\n" % found[0]["id"].encode()
        return
    if not message.is_id(last):
        yield "", sse.event("reset", "", {"oldest": None, "missed": None})
        return
    for number in range(MOST_REPLAYED // PAGE + 1):
        page = await engine.call(OPERATION, {**wanted, "after": last, "limit": PAGE}, caller)
        items = page["items"]
        if number == 0 and page["reset"]:
            yield "", sse.event("reset", "", {"oldest": items[0]["id"] if items else None, "missed": None})
        if not items:
            return
        if number == MOST_REPLAYED // PAGE:
            yield "", sse.event("reset", "", {"oldest": items[0]["id"], "missed": page["total"]})
            return
        for item in items:
            del item["at"]  # as it is told live
            yield item["id"], sse.event("message", item["id"], item)
        last = items[-1]["id"]


async def export(
    engine: session.EngineSession, caller: principal.Caller, wanted: Mapping[str, Any], reader: sse.Reader
) -> sse.Parts:
    """Every message that fits, the oldest first, each as a line of JSON; to the newest one of when it was asked for."""
    newest = (await engine.call(OPERATION, {"limit": 1}, caller))["items"]
    after = str(wanted.get("after") or message.text_id(0))
    while not reader.ended:
        items = (await engine.call(OPERATION, {**wanted, "after": after, "limit": PAGE}, caller))["items"]
        there = [item for item in items if item["id"] <= newest[0]["id"]] if newest else []
        yield b"".join(orjson.dumps(item) + b"\n" for item in there)
        if len(there) < len(items) or not items:
            return
        after = items[-1]["id"]
    raise errors.Unauthenticated("The credential of this export was withdrawn before its end.")
