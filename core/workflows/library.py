"""Every tenant's own items and those it installed, kept at hand: versions never change, so they are parsed once."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from core import clock
from core.catalog import items
from core.catalog.portal import DOCUMENT_KINDS
from core.model.catalog import MODELS
from core.model.states import WorkflowState
from core.store import catalog as catalog_table
from core.store import workflows as table
from core.store.database import Database
from core.workflows import authoring

KEPT = 64  # tenants


class Library:
    """What `core.operations.catalog.entries` adds for a tenant. Use from one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tenants: dict[str, tuple[items.Entry, ...]] = {}
        self._changes = 0

    async def entries(self, tenant: str) -> tuple[items.Entry, ...]:
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
