"""An engine with one operation of each sort, behind the real HTTP application, for the tests of the HTTP door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx
from pydantic import Field

from core import errors
from core.model.operation import Effect, Params, Registry
from core.model.principal import Caller, Principal, Role
from mcp_server.http import app, auth
from mcp_server.session import Notice

REGISTRY = Registry()


class Inner(Params):
    mode: Literal["clone", "round-robin"] = "clone"


class Search(Params):
    query: str = ""
    limit: int = Field(default=25, ge=1, le=100)
    invokable_only: bool = False
    tags: list[str] | None = None
    share: float | None = None
    dispatch: Inner | None = None


class Thing(Params):
    slug: str = Field(max_length=64)
    """Which thing."""


class Invoke(Thing):
    params: dict[str, Any] | None = None
    tenant_id: str | None = None


class Token(Params):
    token: str


class Service:
    """The engine session of these tests."""

    def __init__(self) -> None:
        self.operations = REGISTRY
        self.state = "succeeded"
        self.calls = 0
        self.verified = 0
        self.now = 0.0
        self.callbacks: list[Notice] = []
        self.faults: dict[str, Exception] = {}
        self.tokens: dict[str, dict[str, Any]] = {
            "ada": {"username": "ada", "role": "admin", "tenants": ["default"], "platform": False},
            "two": {"username": "two", "role": "user", "tenants": ["a", "b"], "platform": False},
        }

    async def call(self, operation: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
        if not caller.member_of(caller.tenant):  # the door leaves it to the engine
            raise errors.NotFound(f"There is no tenant {caller.tenant}.")
        declared = REGISTRY[operation]
        params = declared.validate(arguments)
        if operation != "token_verify":
            self.calls += 1
        result: dict[str, Any] = await declared.handler(self, caller, params)
        return result

    def subscribe(self, callback: Notice) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def acting(self, caller: Caller) -> Caller:
        return caller

    async def aclose(self) -> None:
        """Nothing to close."""


@REGISTRY.operation(summary="List.", http="GET /api/things", toolset="things", role=Role.USER)
async def thing_list(engine: Service, caller: Caller, params: Search) -> dict[str, Any]:
    return {"items": [params.model_dump()], "tenant": caller.tenant, "user": caller.username}


@REGISTRY.operation(summary="Show.", http="GET /api/things/{slug}", toolset="things", role=Role.USER)
async def thing_get(engine: Service, caller: Caller, params: Thing) -> dict[str, Any]:
    if params.slug in engine.faults:
        raise engine.faults[params.slug]
    return {"slug": params.slug, "state": "dispatched"}


@REGISTRY.operation(
    summary="Publish.", http="POST /api/things/publish", toolset="things", effect=Effect.WRITE, role=Role.USER
)
async def thing_publish(engine: Service, caller: Caller, params: Thing) -> dict[str, Any]:
    return {"slug": params.slug, "revision": 1}


@REGISTRY.operation(
    summary="Run.", http="POST /api/things/{slug}/invoke", toolset="things", effect=Effect.WRITE, role=Role.USER
)
async def trigger_invoke(engine: Service, caller: Caller, params: Invoke) -> dict[str, Any]:
    return {"state": engine.state, "params": params.params or {}, "tenant": caller.tenant}


class Run(Params):
    invocation_id: str


@REGISTRY.operation(summary="Fetch.", http="GET /api/runs/{invocation_id}", toolset="things", role=Role.USER)
async def trigger_invocation_get(engine: Service, caller: Caller, params: Run) -> dict[str, Any]:
    if params.invocation_id in engine.faults:
        raise engine.faults[params.invocation_id]
    return {"invocation_id": params.invocation_id, "state": "dispatched"}


@REGISTRY.operation(summary="Who.", http="", toolset="things", tool=False, role=Role.USER)
async def token_verify(engine: Service, caller: Caller, params: Token) -> dict[str, Any]:
    engine.verified += 1
    if params.token not in engine.tokens:
        raise errors.Unauthenticated("This token is not valid.")
    return engine.tokens[params.token]


class Page(Params):
    limit: int = 25
    kind: str | None = None
    type: str | None = None
    tag: str | None = None
    job: str | None = None
    worker: str | None = None
    deployment: str | None = None
    state: str | None = None
    cursor: str | None = None


def _list(name: str, toolset: str) -> None:
    """An operation that has nothing to list, for the routes that stand for it."""

    async def nothing(engine: Service, caller: Caller, params: Page) -> dict[str, Any]:
        return {"items": [], "next_cursor": None, "total": 0}

    nothing.__name__ = name
    REGISTRY.operation(summary="List.", http="", toolset=toolset, role=Role.USER)(nothing)


for name, toolset in (
    ("message_search", "messages"),
    ("log_search", "deployments"),
    ("trigger_invocation_list", "triggers"),
    ("workload_list", "jobs"),
    ("job_metrics", "jobs"),
    ("whoami", "administration"),
):
    _list(name, toolset)


@asynccontextmanager
async def client(service: Service, *, token: str | None = "ada", **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, without a socket between them."""
    authenticator = options.pop("authenticator", None) or auth.TokenAuth(service, lambda: service.now)
    served = app.create(service, authenticator, **options)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    transport = httpx.ASGITransport(served, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3000", headers=headers) as made:
        yield made


OPERATOR = Principal("op", Role.ADMIN)
