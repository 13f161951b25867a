"""The published items of every tenant, kept at hand: versions never change, so they are read and parsed once."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from core.catalog import items
from core.model.states import WorkflowState
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
        """Every published and retired version of a tenant."""
        known = self._tenants.get(tenant)
        if known is None:
            before = self._changes
            rows = await self._database.read(table.published, tenant)
            known = await asyncio.to_thread(lambda: tuple(map(entry, rows))) if rows else ()
            if before == self._changes:  # nothing was published while it was read
                while len(self._tenants) >= KEPT:
                    del self._tenants[next(iter(self._tenants))]
                self._tenants[tenant] = known
        return known

    def forget(self, tenant: str) -> None:
        """Read a tenant's items afresh, for something was published or retired."""
        self._changes += 1
        self._tenants.pop(tenant, None)


def entry(row: dict[str, Any]) -> items.Entry:
    """A published row as the catalog shows it."""
    model = authoring.KINDS[row["kind"]].model_validate(orjson.loads(row["document"]))
    retired = row["state"] == WorkflowState.RETIRED
    return items.entry(model, "local", items.RETIRED if retired else "installed")
