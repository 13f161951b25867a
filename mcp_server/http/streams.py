"""What happens, as it happens, as server-sent events: messages, and the states of trigger invocations and of jobs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from core import errors
from core.model import principal
from mcp_server import session
from mcp_server.http import auth, guard, openapi, problems, routes

BACKLOG = 1000
KEEP_ALIVE_SECONDS = 15.0
FILTERS = ("kind", "type", "source", "tag", "job", "worker")
_FIELDS = {"type": "message_type", "job": "job_name", "worker": "worker_id"}  # a filter's name -> the event's key
INVOCATION_FILTERS = ("invocation_id", "state")
JOB_FILTERS = ("job", "worker", "deployment", "state")
TERMINAL = frozenset({"succeeded", "failed", "timed_out"})

Select = Callable[[str, dict[str, Any]], tuple[str, dict[str, Any]] | None]
"""What of a notice the reader gets: (id, data), or None."""
Part = tuple[bytes, dict[str, Any]]
"""Bytes to send, and the data that they tell."""


def router(engine: session.EngineSession) -> APIRouter:
    """The streams."""
    out = APIRouter(route_class=routes.PlainRoute)

    async def message_subscribe(request: Request) -> Response:
        try:
            wanted, caller = _asked(request, FILTERS)
        except errors.SluiceError as error:
            return problems.response(error)
        return _answer(stream(engine, caller.tenant, wanted))

    async def invocation_subscribe(request: Request) -> Response:
        try:
            wanted, caller = _asked(request, INVOCATION_FILTERS)
            if "invocation_id" in wanted:  # 404 for what is not there, before the stream begins
                await engine.call("trigger_invocation_get", {"invocation_id": wanted["invocation_id"]}, caller)
        except errors.SluiceError as error:
            return problems.response(error)
        return _answer(invocations(engine, caller, wanted))

    async def job_subscribe(request: Request) -> Response:
        try:
            wanted, caller = _asked(request, JOB_FILTERS)
        except errors.SluiceError as error:
            return problems.response(error)
        return _answer(jobs(engine, caller.tenant, wanted))

    for name, path, tag, summary, endpoint, filters in (
        ("message_subscribe", "/api/messages/subscribe", "messages", "Follow messages as they happen.",
         message_subscribe, FILTERS),
        ("trigger_invocation_subscribe", "/api/trigger-invocations/subscribe", "triggers",
         "Follow the states of invocations; of one invocation until its end.", invocation_subscribe,
         INVOCATION_FILTERS),
        ("job_subscribe", "/api/jobs/subscription", "jobs", "Follow the states of jobs.", job_subscribe, JOB_FILTERS),
    ):  # fmt: skip
        out.add_api_route(
            path,
            endpoint,
            methods=["GET"],
            name=name,
            operation_id=name,
            summary=summary,
            tags=[tag],
            response_model=None,
            openapi_extra=openapi.stream(filters),
        )
    return out


def _asked(request: Request, filters: tuple[str, ...]) -> tuple[dict[str, str], principal.Caller]:
    """The filters and the caller of a request. Raises InvalidParams for a filter that there is not."""
    unknown = set(request.query_params) - set(filters)
    if unknown:
        raise errors.InvalidParams(
            f"Unknown filter: {errors.shorten(', '.join(sorted(unknown)), 80)}.", hint=f"Filters: {', '.join(filters)}."
        )
    caller = auth.caller(request.scope[guard.PRINCIPAL], request.headers.get(routes.TENANT_HEADER))
    return dict(request.query_params), caller


def _answer(parts: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(parts, media_type="text/event-stream", headers=problems.SAFE_HEADERS)


async def stream(engine: session.EngineSession, tenant: str, wanted: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
    """The messages of a tenant."""
    named = {_FIELDS.get(name, name): value for name, value in wanted.items()}

    def select(kind: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        if kind != "message" or data.get("tenant") != tenant:
            return None
        event = data["event"]
        if isinstance(event, bytes):  # as the engine has it; over the channel it is an object
            event = orjson.loads(event)
        fits = all(event.get(key) == value for key, value in named.items())
        return (str(event.get("id", "")), event) if fits else None

    async with contextlib.aclosing(told(engine, "message", select)) as parts:
        async for part, _ in parts:
            yield part


async def invocations(
    engine: session.EngineSession, caller: principal.Caller, wanted: Mapping[str, str]
) -> AsyncGenerator[bytes, None]:
    """The changes of state of a tenant's invocations: {invocation_id, state}.

    With an invocation_id its present state comes first, and its terminal one last.
    """
    one = wanted.get("invocation_id")

    def select(kind: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        if kind != "invocation" or data.get("tenant") != caller.tenant:
            return None
        event = {"invocation_id": data["invocation_id"], "state": data["state"]}
        return ("", event) if all(event.get(key) == value for key, value in wanted.items()) else None

    async with contextlib.aclosing(told(engine, "invocation", select)) as parts:
        async for part, event in parts:
            yield part
            if one is not None and not event and part == CONNECTED:  # from here on no change is missed
                record = await engine.call("trigger_invocation_get", {"invocation_id": one}, caller)
                event = {"invocation_id": one, "state": record["state"]}
                if wanted.get("state") in (None, record["state"]):
                    yield _event("invocation", "", event)
                if record["state"] in TERMINAL:
                    return
            elif one is not None and event.get("state") in TERMINAL:
                return


async def jobs(engine: session.EngineSession, tenant: str, wanted: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
    """The changes of state of a tenant's workloads: {job, workload, worker, deployment, state, reason, at_ns}.

    One that is not deployed any more is told as stopped.
    """

    def select(kind: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        if kind != "job" or data.get("tenant") != tenant:
            return None
        event = {key: value for key, value in data.items() if key != "tenant"}
        return ("", event) if all(event.get(key) == value for key, value in wanted.items()) else None

    async with contextlib.aclosing(told(engine, "job", select)) as parts:
        async for part, _ in parts:
            yield part


CONNECTED = b": connected\n\n"


async def told(engine: session.EngineSession, name: str, select: Select) -> AsyncGenerator[Part, None]:
    """Selected notices as (bytes to send, data); a slow reader is told how many it missed."""
    waiting: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(BACKLOG)
    missed = 0

    def arrived(kind: str, data: dict[str, Any]) -> None:
        nonlocal missed
        chosen = select(kind, data)
        if chosen is not None:
            try:
                waiting.put_nowait(chosen)
            except asyncio.QueueFull:
                missed += 1

    leave = engine.subscribe(arrived)
    try:
        yield CONNECTED, {}
        while True:
            found = None
            with contextlib.suppress(TimeoutError):
                found = await asyncio.wait_for(waiting.get(), KEEP_ALIVE_SECONDS)
            if missed:
                lost, missed = missed, 0
                yield b"event: missed\ndata: %d\n\n" % lost, {}
            yield (b": alive\n\n", {}) if found is None else (_event(name, *found), found[1])
    finally:
        leave()


def _event(name: str, id: str, data: dict[str, Any]) -> bytes:
    head = b"id: %s\n" % id.encode() if id else b""
    return b"event: %s\n%sdata: %s\n\n" % (name.encode(), head, orjson.dumps(data))
