"""The ways of a browser to the provider and back, and of the provider to us: cookies and redirects alone.

What is proven, and what a session may, is the engine's (core/identity/signing_in.py).
"""

from __future__ import annotations

from urllib.parse import parse_qsl

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from core import errors
from core.model import principal
from mcp_server import session
from mcp_server.http import admission, arguments, cookies, pages, problems, routes

BEGIN, COMPLETE, END, METHODS = "login_begin", "login_complete", "login_end", "login_methods"
DEVICE, POLL = "login_device_begin", "login_device_poll"
_KEPT = "-login"  # after the name of the cookie of a session: what a browser keeps on its way
_MOST_QUERY = 8192
_FORM = "application/x-www-form-urlencoded"


def router(engine: session.EngineSession) -> APIRouter:
    """The routes below /api/login."""
    out = APIRouter(route_class=routes.PlainRoute)

    async def begin(request: Request) -> Response:
        try:
            made = await engine.call(BEGIN, {"place": request.query_params.get("to", "/console/")}, principal.SYSTEM)
        except errors.SluiceError as error:
            return pages.fault(error, "Signing in does not work now")
        answer = RedirectResponse(str(made["url"]), 302, problems.SAFE_HEADERS)
        return _with_transaction(answer, request, str(made["transaction"]), int(made["seconds"]))

    async def callback(request: Request) -> Response:
        kept = request.cookies.get(cookies.name_of(request.scope) + _KEPT, "")
        try:
            given = {"query": _query(request), "transaction": kept}
            made = await engine.call(COMPLETE, given, principal.SYSTEM)
        except errors.SluiceError as error:
            answer = pages.fault(error, "You are not signed in")
        else:
            answer = RedirectResponse(str(made["place"]), 302, problems.SAFE_HEADERS)
            # Lax: a strict cookie would be left out when the provider's page has led here.
            cookies.leave(answer, request.scope, str(made["token"]), int(made["seconds"]), "lax")
        return _with_transaction(answer, request, "", 0)

    async def log_out(request: Request) -> Response:
        """Back-channel logout (OpenID Connect Back-Channel Logout 1.0, 2.5)."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
            return problems.response(errors.InvalidParams("A logout token comes as a form."), 400)
        given = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), max_num_fields=20))
        try:
            ended = await engine.call(END, {"logout_token": given.get("logout_token", "")}, principal.SYSTEM)
        except errors.SluiceError as error:
            refused = isinstance(error, errors.Unauthenticated | errors.InvalidParams)
            return problems.response(error, 400 if refused else None)
        return Response(orjson.dumps(ended), 200, problems.SAFE_HEADERS, "application/json")

    async def methods(request: Request) -> Response:
        try:
            found = await engine.call(METHODS, {}, principal.SYSTEM)
        except errors.SluiceError as error:
            return problems.response(error)
        return Response(orjson.dumps(found), 200, problems.SAFE_HEADERS, "application/json")

    async def device(request: Request) -> Response:
        return await _device(request, DEVICE)

    async def poll(request: Request) -> Response:
        return await _device(request, POLL)

    async def _device(request: Request, operation: str) -> Response:
        """The two calls of a program that has no credential yet, as JSON."""
        try:
            body = arguments.from_body(await request.body(), request.headers.get("content-type"), _MOST_QUERY)
            made = await engine.call(operation, body, principal.SYSTEM)
        except errors.SluiceError as error:
            return problems.response(error)
        return Response(orjson.dumps(made), 200, problems.SAFE_HEADERS, "application/json")

    if not {BEGIN, COMPLETE, END, METHODS, DEVICE, POLL} <= {op.name for op in engine.operations}:
        return out
    add = out.add_api_route
    add(admission.LOGIN, routes.stands_for(BEGIN, begin), methods=["GET"], include_in_schema=False)
    add(admission.LOGIN_CALLBACK, routes.stands_for(COMPLETE, callback), methods=["GET"], include_in_schema=False)
    add(admission.LOGIN_END, routes.stands_for(END, log_out), methods=["POST"], include_in_schema=False)
    add(admission.LOGIN_METHODS, routes.stands_for(METHODS, methods), methods=["GET"], include_in_schema=False)
    add(admission.LOGIN_DEVICE, routes.stands_for(DEVICE, device), methods=["POST"], include_in_schema=False)
    add(admission.LOGIN_DEVICE_POLL, routes.stands_for(POLL, poll), methods=["POST"], include_in_schema=False)
    return out


def _query(request: Request) -> dict[str, str]:
    """What the provider has the browser bring. Raises InvalidParams for a key that comes twice, or too much."""
    pairs = request.query_params.multi_items()
    found = dict(pairs)
    if len(found) != len(pairs) or len(request.url.query) > _MOST_QUERY:
        raise errors.InvalidParams("The answer of the provider is not one.", hint="Sign in again.")
    return found


def _with_transaction(answer: Response, request: Request, value: str, seconds: int) -> Response:
    name = cookies.name_of(request.scope) + _KEPT
    cookies.leave(answer, request.scope, value, seconds, "lax", name)
    return answer
