"""The catalog: find building blocks and look at one."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from core.catalog import builtin, items, picture
from core.engine import Engine
from core.model.catalog import LibraryJob
from core.model.operation import Params
from core.model.principal import Caller
from core.operations.registry import Page, items_schema, offset_page, operation

SHOWN_NODES = 200  # of a graph as text

Type = Literal["workflow", "perspective", "blueprint", "job"]


async def entries(engine: Engine, caller: Caller) -> list[items.Entry]:
    """Everything that a caller sees in the catalog, in every version: what comes with Sluice and the tenant's own."""
    own = await engine.library.entries(caller.tenant)
    # What a newer Sluice brings under a slug that a tenant already has does not change what the tenant deployed.
    taken = {(one.type, one.slug) for one in own}
    return [*(one for one in builtin.load() if (one.type, one.slug) not in taken), *own]


def drawn(model: Any) -> dict[str, Any]:
    """The graph of a document as nodes, edges and, when it is not too large to read, Mermaid text."""
    if model is None or isinstance(model, LibraryJob):
        return {"nodes": [], "edges": [], "mermaid": ""}
    graph = picture.picture(model)
    return {**graph, "mermaid": picture.mermaid(graph) if len(graph["nodes"]) <= SHOWN_NODES else ""}


class CatalogSearch(Page):
    query: str = Field(default="", max_length=200)
    """Words to look for in slugs, titles, summaries and tags; empty lists everything."""
    type: Type | None = None
    """Only items of this type."""
    source: Literal["local", "builtin", "portal"] | None = None
    """Only items from here; local includes builtin."""
    availability: Literal["installed", "portal-only", "update-available"] | None = None
    """Only items in this state."""
    tags: list[str] = Field(default_factory=list, max_length=20)
    """Only items that carry all of these tags."""


@operation(summary="Search the catalog.", http="GET /api/catalog", toolset="catalog", result=items_schema())
async def catalog_search(engine: Engine, caller: Caller, params: CatalogSearch) -> dict[str, Any]:
    """Find workflows, perspectives, blueprints and library jobs, best match first.

    Workflows and blueprints can be deployed: plan one with deployment_plan(source="workflow:SLUG@VERSION").
    """
    found = items.search(
        await entries(engine, caller),
        params.query,
        type=params.type,
        source=params.source,
        availability=params.availability,
        tags=params.tags,
    )
    return offset_page([one.row() for one in found], params)


class CatalogGet(Params):
    slug: str = Field(max_length=64)
    """The item."""
    type: Type | None = None
    """Its type; needed when several types share the slug."""
    version: str | int | None = None
    """The version; the newest when left out."""


@operation(summary="Show one item of the catalog.", http="GET /api/catalog/{slug}", toolset="catalog")
async def catalog_get(engine: Engine, caller: Caller, params: CatalogGet) -> dict[str, Any]:
    """Show an item: its document, its graph, the values that a deployment of it asks for, and related items."""
    every = await entries(engine, caller)
    one = items.pick(every, params.slug, params.type, params.version)
    return {
        **one.row(),
        "versions": [o.version for o in every if (o.type, o.slug) == (one.type, one.slug)],
        "document": items.document(one),
        "graph": drawn(one.model),
        "wizard": items.wizard(one),
        "related": [{k: v for k, v in o.row().items() if k != "summary"} for o in items.related(every, one)],
    }
