"""The catalog: find building blocks and look at one."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from core.catalog import graph, installing, items, picture, starting
from core.catalog.collection import Collection, key_of
from core.catalog.portal import Offer
from core.documents import canonical, dump
from core.engine import Engine
from core.license import Feature
from core.model.catalog import Graph, LibraryJob
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.model.states import DeploymentState
from core.operations.registry import Page, items_schema, offset_page, operation
from core.store import deployments as deployment_table

SHOWN_NODES = 200  # of a graph as text

Type = Literal["workflow", "perspective", "blueprint", "job"]
Slug = Annotated[str, StringConstraints(max_length=64)]
Version = Annotated[str, StringConstraints(max_length=64)] | Annotated[int, Field(ge=1, le=2**31)]


def drawn(model: Any) -> dict[str, Any]:
    """The graph of a document as nodes, edges and, when it is not too large to read, Mermaid text."""
    if model is None or isinstance(model, LibraryJob):
        return {"nodes": [], "edges": [], "mermaid": ""}
    shown = picture.picture(model)
    return {**shown, "mermaid": picture.mermaid(shown) if len(shown["nodes"]) <= SHOWN_NODES else ""}


class CatalogSearch(Page):
    query: str = Field(default="", max_length=200)
    """Words, or beginnings of words, in slugs, titles, summaries and tags; empty lists everything."""
    type: Type | None = None
    """Only items of this type."""
    source: Literal["local", "builtin", "portal"] | None = None
    """Only items from here; local includes builtin."""
    availability: Literal["installed", "portal-only", "update-available"] | None = None
    """Only items in this state."""
    tags: list[str] = Field(default_factory=list, max_length=20)
    """Only items that carry all of these tags."""


@operation(
    summary="Search the catalog.", http="GET /api/catalog", toolset="catalog", result=items_schema(), role=Role.USER
)
async def catalog_search(engine: Engine, caller: Caller, params: CatalogSearch) -> dict[str, Any]:
    """Find workflows, perspectives, blueprints and library jobs, best match first.

    catalog_get tells the next call for each: plan a deployment, make a draft, or install it from its portal.
    """
    if params.source == "portal":
        engine.licensing.current.require(Feature.PORTAL, "The portal")
    every = await engine.library.collection(caller.tenant)
    found = await asyncio.to_thread(
        every.search,
        params.query,
        type=params.type,
        source=params.source,
        availability=params.availability,
        tags=params.tags,
    )
    page = offset_page(found, params, lambda one: one.row())
    failed = [state for state in engine.portals.states() if state["error"] is not None]
    told = [{"name": one["name"], "state": one["state"], "message": one["error"]["message"]} for one in failed]
    return {**page, **({"portals": told} if told else {})}


class CatalogGet(Params):
    slug: Slug
    """The item."""
    type: Type | None = None
    """Its type; needed when several types share the slug."""
    version: Version | None = None
    """The version; the newest when left out."""
    detail: Literal["concise", "detailed"] = "concise"
    """`detailed` adds the document as text, its modules, and every item and deployment that uses it."""


@operation(summary="Show one item of the catalog.", http="GET /api/catalog/{slug}", toolset="catalog", role=Role.USER)
async def catalog_get(engine: Engine, caller: Caller, params: CatalogGet) -> dict[str, Any]:
    """Show an item: document, graph, the values that a deployment asks for, where it came from, related items.

    `next` is the call to go on with, with its arguments. An item of a portal can be looked at before it is installed.
    """
    every = await engine.library.collection(caller.tenant)
    one = _pick(every, params)
    if isinstance(one, Offer):
        model = (await engine.portals.piece(one)).model
        facts = {"author": model.author or one.item.author, "location": None, "sha256": one.item.sha256}
        entry = items.entry(model, "portal", "portal-only", portal=one.portal, provenance=facts)
    else:
        entry = one
    listed = every.find(one.type.value, one.slug) or one
    nexts = [starting.from_portal(one) if isinstance(one, Offer) else starting.here(entry)]
    if listed.update is not None:
        nexts.append(starting.from_portal(listed))
    told = {
        **one.row(),
        "next": nexts,  # what answers a caller who reads only the start comes first
        "wizard": items.wizard(entry),
        "slots": starting.slots(entry),
        "versions": [o.version for o in every.entries if key_of(o) == key_of(one)],
        "available_versions": [offer.version for offer in every.offered(listed)],
        "document": items.document(entry),
        "graph": drawn(entry.model),
        "provenance": _provenance(entry),
        "related": [_brief(relation, other) for relation, other in every.related(entry)],
    }
    return {**told, **await _more(engine, caller, every, entry)} if params.detail == "detailed" else told


def _pick(every: Collection, params: CatalogGet) -> items.Entry | Offer:
    """The item that is meant: what a search shows, or the version that is named, here or in the portal."""

    def fits(one: items.Listed) -> bool:
        return one.slug == params.slug and params.type in (None, one.type.value)

    shown = [one for one in every.listed if fits(one)]
    here = [one for one in every.entries if fits(one)]
    if params.version is None:
        pool: list[Any] = shown or here
    else:
        pool = [*here, *(offer for one in shown for offer in every.offered(one))]
    everything = [*every.entries, *every.offers]
    found: items.Entry | Offer = items.pick(pool or everything, params.slug, params.type, params.version)
    return found


def _provenance(entry: items.Entry) -> dict[str, Any]:
    """Where an item came from, in the same keys whatever its source."""
    known = entry.provenance
    builtin_author = "Sluice" if entry.source == "builtin" else ""
    return {
        "source": entry.source,
        "author": known.get("author") or entry.model.author or builtin_author,
        "sha256": known.get("sha256") or canonical.digest(items.document(entry)).removeprefix("sha256:"),
        "portal": entry.portal or None,
        "location": known.get("location"),
        "installed_at": known.get("installed_at"),
        "installed_by": known.get("installed_by"),
        "published_at": known.get("published_at"),
        "derived_from": known.get("derived_from"),
    }


def _brief(relation: str, one: items.Listed) -> dict[str, Any]:
    return {"relation": relation, **{name: value for name, value in one.row().items() if name != "summary"}}


async def _more(engine: Engine, caller: Caller, every: Collection, entry: items.Entry) -> dict[str, Any]:
    return {
        "text": dump.to_yaml(items.document(entry)),
        "modules": sorted(graph.references(entry.model)) if isinstance(entry.model, Graph) else [],
        "used_by": installing.users(every.entries, {entry.ref}),
        "deployments": await deployed(engine, caller, {entry.ref}),
    }


async def deployed(engine: Engine, caller: Caller, refs: set[str]) -> list[str]:
    """The deployments that were made of one of these references."""
    rows = await engine.database.read(deployment_table.all_rows, caller.tenant)
    return [row["name"] for row in rows if row["source"] in refs and row["state"] != DeploymentState.REMOVED]
