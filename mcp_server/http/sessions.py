"""What a remote session (mcp_server.remote) uses: every operation by its name, and what the engine announces.

The routes of single operations are for people and programs; a session has the arguments of an operation as they are,
and gets the same answers and errors as a session on the engine's own host.
"""

from __future__ import annotations

import contextlib
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from core import errors, near
from core.model import notices as core_notices
from core.model import principal
from mcp_server import session
from mcp_server.http import admission, auth, metrics, problems, routes, sse
from mcp_server.live import Live

OPERATIONS = "/api/operations/"
NOTICES = "/api/notices"
KINDS = core_notices.TOPICS.keys() - {"tokens", "message"}  # of the doors alone; with a stream of its own
OPENS = "whoami"
"""What is asked before a stream of notices begins; each notice is then asked about (core.model.notices)."""


def router(engine: session.EngineSession, counts: metrics.Metrics, live: Live) -> APIRouter:
    """The two routes. They are described in docs/identity.md, and not in the OpenAPI document."""
    out = APIRouter(route_class=routes.PlainRoute)
    # What has no HTTP form is for the doors alone (token_verify, call_once).
    offered = {op.name: routes.handler(engine, op, counts) for op in engine.operations if op.http}

    async def operation_call(request: Request) -> Response:
        name = str(request.path_params["operation"])
        handle = offered.get(name)
        if handle is None:
            meant = near.did_you_mean(name, offered, "Did you mean {}?")
            return problems.response(errors.NotFound(f"There is no operation {errors.shorten(name, 60)}.", hint=meant))
        request.scope["path_params"] = {}  # the name of the operation is none of its arguments
        return await handle(request)

    async def notices(request: Request) -> Response:
        try:
            caller = auth.caller(request.scope[admission.PRINCIPAL], request.headers.get(routes.TENANT_HEADER))
            await engine.call(OPENS, {}, caller)
        except errors.SluiceError as error:
            return problems.response(error)
        return sse.EventStream(live, OPENS, caller, lambda reader: stream(engine, caller, reader))

    for path, method, operation, endpoint in (
        (OPERATIONS + "{operation}", "POST", routes.EACH, operation_call),
        (NOTICES, "GET", OPENS, notices),
    ):
        out.add_api_route(path, routes.stands_for(operation, endpoint), methods=[method], include_in_schema=False)
    return out


async def stream(engine: session.EngineSession, caller: principal.Caller, reader: sse.Reader) -> sse.Parts:
    """The notices that a caller may hear, as events with the data {kind, data}."""

    def select(topic: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        return ("", {"kind": topic, "data": data}) if topic in KINDS and "tenant" in data else None

    async with contextlib.aclosing(reader.parts(engine, caller, "notice", select)) as parts:
        async for part, _ in parts:
            yield part
