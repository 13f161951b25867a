"""What a remote session (mcp_server.remote) uses: every operation by its name, and what the engine announces.

The routes of single operations are for people and programs; a session has the arguments of an operation as they are,
and gets the same answers and errors as a session on the engine's own host.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from core import clock, errors
from core.model import principal
from mcp_server import session
from mcp_server.http import auth, guard, metrics, problems, routes, streams

OPERATIONS = "/api/operations/"
NOTICES = "/api/notices"
KINDS = frozenset({"registry", "invocation", "deployment", "workflow", "progress"})
STREAM_SECONDS = 900.0
"""How long one stream of notices lasts; who opens the next one shows a credential that is valid then."""


def router(engine: session.EngineSession, counts: metrics.Metrics) -> APIRouter:
    """The two routes. They are described in docs/identity.md, and not in the OpenAPI document."""
    out = APIRouter(route_class=routes.PlainRoute)
    # What has no HTTP form is for the doors alone (token_verify, call_once).
    offered = {op.name: routes.handler(engine, op, counts) for op in engine.operations if op.http}

    async def operation_call(request: Request) -> Response:
        name = str(request.path_params["operation"])
        handle = offered.get(name)
        if handle is None:
            return problems.response(errors.NotFound(f"There is no operation {errors.shorten(name, 60)}."))
        request.scope["path_params"] = {}  # the name of the operation is none of its arguments
        return await handle(request)

    async def notices(request: Request) -> Response:
        try:
            caller = auth.caller(request.scope[guard.PRINCIPAL], request.headers.get(routes.TENANT_HEADER))
        except errors.SluiceError as error:
            return problems.response(error)
        parts = stream(engine, caller, clock.monotonic() + STREAM_SECONDS)
        return StreamingResponse(parts, media_type="text/event-stream", headers=problems.SAFE_HEADERS)

    out.add_api_route(OPERATIONS + "{operation}", operation_call, methods=["POST"], include_in_schema=False)
    out.add_api_route(NOTICES, notices, methods=["GET"], include_in_schema=False)
    return out


async def stream(engine: session.EngineSession, caller: principal.Caller, until: float) -> AsyncGenerator[bytes, None]:
    """The notices that concern a caller, as events with the data {kind, data}, until its credential is revoked."""

    def select(kind: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        if kind == "tokens" and data.get("id") == caller.principal.credential:
            return "", {"kind": "end", "data": {}}
        if kind not in KINDS or "tenant" not in data or not session.concerns(caller, data["tenant"]):
            return None
        return "", {"kind": kind, "data": data}

    parts = streams.told(engine, "notice", select)
    try:
        async for part, event in parts:
            if event.get("kind") == "end" or clock.monotonic() > until:
                return
            yield part
    finally:
        await parts.aclose()
