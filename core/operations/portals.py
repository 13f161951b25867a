"""Portals: what they are, and how their items are installed, updated and uninstalled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import StringConstraints

from core.catalog.portal import Piece
from core.engine import Engine
from core.license import Feature
from core.model import results
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations.losses import counted
from core.operations.registry import ItemKind, Slug, Version, operation

PortalName = Annotated[str, StringConstraints(max_length=40)]


class CatalogPortals(Params):
    refresh: bool = False
    """Ask every portal now, instead of telling what was seen last."""


@operation(
    summary="List the portals, when each was read and what is wrong with it.",
    http="GET /api/portals",
    toolset="workflows",
    feature=Feature.PORTAL,
    open_world=True,
    role=Role.VIEWER,
    homeless=True,
)
async def catalog_portals(
    engine: Engine, caller: Caller, params: CatalogPortals
) -> results.Listing[results.catalog.Portal]:
    """List the shared catalogs that the setting `portals` names; one that fails says why and keeps its last offers."""
    if params.refresh:
        await engine.portals.refresh()
    else:
        await engine.portals.offers()
    found = engine.portals.states()
    return {"items": found, "next_cursor": None, "total": len(found)}


class CatalogInstall(Params):
    slug: Slug
    """The item, as catalog_search shows it."""
    type: ItemKind | None = None
    """Its type; needed when several types share the slug."""
    version: Version | None = None
    """The version; the newest when left out."""
    portal: PortalName | None = None
    """The portal; the first that has the item when left out."""


@operation(
    summary="Install an item of a portal.",
    http="POST /api/catalog/{slug}/install",
    toolset="workflows",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
    open_world=True,
    feature=Feature.PORTAL,
)
async def catalog_install(engine: Engine, caller: Caller, params: CatalogInstall) -> results.catalog.Installed:
    """Install an item and the modules it names, by exact version, all or nothing. Nothing runs by it.

    Each document must have the SHA-256 that the portal's index names, and be valid.
    """
    one, pieces = await engine.installer.install(caller, params.portal, params.slug, params.type, params.version)
    return _installed(pieces, one.ref)


class CatalogUpdate(Params):
    slug: Slug
    """The installed item."""
    type: ItemKind | None = None
    """Its type; needed when several types share the slug."""


@operation(
    summary="Install the newest version of an installed item.",
    http="POST /api/catalog/{slug}/update",
    toolset="workflows",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
    open_world=True,
    feature=Feature.PORTAL,
)
async def catalog_update(engine: Engine, caller: Caller, params: CatalogUpdate) -> results.catalog.Updated:
    """Install the newest version that the item's portal has, beside those that are there.

    What is deployed stays as it is until it is planned anew.
    """
    done = await engine.installer.update(caller, params.slug, params.type)
    one, new = done.item, done.version != done.item.version
    ref = f"{one.type.value}:{one.slug}@{done.version}" if new else None
    return {
        **_installed(done.pieces, ref),
        "slug": one.slug,
        "type": one.type,
        "from_version": one.version,
        "version": done.version,
    }


def _installed(pieces: Iterable[Piece], ref: str | None) -> results.catalog.Installed:
    """What came in; `ref` is the item that was asked for."""
    came: list[results.catalog.InstalledItem] = [
        {
            "type": piece.offer.type,
            "slug": piece.offer.slug,
            "version": piece.offer.version,
            "portal": piece.offer.portal,
            "sha256": piece.offer.item.sha256,
        }
        for piece in pieces
    ]
    return {"changed": bool(came), "installed": came, "ref": ref}


class CatalogUninstall(Params):
    slug: Slug
    """The installed item."""
    type: ItemKind | None = None
    """Its type; needed when several types share the slug."""
    version: Version | None = None
    """Only this version; all of them when left out."""


async def _item_goes(engine: Engine, caller: Caller, params: CatalogUninstall) -> Loss | None:
    one, gone = await engine.installer.leaving(caller.tenant, params.slug, params.type, params.version)
    versions = counted("version", (entry.version for entry in gone))
    return Loss(f"Of the installed {one.type.value} {one.slug} go {versions}.") if gone else None


@operation(
    summary="Remove an item that was installed from a portal.",
    http="DELETE /api/catalog/{slug}",
    toolset="workflows",
    effect=Effect.DESTRUCTIVE,
    destroys=_item_goes,
    offline=True,
    role=Role.ADMIN,
)
async def catalog_uninstall(engine: Engine, caller: Caller, params: CatalogUninstall) -> results.catalog.Uninstalled:
    """Remove an installed item. Refused while a deployment or another item uses it; the modules it brought stay."""
    one, gone, changed = await engine.installer.uninstall(caller, params.slug, params.type, params.version)
    return {
        "slug": one.slug,
        "type": one.type,
        "uninstalled": [entry.version for entry in gone],
        "changed": changed,
    }
