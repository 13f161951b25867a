"""Graphs as SVG: GET /api/catalog/{type}/{slug}/graph.svg, and /api/workflows/{slug}/graph.svg also for drafts."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from core import errors
from core.catalog import svg
from mcp_server import session
from mcp_server.http import arguments, auth, guard, problems, routes

MEDIA_TYPE = "image/svg+xml"
_HEADERS = {**problems.SAFE_HEADERS, "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
_log = logging.getLogger(__name__)


def router(engine: session.EngineSession) -> APIRouter:
    """The two routes of pictures; they answer what catalog_get and workflow_get know, drawn."""
    out = APIRouter()
    for path, name, tag in (
        ("/api/catalog/{type}/{slug}/graph.svg", "catalog_get", "catalog"),
        ("/api/workflows/{slug}/graph.svg", "workflow_get", "workflows"),
    ):
        out.add_api_route(
            path,
            _handler(engine, name),
            methods=["GET"],
            name=f"{name}_graph",
            operation_id=f"{name}_graph",
            summary="The graph as an SVG picture.",
            tags=[tag],
            response_model=None,
        )
    return out


def _handler(engine: session.EngineSession, name: str) -> Any:
    async def handle(request: Request) -> Response:
        try:
            schema = engine.operations[name].schema
            query = arguments.from_query(request.query_params.multi_items(), schema)
            caller = auth.caller(request.scope[guard.PRINCIPAL], request.headers.get(routes.TENANT_HEADER))
            item = await engine.call(name, arguments.merge(query, {}, request.path_params), caller)
            title = f"{item['type']} {item['slug']} {item['version'] or 'draft'}"
            drawn = await asyncio.to_thread(svg.svg, item["graph"], title)
        except arguments.Malformed as error:
            return problems.response(error, 400)
        except errors.SluiceError as error:
            return problems.response(error)
        except Exception:
            # The boundary: the log has the cause, the caller a code and no traceback.
            _log.exception("the picture of %s failed", name)
            return problems.response(errors.Internal())
        return Response(drawn, 200, _HEADERS, MEDIA_TYPE)

    return handle
