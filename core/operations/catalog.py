"""The catalog: find building blocks and look at one."""

from __future__ import annotations

import asyncio
from typing import Literal

from pydantic import Field

from core.catalog import description, installing, items
from core.catalog.portal import Offer
from core.engine import Engine
from core.license import Feature
from core.model import results
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import LISTED, MAX_PAGE, ItemKind, Page, Slug, Version, offset_page, operation
from core.store import deployments

SEARCHED = 12  # rows of a page that is whole as text, too


class CatalogSearch(Page):
    query: str = Field(default="", max_length=200)
    """What is looked for, in words; empty lists everything."""
    type: ItemKind | None = None
    """Of this type."""
    source: Literal["local", "builtin", "portal"] | None = None
    """From here; local includes builtin."""
    availability: Literal["installed", "portal-only", "update-available"] | None = None
    """In this state."""
    tags: list[str] = Field(default_factory=list, max_length=20)
    """With all of these tags."""
    limit: int = Field(default=SEARCHED, ge=1, le=MAX_PAGE)
    """Rows a page."""


@operation(
    summary="Search the catalog.",
    http="GET /api/catalog",
    toolset="catalog",
    outline=LISTED,
    role=Role.VIEWER,
    homeless=True,
)
async def catalog_search(engine: Engine, caller: Caller, params: CatalogSearch) -> results.catalog.CatalogList:
    """Find workflows, perspectives, blueprints and library jobs, best match first; when none has all words, those that
    have most (`lacks`). `asks`: what a deployment asks for (?: optional).

    catalog_get tells the next call for each.
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
    page = offset_page(found.items, params, found.row)
    answer: results.catalog.CatalogList = {
        "total": page["total"],
        "next_cursor": page["next_cursor"],
        "facets": found.facets(),
        "items": page["items"],
    }
    if found.lacks:
        answer["note"] = "No item has all of these words; these have most of them."
    if faults := [
        results.catalog.PortalFault(name=state["name"], state=state["state"], message=state["error"]["message"])
        for state in engine.portals.states()
        if state["error"] is not None
    ]:
        answer["portals"] = faults
    return answer


class CatalogGet(Params):
    slug: Slug
    """The item."""
    type: ItemKind | None = None
    """Its type; needed when several types share the slug."""
    version: Version | None = None
    """The version; the newest when left out."""
    detail: Literal["concise", "detailed"] = "concise"
    """`detailed` adds the document, the graph, what the fields mean, provenance, and all that uses it."""


@operation(
    summary="Show one item of the catalog.",
    http="GET /api/catalog/{slug}",
    toolset="catalog",
    role=Role.VIEWER,
    homeless=True,
)
async def catalog_get(engine: Engine, caller: Caller, params: CatalogGet) -> results.catalog.CatalogShown:
    """Show an item: the values that a deployment asks for, what may fill its slots, related items.

    `next` is the call to go on with, with its arguments.
    """
    every = await engine.library.collection(caller.tenant)
    one = every.pick(params.slug, params.type, params.version)
    if isinstance(one, Offer):
        model = (await engine.portals.piece(one)).model
        facts = {"author": model.author or one.item.author, "location": None, "sha256": one.item.sha256}
        offered = items.entry(model, "portal", "portal-only", portal=one.portal, provenance=facts)
        entry = every.counted(offered)
    else:
        entry = one
    if params.detail == "concise":
        return await asyncio.to_thread(description.concise, every, one, entry)
    answer = await asyncio.to_thread(description.detailed, every, one, entry)
    answer["used_by"] = installing.users(every.entries, {entry.ref})
    answer["deployments"] = await engine.database.read(deployments.made_of, caller.tenant, {entry.ref})
    return answer
