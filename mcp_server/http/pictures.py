"""Graphs as SVG: GET /api/catalog/{type}/{slug}/graph.svg, and /api/workflows/{slug}/graph.svg also for drafts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from core import errors
from core.catalog import svg
from core.model import operation
from mcp_server import session
from mcp_server.http import admission, arguments, auth, openapi, problems, routes

MEDIA_TYPE = "image/svg+xml"
PATHS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("catalog_get", "/api/catalog/{type}/{slug}/graph.svg", {"detail": "detailed"}),
    ("workflow_get", "/api/workflows/{slug}/graph.svg", {}),
)
"""Each operation with its route, and the arguments with which it answers with the graph."""
_HEADERS = {**problems.SAFE_HEADERS, "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
_log = logging.getLogger(__name__)


def router(engine: session.EngineSession) -> APIRouter:
    """The routes of pictures; they draw the graph that an operation answers with, and take its arguments."""
    out = APIRouter(route_class=routes.PlainRoute)
    for name, path, fixed in PATHS:
        op = engine.operations.get(name)
        if op is None:
            continue
        about = openapi.describe(op, "GET", path)
        about["responses"]["200"] = {"description": "The picture.", "content": {MEDIA_TYPE: {}}}
        out.add_api_route(
            path,
            routes.stands_for(op.name, _handler(engine, op, fixed)),
            methods=["GET"],
            name=f"{name}_graph",
            operation_id=f"{name}_graph",
            summary="Draw the graph as an SVG picture.",
            tags=[op.toolset],
            response_model=None,
            response_class=Response,
            responses={},
            openapi_extra=about,
        )
    return out


def _handler(engine: session.EngineSession, op: operation.Operation, fixed: Mapping[str, str]) -> routes.Handler:
    async def handle(request: Request) -> Response:
        try:
            query = arguments.from_query(request.query_params.multi_items(), op.schema)
            caller = auth.caller(request.scope[admission.PRINCIPAL], request.headers.get(routes.TENANT_HEADER))
            item = await engine.call(op.name, {**arguments.merge(query, {}, request.path_params), **fixed}, caller)
            title = f"{item['type']} {item['slug']} {item['version'] or 'draft'}"
            drawn = await asyncio.to_thread(svg.svg, item["graph"], title)
        except errors.SluiceError as error:
            return problems.response(error)
        except Exception:
            # The boundary: the log has the cause, the caller a code and no traceback.
            _log.exception("the picture of %s failed", op.name)
            return problems.response(errors.Internal())
        return Response(drawn, 200, _HEADERS, MEDIA_TYPE)

    return handle
