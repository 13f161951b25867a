"""One HTTP route per operation, read off the registry: request -> arguments -> engine -> answer."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import orjson
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from core import errors
from core.model import operation, principal
from mcp_server import session
from mcp_server.http import admission, arguments, auth, metrics, openapi, problems, replays, wording

TENANT_HEADER = "x-sluice-tenant"
PREFIX = "/api"
MEDIA_TYPE = "application/json"

_log = logging.getLogger(__name__)
_MOVING = frozenset({"accepted", "dispatched", "applying", "removing"})
_NOTHING: Mapping[str, str] = MappingProxyType({})
_HEADERS = {**problems.SAFE_HEADERS, "content-type": MEDIA_TYPE}

INVOKE = "POST /api/triggers/{slug}/invoke"
_INVOKE = re.compile("/api/triggers/([^/]+)/invoke").fullmatch

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

EACH = "*"
"""What an endpoint stands for that hands each request to the engine as the operation that it names."""
_OPERATION = "sluice_operation"


def stands_for(operation: str, endpoint: Handler) -> Handler:
    """Say which operation an endpoint is like: whoever may not call that one is refused by both."""
    setattr(endpoint, _OPERATION, operation)
    return endpoint


def account_for(table: Iterable[BaseRoute], operations: operation.Registry) -> None:
    """Raise LookupError for a route that stands for no operation: nobody could say who may use it.

    A route needs none when admission lets everyone in (`admission.is_open`).
    """
    for route in table:
        path = getattr(route, "path", "")
        name = getattr(getattr(route, "endpoint", None), _OPERATION, None)
        if not admission.is_open(path) and name != EACH and (name is None or name not in operations):
            raise LookupError(f"The route {path or repr(route)} stands for no operation ({name}).")


class PlainRoute(APIRoute):
    """A route whose endpoint takes the request itself: the operation's schema validates, not FastAPI's parameters."""

    def get_route_handler(self) -> Handler:
        return self.endpoint


def router(engine: session.EngineSession, counts: metrics.Metrics) -> APIRouter:
    """Every operation that has an HTTP form, the busiest first, since routes are tried in order."""
    out = APIRouter(prefix=PREFIX, route_class=PlainRoute)
    offered = [(op, path) for op in engine.operations for path in (op.http, *op.http_also) if path]
    words = wording.Wording(engine.operations)
    # A fixed segment goes before a placeholder: /triggers/publish must not be read as the trigger named "publish".
    offered.sort(key=lambda one: (one[0].name != "trigger_invoke", one[1].count("{"), one[0].name, one[1]))
    for op, http in offered:
        method, path = split(http)
        out.add_api_route(
            path,
            stands_for(op.name, handler(engine, op, counts, words)),
            methods=[method],
            name=op.name,
            operation_id=op.name if http == op.http else f"{op.name}_{'_'.join(openapi.placeholders(path))}",
            summary=op.summary,
            description=op.description,
            tags=[op.toolset],
            response_model=None,
            response_class=Response,
            status_code=201 if op.name.endswith(openapi.MAKES) else 200,  # as it is described; `status` decides
            responses={},
            openapi_extra=openapi.describe(op, method, path),
        )
    return out


class Direct:
    """The busiest operation ahead of the application: its path is known at sight, and nothing stands in between.

    Everything else goes on to `app`, which describes this route as well.
    """

    def __init__(self, app: admission.App, invoke: Handler) -> None:
        self._app = app
        self._invoke = invoke

    async def __call__(self, scope: admission.Scope, receive: admission.Receive, send: admission.Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            found = _INVOKE(scope["path"])
            if found is not None:
                scope["path_params"] = {"slug": found[1]}
                answer = await self._invoke(Request(scope, receive, send))
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def direct(app: admission.App, engine: session.EngineSession, counts: metrics.Metrics) -> admission.App:
    """The application with trigger_invoke ahead of it."""
    op = engine.operations.get("trigger_invoke")
    if op is None or op.http != INVOKE:
        return app
    return Direct(app, handler(engine, op, counts, wording.Wording(engine.operations)))


def split(http: str) -> tuple[str, str]:
    """The method and the path below /api of an operation's "METHOD /path"."""
    method, _, path = http.partition(" ")
    path = path.strip()
    return method.upper(), path.removeprefix(PREFIX)


def handler(
    engine: session.EngineSession,
    op: operation.Operation,
    counts: metrics.Metrics,
    words: wording.Wording | None = None,
) -> Handler:
    """The one generic handler, bound to an operation; without words, hints name operations as the engine does."""
    name, schema = op.name, op.schema
    takes_tenant = "tenant_id" in schema.get("properties", {})

    writes = op.effect is not operation.Effect.READ

    async def handle(request: Request) -> Response:
        started = counts.now()
        headers = request.headers
        try:
            raw = await request.body()
            body = arguments.from_body(raw, headers.get("content-type"), op.max_bytes) if raw else {}
            query = (
                arguments.from_query(request.query_params.multi_items(), schema)
                if request.scope["query_string"]
                else {}
            )
            given = arguments.merge(query, body, request.path_params)
            wish = headers.get(TENANT_HEADER)
            if wish is None and takes_tenant and isinstance(given.get("tenant_id"), str):
                wish = given["tenant_id"]
            caller = auth.caller(request.scope[admission.PRINCIPAL], wish, headers, member=False, client=host(request))
            own = writes and caller.member_of(caller.tenant)
            key = replays.key_of(op, headers.getlist(replays.HEADER), given) if own else None
            if key is None:
                result = await engine.call(name, given, caller)
                answer = success(result)
            else:
                answer = await _once(key, given, caller)
        except errors.SluiceError as error:
            answer = failure(error)
        except Exception:
            # The boundary: the log has the cause, the caller a code and no traceback.
            _log.exception("operation %s failed", name)
            answer = problems.response(errors.Internal())
        counts.count(name, answer.status_code, started)
        return answer

    async def _once(key: str, given: dict[str, Any], caller: principal.Caller) -> Response:
        said = await engine.call("call_once", {"operation": name, "key": key, "arguments": given}, caller)
        more = {replays.REPLAYED: "true"} if said["replayed"] else {}
        if "error" in said:
            return failure(errors.from_dict(said["error"]), more)
        return success(said["result"], more)

    def success(result: dict[str, Any], more: Mapping[str, str] = _NOTHING) -> Response:
        said = result if words is None else words.answer(result)
        return Response(orjson.dumps(said), status(op, result), {**_HEADERS, **more})

    def failure(error: errors.SluiceError, more: dict[str, str] | None = None) -> Response:
        return problems.response(error if words is None else words.fault(error), headers=more)

    return handle


def host(request: Request) -> str:
    """The address of the client: of the connection, or of whom a trusted proxy names."""
    return request.client.host if request.client else ""


def status(op: operation.Operation, result: dict[str, Any]) -> int:
    """200 done, 201 made something, 202 taken on but not at its end."""
    if op.effect is operation.Effect.READ:
        return 200
    if result.get("state") in _MOVING:
        return 202
    return 201 if op.name.endswith(openapi.MAKES) else 200
