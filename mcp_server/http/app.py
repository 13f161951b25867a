"""The HTTP application: the API under /api, /health, /ready, /metrics and MCP at /mcp, all behind admission."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core import accepting, errors, near
from core.model import scopes
from core.model.measure import Family
from core.model.operation import Registry
from core.model.principal import Caller
from core.readiness import Readiness
from mcp_server import live as registry
from mcp_server import session
from mcp_server.http import (
    admission,
    arriving,
    auth,
    browser,
    console,
    exposition,
    forwarded,
    metrics,
    oauth,
    openapi,
    pictures,
    problems,
    routes,
    sessions,
    signing_in,
    site,
    sockets,
    streams,
)


async def _always() -> Readiness:
    return Readiness()


def create(
    engine: session.EngineSession,
    authenticator: auth.Authenticator,
    *,
    hosts: Iterable[str] = (),
    origins: Iterable[str] = (),
    mcp: Starlette | None = None,
    rooms: Callable[[], Sequence[accepting.Room]] = tuple,
    trouble: Callable[[], Awaitable[str]] | None = None,
    readiness: Callable[[], Awaitable[Readiness]] = _always,
    live: registry.Live | None = None,
    connections: int = arriving.CONNECTIONS,
    proxies: forwarded.Proxies | None = None,
    shares: forwarded.Shares | None = None,
    meet: sockets.Meet | None = None,
    public_url: str = "",
    mcp_writes: bool = True,
    authorization_server: str = "",
) -> admission.Admission:
    """Build the ASGI application over an engine session. `rooms` are those whose connections /metrics counts.

    `mcp` is the Starlette application of the MCP server: its routes are added to ours and its lifespan runs in ours.
    `connections` is how many of them there may be, of which one user gets a share.
    `trouble` tells /health what keeps the engine from its work, `readiness` /ready whether it takes any now.
    `proxies` are believed about whose requests they hand on, and `shares` counts those.
    `meet` works with workers of other machines that come to this server; without it none do.
    `public_url` is by what others call it, and `mcp_writes` whether /mcp offers what changes something;
    `authorization_server` is where MCP hosts are let in, when that is elsewhere.
    `live` is the registry of long answers that both share. Raises LookupError for a route that stands for no operation.
    """
    counts = metrics.Metrics()
    live = registry.Live() if live is None else live
    engine = live.watched(engine)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            if mcp is not None:
                await stack.enter_async_context(mcp.router.lifespan_context(mcp))
            yield

    app = FastAPI(
        title="Sluice",
        summary="A control plane for data pipelines: plan, apply, reconcile, and triggers.",
        version=importlib.metadata.version("sluice-mcp"),
        openapi_url=None,  # made below, once
        docs_url=None,  # its page loads scripts from elsewhere; ours is in console.py
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers={HTTPException: _no_route, Exception: _fault},
    )
    # Streams come before the {placeholders} that would take their fixed segment.
    for part in (
        streams.router(engine, live),
        routes.router(engine, counts),
        pictures.router(engine),
        sessions.router(engine, counts, live),
        browser.router(engine, authenticator),
        signing_in.router(engine),
        oauth.router(engine, authenticator, public_url, authorization_server),
        console.router(),
        site.router(),
    ):
        app.router.routes.extend(part.routes)  # flat: an included router is searched anew for every request

    @app.api_route("/health", methods=["GET", "HEAD"], include_in_schema=False)
    async def health() -> Response:
        """Whether the engine can work; 503 says that it has to be started again, or what else somebody has to do."""
        found = await trouble() if trouble is not None else ""
        said = {"status": "trouble", "trouble": found} if found else {"status": "ok"}
        return Response(orjson.dumps(said), 503 if found else 200, media_type="application/json")

    @app.api_route("/ready", methods=["GET", "HEAD"], include_in_schema=False)
    async def ready() -> Response:
        """Whether work that comes now is accepted and done; 503 says what is lacking. It passes by itself."""
        found = await readiness()
        said = orjson.dumps(found.to_dict())
        return Response(said, 200 if found.ready else 503, problems.SAFE_HEADERS, "application/json")

    # Whoever can connect may ask for it as often as he likes: it is made once, and kept as bytes.
    @functools.cache
    def described() -> bytes:
        return orjson.dumps(app.openapi())

    @app.api_route("/api/openapi.json", methods=["GET", "HEAD"], include_in_schema=False)
    async def description() -> Response:
        return Response(described(), media_type=routes.MEDIA_TYPE)

    async def prometheus(request: Request) -> Response:
        """The jobs of the caller's tenant and, for those who operate the server, the counters of its requests."""
        try:
            caller = auth.caller(request.scope[admission.PRINCIPAL], request.headers.get(routes.TENANT_HEADER))
            jobs: list[dict[str, Any]] = []
            async for page in session.pages(lambda given: engine.call("job_metrics", given, caller), {"limit": 200}):
                jobs += page["items"]
            families = [counts.uptime()]
            if caller.owner or caller.principal.platform:
                families += counts.door(rooms(), live)
                families += await _of_engine(engine, caller)
            families += await _of_tenant(engine, caller)
            families += (*metrics.jobs(jobs, caller.tenant), *metrics.schedules(jobs, caller.tenant))
            families += metrics.letters(jobs, caller.tenant)
        except errors.SluiceError as error:
            return problems.response(error)
        kind = exposition.media_type(request.headers.get("accept", ""))
        return Response(exposition.render(families, kind), media_type=kind)

    app.add_api_route("/metrics", routes.stands_for("job_metrics", prometheus), include_in_schema=False)
    if mcp is not None:
        for route in mcp.routes:
            routes.stands_for(routes.EACH, getattr(route, "endpoint"))  # noqa: B009
            app.router.routes.append(route)
    routes.account_for(app.router.routes, engine.operations)
    _describe(app, engine.operations)
    return admission.Admission(
        routes.direct(app, engine, counts),
        authenticator,
        hosts=hosts,
        origins=origins,
        arriving=arriving.Arriving(connections),
        proxies=proxies,
        shares=shares,
        workers=None if meet is None else sockets.Workers(meet),
        challenge=oauth.challenge(public_url, writes=mcp_writes) if public_url else "",
    )


async def _of_engine(engine: session.EngineSession, caller: Caller) -> list[Family]:
    """The measures of the engine itself, for those who may know: an identity with scopes may not."""
    if engine.operations.get("engine_metrics") is None or not caller.administers_all or caller.principal.scopes:
        return []
    told = await engine.call("engine_metrics", {}, caller)
    return [Family.from_dict(one) for one in told["families"]]


async def _of_tenant(engine: session.EngineSession, caller: Caller) -> list[Family]:
    """What the engine measures of jobs and deployments, for those who may ask it."""
    known = engine.operations.get("tenant_metrics")
    if known is None or not scopes.permits(caller.principal.scopes, known, {}):
        return []
    told = await engine.call("tenant_metrics", {}, caller)
    return [Family.from_dict(one) for one in told["families"]]


def _describe(app: FastAPI, operations: Registry) -> None:
    """Complete FastAPI's own description with what it refers to."""
    made = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = {
                **made(),
                "components": openapi.components(op for op in operations if op.http),
                "security": [{"bearer": []}],
            }
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = _methods(request)
        fault: errors.SluiceError = errors.InvalidParams(
            f"This path does not take {errors.shorten(request.method, 20)}.", hint=f"It takes {allowed}."
        )
        return problems.response(fault, 405, {"allow": allowed})
    if error.status_code == 404:
        fault = errors.NotFound(
            f"There is nothing at {errors.shorten(request.url.path, 120)}.",
            hint=f"{_meant(request)}GET /api/openapi.json lists the paths.",
        )
        return problems.response(fault)
    return problems.response(errors.InvalidParams(str(error.detail)), error.status_code)


def _meant(request: Request) -> str:
    """The path without placeholders that is near to one that nothing is at."""
    paths = {route.path for route in request.app.router.routes if isinstance(route, Route) and "{" not in route.path}
    return near.did_you_mean(request.scope["path"][:120], paths, "Did you mean {}? ")


def _methods(request: Request) -> str:
    """Every method that the path of a request takes; Starlette tells those of the first route only."""
    routes = [route for route in request.app.router.routes if isinstance(route, Route)]
    path = request.scope["path"]
    form = next((_form(route) for route in routes if route.path_regex.match(path)), "")
    return ", ".join(sorted({method for route in routes if _form(route) == form for method in route.methods or ()}))


def _form(route: Route) -> str:
    """The path of a route without the names of its placeholders."""
    return re.sub(r"\{\w+\}", "{}", route.path)


async def _fault(request: Request, error: Exception) -> Response:
    return problems.response(errors.Internal())
