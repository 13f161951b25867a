"""A small engine for the tests of the MCP door: a few operations, triggers that can be published, notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from pydantic import Field

from core import errors
from core.model.operation import Effect, Params, Registry
from core.model.principal import Caller, Principal, Role, Surface
from mcp_server.session import Notice, Options
from tests import waiting

REGISTRY = Registry()
CALLER = Caller(Principal("ada", Role.ADMIN), surface=Surface.MCP)


class Nothing(Params):
    pass


class Search(Params):
    query: str = ""
    """Words to look for."""
    limit: int = 25
    """How many rows."""


class Apply(Params):
    plan_id: str
    """The plan to apply."""
    wait_seconds: float = 0
    """How long to wait."""


class Invoke(Params):
    slug: str
    params: dict[str, Any] = Field(default_factory=dict)
    idempotency_key: str | None = None
    wait_timeout_seconds: int = 15


class Get(Params):
    invocation_id: str


class Slug(Params):
    slug: str


class Known(Params):
    known_version: int | None = None


class Planned(TypedDict):
    plan_id: str | None


@REGISTRY.operation(summary="Search the catalog.", http="GET /api/catalog", toolset="catalog", role=Role.USER)
async def catalog_search(engine: Any, caller: Caller, params: Search) -> dict[str, Any]:
    rows = [{"slug": f"item-{n}", "title": "x" * engine.title_size} for n in range(min(params.limit, 1000))]
    return {"items": rows, "next_cursor": None, "total": len(rows)}


@REGISTRY.operation(
    summary="Compute a plan.",
    http="POST /api/plan",
    toolset="deployments",
    effect=Effect.WRITE,
    gated=False,
    outline=("plan_id",),
    role=Role.USER,
)
async def deployment_plan(engine: Any, caller: Caller, params: Search) -> Planned:
    if params.query == "missing":
        raise errors.NotFound("There is no workflow missing.", hint="catalog_search lists them.")
    return {"plan_id": "p1" if caller.allow_write else None, "saved": caller.allow_write, "text": "1 to create"}


async def _nothing_goes(engine: Any, caller: Caller, params: Apply) -> None:
    return None


@REGISTRY.operation(
    summary="Apply a plan.",
    http="POST /api/apply",
    toolset="deployments",
    effect=Effect.DESTRUCTIVE,
    destroys=_nothing_goes,
    role=Role.ADMIN,
)
async def deployment_apply(engine: Any, caller: Caller, params: Apply) -> dict[str, Any]:
    await waiting.pause(params.wait_seconds)  # as slow as it was asked to be
    return {"deployment": "d", "state": "running"}


@REGISTRY.operation(
    summary="Save a job.", http="PUT /api/jobs", toolset="jobs", effect=Effect.WRITE, idempotent=True, role=Role.USER
)
async def job_put(engine: Any, caller: Caller, params: Search) -> dict[str, Any]:
    raise RuntimeError("a bug")


@REGISTRY.operation(summary="Explain a thing.", http="GET /api/explain", toolset="session", role=Role.USER)
async def explain(engine: Any, caller: Caller, params: Nothing) -> dict[str, Any]:
    return {"state": "running", "because": []}


@REGISTRY.operation(
    summary="Read an invocation.", http="GET /api/trigger-invocations/{id}", toolset="triggers", role=Role.USER
)
async def trigger_invocation_get(engine: Any, caller: Caller, params: Get) -> dict[str, Any]:
    if params.invocation_id not in engine.invocations:
        raise errors.NotFound(f"There is no invocation {params.invocation_id}.")
    return engine.invocations[params.invocation_id]


@REGISTRY.operation(summary="Show one.", http="", toolset="triggers", tool=False, role=Role.USER)
async def trigger_get(engine: Any, caller: Caller, params: Slug) -> dict[str, Any]:
    if engine.triggers.get(params.slug, ("", {}))[0] != caller.tenant:
        raise errors.NotFound(f"There is no trigger {params.slug}.")
    return {"slug": params.slug, "active": True, "publication": {"mcp": True}}


@REGISTRY.operation(
    summary="Run any trigger by its slug.",
    http="POST /api/invoke",
    toolset="triggers",
    effect=Effect.WRITE,
    role=Role.USER,
)
async def trigger_invoke(engine: Any, caller: Caller, params: Invoke) -> dict[str, Any]:
    if "bad" in params.params:
        raise errors.InvalidParams("No.", errors=[errors.Problem("/params/bad", "is not allowed")])
    record = {"invocation_id": f"inv_{len(engine.invocations) + 1}", "state": "succeeded", "result": params.params}
    engine.invocations[record["invocation_id"]] = record
    engine.notify("invocation", {"invocation_id": record["invocation_id"], "state": "succeeded"})
    return record


@REGISTRY.operation(summary="Internal.", http="", toolset="triggers", tool=False, role=Role.USER)
async def trigger_tools(engine: Any, caller: Caller, params: Known) -> dict[str, Any]:
    engine.lists += 1
    if params.known_version == engine.version:
        return {"version": engine.version, "tools": None}
    own = [tool for tenant, tool in engine.triggers.values() if tenant == caller.tenant]
    return {"version": engine.version, "tools": own}


class FakeSession:
    """An engine session in memory."""

    def __init__(self) -> None:
        self.operations = REGISTRY
        self.version = 1
        self.lists = 0
        self.title_size = 10
        self.triggers: dict[str, tuple[str, dict[str, Any]]] = {}
        self.invocations: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, Caller]] = []
        self.callbacks: list[Notice] = []
        self.closed = False

    async def call(self, operation: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
        declared = REGISTRY[operation]
        self.calls.append((operation, caller))
        params = declared.validate(arguments)
        if declared.effect is not Effect.READ and declared.gated and not caller.allow_write:
            raise errors.WriteDisabled
        result: dict[str, Any] = await declared.handler(self, caller, params)
        return result

    def subscribe(self, callback: Notice) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def notify(self, topic: str, data: dict[str, Any]) -> None:
        for callback in list(self.callbacks):
            callback(topic, data)

    def publish(self, slug: str, tenant: str = "default", **more: Any) -> None:
        """Publish a trigger and tell whoever listens."""
        self.triggers[slug] = (tenant, trigger(slug, **more))
        self.version += 1
        self.notify("registry", {"tenant": tenant, "version": self.version})

    def acting(self, caller: Caller) -> Caller:
        return caller

    async def aclose(self) -> None:
        self.closed = True


def trigger(slug: str, description: str = "", **schema: Any) -> dict[str, Any]:
    """One entry of trigger_tools."""
    return {
        "name": f"trigger_invoke_{slug}",
        "title": slug.title(),
        "description": description or f"Run {slug}.",
        "slug": slug,
        "input_schema": {
            "type": "object",
            "properties": {
                "value": {"type": "string"},
                "_idempotency_key": {"type": "string"},
                "_wait_timeout_seconds": {"type": "integer", "default": 15, "maximum": 300},
                **schema,
            },
            "additionalProperties": False,
        },
        "output_schema": None,
        "annotations": {"read_only": False, "destructive": False, "idempotent": True, "open_world": True},
    }


def options(**more: Any) -> Options:
    return Options(caller=CALLER, **more)
