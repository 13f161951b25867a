"""Server-sent events of one client (https://html.spec.whatwg.org/multipage/server-sent-events.html): what waits to be
sent to it, and how it is written."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

import orjson
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from core import errors
from core.model import notices, principal
from mcp_server import session
from mcp_server.http import problems
from mcp_server.live import Live, Reason

T = TypeVar("T")
BACKLOG = 1000
BACKLOG_BYTES = 256 * 1024
KEEP_ALIVE_SECONDS = 15.0
CONNECTED = b"retry: 3000\n: connected\n\n"
ALIVE = b": alive\n\n"
HEADERS = {**problems.SAFE_HEADERS, "x-accel-buffering": "no"}  # a proxy hands on each event at once
MISSED = b"event: missed\n"

Select = Callable[[str, dict[str, Any]], tuple[str, dict[str, Any]] | None]
"""What of a notice the reader gets: (id, data), or None."""
Part = tuple[bytes, dict[str, Any]]
"""Bytes to send, and the data that they tell."""
Parts = AsyncGenerator[bytes, None]


class Reader:
    """What waits to be sent to one client: events that it may hear, at most BACKLOG of them and BACKLOG_BYTES, or one,
    or the end."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Part | Reason] = asyncio.Queue(BACKLOG)
        self._bytes = 0  # of what waits
        self._missed = 0
        self.ended = False

    def end(self, reason: Reason) -> None:
        """Tell the reason instead of all that still waits."""
        self.ended = True
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._waiting.put_nowait(reason)

    def lose(self) -> None:
        """Note that something was missed."""
        self._missed += 1

    def put(self, part: Part) -> None:
        size = len(part[0])
        if self._waiting.full() or (self._bytes and self._bytes + size > BACKLOG_BYTES):
            self._missed += 1
        else:
            self._bytes += size
            self._waiting.put_nowait(part)

    async def unless_ended(self, work: Coroutine[Any, Any, T]) -> T | Reason:
        """What a piece of work gives, or why this client is served no longer; for who pulls what `parts` would push."""
        task = asyncio.ensure_future(work)
        ended = asyncio.ensure_future(self._waiting.get())
        try:
            await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done() and isinstance(reason := ended.result(), Reason):
                return reason
            return await task
        finally:
            task.cancel()
            ended.cancel()
            await asyncio.gather(task, ended, return_exceptions=True)

    async def parts(
        self, engine: session.EngineSession, caller: principal.Caller, name: str, select: Select
    ) -> AsyncGenerator[Part, None]:
        """The selected notices that the caller may hear; a slow client is told how many it missed, and every one why
        its stream was ended."""

        def arrived(topic: str, data: dict[str, Any]) -> None:
            chosen = select(topic, data)
            if chosen is not None and notices.hears(engine.operations, caller, topic, data):
                self.put((event(name, *chosen), chosen[1]))

        leave = engine.subscribe(arrived)
        try:
            yield CONNECTED, {}
            while True:
                found = None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                        found = await self._waiting.get()
                if isinstance(found, Reason):
                    yield event("end", "", ending(found)), {}
                    return
                if found is not None:
                    self._bytes -= len(found[0])
                if self._missed:
                    lost, self._missed = self._missed, 0
                    yield MISSED + b"data: %d\n\n" % lost, {}
                yield (ALIVE, {}) if found is None else found
        finally:
            leave()


class EventStream(Response):
    """Server-sent events as a long answer of the registry: counted, and ended with what allowed it."""

    media_type = "text/event-stream"

    def __init__(
        self,
        live: Live,
        operation: str,
        caller: principal.Caller,
        parts: Callable[[Reader], Parts],
        media_type: str = media_type,
    ) -> None:
        super().__init__(media_type=media_type)
        self._live = live
        self._operation = operation
        self._caller = caller
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = Reader()
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._live.stream(self._operation, self._caller, reader.end))
            except errors.SluiceError as error:
                await problems.response(error)(scope, receive, send)
                return
            async with contextlib.aclosing(self._parts(reader)) as parts:
                answer = StreamingResponse(parts, media_type=self.media_type, headers=HEADERS)
                await answer(scope, receive, send)


def ending(reason: Reason) -> dict[str, Any]:
    """The data of the event `end`; a remote session of an earlier version takes it for a notice of no kind it knows."""
    return {"reason": reason.value, "kind": "end", "data": {}}


def event(name: str, id: str, data: dict[str, Any]) -> bytes:
    """One server-sent event."""
    head = b"id: %s\n" % id.encode() if id else b""
    return b"event: %s\n%sdata: %s\n\n" % (name.encode(), head, orjson.dumps(data))
