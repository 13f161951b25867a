"""Browsers: signing in to the console and out of it, and the way from / to it.

The cookie of a browser holds a token that was made for it: it ends, is withdrawn and is counted like every other one.
"""

from __future__ import annotations

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from core import errors
from core.model import principal
from mcp_server import session
from mcp_server.http import admission, auth, cookies, problems, routes

CREATE, END = "console_session_create", "console_session_end"
_KEYS = frozenset({"code", "token"})


def router(engine: session.EngineSession, authenticator: auth.Authenticator) -> APIRouter:
    """The routes of signing in and out, and the way from / to the console."""
    out = APIRouter(route_class=routes.PlainRoute)

    async def sign_in(request: Request) -> Response:
        """With the code of a link, or with an API key: {seconds}, and the cookie."""
        try:
            given = await _given(request)
            if "code" in given:
                made = await engine.call(CREATE, {"code": given["code"]}, principal.SYSTEM)
            else:
                identity = await authenticator.principal(f"Bearer {given['token']}", routes.host(request))
                # A session is for all tenants of its key; the call that makes it acts in one of them.
                named = next((one for one in identity.tenants if one != principal.EVERY_TENANT), None)
                made = await engine.call(CREATE, {}, auth.caller(identity, named, client=routes.host(request)))
        except errors.SluiceError as error:
            return problems.response(error)
        answer = Response(orjson.dumps({"seconds": made["seconds"]}), 201, problems.SAFE_HEADERS, "application/json")
        return _with_cookie(answer, request, str(made["token"]), int(made["seconds"]))

    async def sign_out(request: Request) -> Response:
        """The token of this browser is withdrawn, and its cookie goes."""
        try:
            tenant = request.headers.get(routes.TENANT_HEADER)
            caller = auth.caller(request.scope[admission.PRINCIPAL], tenant, member=False)
            ended = await engine.call(END, {}, caller)
        except errors.SluiceError as error:
            return problems.response(error)
        answer = Response(orjson.dumps(ended), 200, problems.SAFE_HEADERS, "application/json")
        return _with_cookie(answer, request, "", 0)

    async def home(request: Request) -> Response:
        return RedirectResponse("/console/", 302)

    add = out.add_api_route
    add("/", home, methods=["GET", "HEAD"], include_in_schema=False)
    if not {CREATE, END} <= {op.name for op in engine.operations}:
        return out
    add(admission.SIGN_IN, routes.stands_for(CREATE, sign_in), methods=["POST"], include_in_schema=False)
    add(admission.SIGN_OUT, routes.stands_for(END, sign_out), methods=["POST"], include_in_schema=False)
    return out


async def _given(request: Request) -> dict[str, str]:
    """{code} or {token}. Raises InvalidParams for anything else; JSON alone, which no form of another page can send."""
    fault = errors.InvalidParams(
        "Signing in takes {code} or {token}, as application/json.",
        hint="The code is behind # in a link of `sluice console`; the token is an API key.",
    )
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise fault
    try:
        given = orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        raise fault from None
    if not isinstance(given, dict) or len(given) != 1 or not given.keys() <= _KEYS:
        raise fault
    if not all(isinstance(value, str) and 0 < len(value) <= auth.MAX_TOKEN for value in given.values()):
        raise fault
    return given


def _with_cookie(answer: Response, request: Request, value: str, seconds: int) -> Response:
    cookies.leave(answer, request.scope, value, seconds)
    return answer
