"""The live message stream: GET /api/messages/subscribe as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from core import errors
from mcp_server import session
from mcp_server.http import auth, guard, problems, routes

BACKLOG = 1000
KEEP_ALIVE_SECONDS = 15.0
FILTERS = ("kind", "type", "source", "tag", "job", "worker")
_FIELDS = {"type": "message_type", "job": "job_name", "worker": "worker_id"}  # a filter's name -> the event's key


def router(engine: session.EngineSession) -> APIRouter:
    """The one route of the stream."""
    out = APIRouter()

    @out.get(
        "/api/messages/subscribe", tags=["messages"], summary="Follow messages as they happen", response_model=None
    )
    async def message_subscribe(request: Request) -> Response:
        try:
            unknown = set(request.query_params) - set(FILTERS)
            if unknown:
                raise errors.InvalidParams(
                    f"Unknown filter: {errors.shorten(', '.join(sorted(unknown)), 80)}.",
                    hint=f"Filters: {', '.join(FILTERS)}.",
                )
            caller = auth.caller(request.scope[guard.PRINCIPAL], request.headers.get(routes.TENANT_HEADER))
        except errors.SluiceError as error:
            return problems.response(error)
        wanted = {_FIELDS.get(name, name): value for name, value in request.query_params.items()}
        return StreamingResponse(
            stream(engine, caller.tenant, wanted), media_type="text/event-stream", headers=problems.SAFE_HEADERS
        )

    return out


async def stream(engine: session.EngineSession, tenant: str, wanted: dict[str, str]) -> AsyncIterator[bytes]:
    """The messages of a tenant as server-sent events; a slow reader is told how many it missed."""
    waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(BACKLOG)
    missed = 0

    def arrived(kind: str, data: dict[str, Any]) -> None:
        nonlocal missed
        if kind != "message" or data.get("tenant") != tenant:
            return
        event = data["event"]
        if isinstance(event, bytes):  # as the engine has it; over the channel it is an object
            event = orjson.loads(event)
        if all(event.get(key) == value for key, value in wanted.items()):
            try:
                waiting.put_nowait(event)
            except asyncio.QueueFull:
                missed += 1

    leave = engine.subscribe(arrived)
    try:
        yield b": connected\n\n"
        while True:
            event = None
            with contextlib.suppress(TimeoutError):
                event = await asyncio.wait_for(waiting.get(), KEEP_ALIVE_SECONDS)
            if missed:
                lost, missed = missed, 0
                yield b"event: missed\ndata: %d\n\n" % lost
            if event is None:
                yield b": alive\n\n"
            else:
                yield b"event: message\nid: %s\ndata: %s\n\n" % (str(event.get("id", "")).encode(), orjson.dumps(event))
    finally:
        leave()
