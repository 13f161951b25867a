"""The context values of a tenant as the store has them."""

from __future__ import annotations

from core.contexts.layers import Layers
from core.store import contexts as table
from core.store.database import Database


async def layers_of(database: Database, tenant: str) -> Layers:
    """The contexts of a tenant as they are now."""
    return Layers.from_rows(await database.read(table.of_tenant, tenant))
