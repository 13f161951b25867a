"""What happens, as it happens, as server-sent events: messages, and the states of trigger invocations and of jobs.

Each stream is like an operation that tells the same when it is asked (`FEEDS`): whoever may call that one may open the
stream, and hears what that one would show him.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from core import errors
from core.model import notices, principal
from mcp_server import session
from mcp_server.http import admission, auth, openapi, problems, routes
from mcp_server.live import Live, Reason

BACKLOG = 1000
BACKLOG_BYTES = 256 * 1024
KEEP_ALIVE_SECONDS = 15.0
TERMINAL = frozenset({"succeeded", "failed", "timed_out"})
CONNECTED = b": connected\n\n"

Select = Callable[[str, dict[str, Any]], tuple[str, dict[str, Any]] | None]
"""What of a notice the reader gets: (id, data), or None."""
Part = tuple[bytes, dict[str, Any]]
"""Bytes to send, and the data that they tell."""
Parts = AsyncGenerator[bytes, None]


@dataclass(frozen=True)
class Feed:
    """One stream: `operation` tells the same when it is asked, and gets those `filters` that it knows."""

    name: str
    path: str
    tag: str
    summary: str
    topic: str
    operation: str
    filters: tuple[str, ...]


FEEDS = (
    Feed(
        "message_subscribe",
        "/api/messages/subscribe",
        "messages",
        "Follow messages as they happen.",
        "message",
        "message_search",
        ("kind", "type", "source", "tag", "job", "worker"),
    ),
    Feed(
        "trigger_invocation_subscribe",
        "/api/trigger-invocations/subscribe",
        "triggers",
        "Follow the states of invocations; of one invocation until its end.",
        "invocation",
        "trigger_invocation_list",  # of one invocation: ONE
        ("invocation_id", "state"),
    ),
    Feed(
        "job_subscribe",
        "/api/jobs/subscription",
        "jobs",
        "Follow the states of jobs.",
        "job",
        "job_list",
        ("job", "worker", "deployment", "state"),
    ),
)
ONE = "trigger_invocation_get"
_KEYS = {"type": "message_type", "job": "job_name", "worker": "worker_id"}  # a filter of messages -> the event's key


def router(engine: session.EngineSession, live: Live) -> APIRouter:
    """The streams."""
    out = APIRouter(route_class=routes.PlainRoute)
    for feed in FEEDS:
        out.add_api_route(
            feed.path,
            routes.stands_for(feed.operation, _endpoint(engine, live, feed)),
            methods=["GET"],
            name=feed.name,
            operation_id=feed.name,
            summary=feed.summary,
            tags=[feed.tag],
            response_model=None,
            openapi_extra=openapi.stream(feed.filters),
        )
    return out


def _endpoint(engine: session.EngineSession, live: Live, feed: Feed) -> routes.Handler:
    async def subscribe(request: Request) -> Response:
        try:
            wanted, caller = _asked(request, feed.filters)
            operation = await _opened(engine, feed, wanted, caller)
        except errors.SluiceError as error:
            return problems.response(error)
        follow = {"message": messages, "invocation": invocations, "job": jobs}[feed.topic]
        return EventStream(live, operation, caller, lambda reader: follow(engine, caller, wanted, reader))

    return subscribe


async def _opened(
    engine: session.EngineSession, feed: Feed, wanted: Mapping[str, str], caller: principal.Caller
) -> str:
    """The operation that a stream is like, called once: what it raises, the stream is refused with."""
    if "invocation_id" in wanted:  # 404 for what is not there, before the stream begins
        await engine.call(ONE, {"invocation_id": wanted["invocation_id"]}, caller)
        return ONE
    known = engine.operations[feed.operation].schema.get("properties", {})
    arguments = {name: value for name, value in wanted.items() if name in known}
    await engine.call(feed.operation, {**arguments, "limit": 1}, caller)
    return feed.operation


def _asked(request: Request, filters: tuple[str, ...]) -> tuple[dict[str, str], principal.Caller]:
    """The filters and the caller of a request. Raises InvalidParams for a filter that there is not."""
    unknown = set(request.query_params) - set(filters)
    if unknown:
        raise errors.InvalidParams(
            f"Unknown filter: {errors.shorten(', '.join(sorted(unknown)), 80)}.", hint=f"Filters: {', '.join(filters)}."
        )
    caller = auth.caller(request.scope[admission.PRINCIPAL], request.headers.get(routes.TENANT_HEADER))
    return dict(request.query_params), caller


class Reader:
    """What waits to be sent to one client: events that it may hear, at most BACKLOG of them and BACKLOG_BYTES, or one,
    or the end."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Part | Reason] = asyncio.Queue(BACKLOG)
        self._bytes = 0  # of what waits
        self._missed = 0

    def end(self, reason: Reason) -> None:
        """Tell the reason instead of all that still waits."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._waiting.put_nowait(reason)

    def put(self, part: Part) -> None:
        size = len(part[0])
        if self._waiting.full() or (self._bytes and self._bytes + size > BACKLOG_BYTES):
            self._missed += 1
        else:
            self._bytes += size
            self._waiting.put_nowait(part)

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
                    found = await asyncio.wait_for(self._waiting.get(), KEEP_ALIVE_SECONDS)
                if isinstance(found, Reason):
                    yield event("end", "", ending(found)), {}
                    return
                if found is not None:
                    self._bytes -= len(found[0])
                if self._missed:
                    lost, self._missed = self._missed, 0
                    yield b"event: missed\ndata: %d\n\n" % lost, {}
                yield (b": alive\n\n", {}) if found is None else found
        finally:
            leave()


class EventStream(Response):
    """Server-sent events as a long answer of the registry: counted, and ended with what allowed it."""

    media_type = "text/event-stream"

    def __init__(self, live: Live, operation: str, caller: principal.Caller, parts: Callable[[Reader], Parts]) -> None:
        super().__init__()
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
                answer = StreamingResponse(parts, media_type=self.media_type, headers=problems.SAFE_HEADERS)
                await answer(scope, receive, send)


async def messages(
    engine: session.EngineSession, caller: principal.Caller, wanted: Mapping[str, str], reader: Reader
) -> Parts:
    """The messages of a tenant."""
    named = {_KEYS.get(name, name): value for name, value in wanted.items()}

    def select(topic: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        if topic != "message" or data.get("tenant") != caller.tenant:
            return None
        told = data["event"]
        if isinstance(told, bytes):  # as the engine has it; over the channel it is an object
            told = orjson.loads(told)
        fits = all(told.get(key) == value for key, value in named.items())
        return (str(told.get("id", "")), told) if fits else None

    async with contextlib.aclosing(reader.parts(engine, caller, "message", select)) as parts:
        async for part, _ in parts:
            yield part


async def invocations(
    engine: session.EngineSession, caller: principal.Caller, wanted: Mapping[str, str], reader: Reader
) -> Parts:
    """The changes of state of a tenant's invocations: {invocation_id, state}.

    With an invocation_id its present state comes first, and its terminal one last.
    """
    one = wanted.get("invocation_id")

    def select(topic: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        if topic != "invocation" or (one is None and data.get("tenant") != caller.tenant):
            return None
        told = {"invocation_id": data["invocation_id"], "state": data["state"]}
        return ("", told) if all(told.get(key) == value for key, value in wanted.items()) else None

    async with contextlib.aclosing(reader.parts(engine, caller, "invocation", select)) as parts:
        async for part, told in parts:
            yield part
            if one is not None and not told and part == CONNECTED:  # from here on no change is missed
                record = await engine.call(ONE, {"invocation_id": one}, caller)
                told = {"invocation_id": one, "state": record["state"]}
                if wanted.get("state") in (None, record["state"]):
                    yield event("invocation", "", told)
                if record["state"] in TERMINAL:
                    return
            elif one is not None and told.get("state") in TERMINAL:
                return


async def jobs(
    engine: session.EngineSession, caller: principal.Caller, wanted: Mapping[str, str], reader: Reader
) -> Parts:
    """The changes of state of a tenant's workloads: {job, workload, worker, deployment, state, reason, at_ns}.

    One that is not deployed any more is told as stopped.
    """

    def select(topic: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        if topic != "job" or data.get("tenant") != caller.tenant:
            return None
        told = {key: value for key, value in data.items() if key != "tenant"}
        return ("", told) if all(told.get(key) == value for key, value in wanted.items()) else None

    async with contextlib.aclosing(reader.parts(engine, caller, "job", select)) as parts:
        async for part, _ in parts:
            yield part


def ending(reason: Reason) -> dict[str, Any]:
    """The data of the event `end`; a remote session of an earlier version takes it for a notice of no kind it knows."""
    return {"reason": reason.value, "kind": "end", "data": {}}


def event(name: str, id: str, data: dict[str, Any]) -> bytes:
    """One server-sent event."""
    head = b"id: %s\n" % id.encode() if id else b""
    return b"event: %s\n%sdata: %s\n\n" % (name.encode(), head, orjson.dumps(data))
