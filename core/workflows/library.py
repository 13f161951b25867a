"""What a tenant finds in the catalog. Its own items and those it installed are kept at hand: versions never change, so
they are parsed once."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from core import clock
from core.catalog import builtin, items
from core.catalog.collection import Collection, Collections
from core.catalog.portal import DOCUMENT_KINDS, Offer
from core.catalog.portals import Portals
from core.license import Feature
from core.licensing import Licensing
from core.model.catalog import MODELS
from core.model.states import WorkflowState
from core.store import catalog as catalog_table
from core.store import workflows as table
from core.store.database import Database
from core.workflows import authoring, modules

KEPT = 64  # tenants


class Library:
    """The catalogs of the tenants of one engine. Use from one event loop."""

    def __init__(self, database: Database, portals: Portals, licensing: Licensing) -> None:
        self._database = database
        self._portals = portals
        self._licensing = licensing
        self._collections = Collections()
        self._tenants: dict[str, tuple[items.Entry, ...]] = {}
        self._changes = 0

    async def visible(self, tenant: str) -> list[items.Entry]:
        """Every item that is here, in every version: what comes with Sluice, the tenant's own, and what it installed.

        What a newer Sluice brings under a slug that a tenant already has does not change what the tenant deployed.
        """
        own = await self.own(tenant)
        taken = {(one.type, one.slug) for one in own}
        return [*(one for one in builtin.load() if (one.type, one.slug) not in taken), *own]

    async def modules(self, tenant: str) -> modules.Modules:
        """What a document of a tenant may name."""
        return modules.of(await self.visible(tenant))

    async def collection(self, tenant: str) -> Collection:
        """What is here, and what portals offer when the license allows them, ready to be searched."""
        offers: tuple[Offer, ...] = ()
        if self._licensing.allows(Feature.PORTAL):
            offers = await self._portals.offers()
        return await self._collections.of(tenant, await self.visible(tenant), await self.own(tenant), offers)

    async def own(self, tenant: str) -> tuple[items.Entry, ...]:
        """Every version that a tenant has published, retired or installed."""
        known = self._tenants.get(tenant)
        if known is None:
            before = self._changes
            known = await asyncio.to_thread(_parsed, *await self._database.read(_rows, tenant))
            if before == self._changes:  # nothing was published while it was read
                while len(self._tenants) >= KEPT:
                    del self._tenants[next(iter(self._tenants))]
                self._tenants[tenant] = known
        return known

    def forget(self, tenant: str) -> None:
        """Read a tenant's items afresh, for something was published, retired, installed or uninstalled."""
        self._changes += 1
        self._tenants.pop(tenant, None)


def _rows(db: Any, tenant: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return table.published(db, tenant), catalog_table.installed(db, tenant)


def _parsed(published: list[dict[str, Any]], installed: list[dict[str, Any]]) -> tuple[items.Entry, ...]:
    return (*map(entry, published), *map(installed_entry, installed))


def entry(row: dict[str, Any]) -> items.Entry:
    """A published row as the catalog shows it."""
    model = authoring.KINDS[row["kind"]].model_validate(orjson.loads(row["document"]))
    retired = row["state"] == WorkflowState.RETIRED
    provenance = {
        "author": model.author or row["updated_by"],
        "published_at": clock.iso(row["published_at_ns"]),
        "derived_from": row["derived_from"] or None,
    }
    return items.entry(model, "local", items.RETIRED if retired else "installed", provenance=provenance)


def installed_entry(row: dict[str, Any]) -> items.Entry:
    """An installed row as the catalog shows it."""
    model = MODELS[DOCUMENT_KINDS[row["type"]]].model_validate(orjson.loads(row["document"]))
    provenance = {
        "author": row["author"],
        "location": row["location"],
        "sha256": row["sha256"],
        "installed_at": clock.iso(row["installed_at_ns"]),
        "installed_by": row["installed_by"],
    }
    return items.entry(model, "portal", portal=row["portal"], provenance=provenance)
