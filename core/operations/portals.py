"""Portals: what they are, and how their items are installed, updated and uninstalled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import orjson
from pydantic import StringConstraints

from core import errors
from core.catalog import installing, items
from core.catalog.items import Entry
from core.catalog.portal import Offer, Piece
from core.engine import Engine
from core.license import Feature
from core.model.catalog import LibraryJob
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations import catalog
from core.operations.catalog import Slug, Type, Version
from core.operations.losses import counted
from core.operations.registry import operation
from core.store import audit
from core.store import catalog as table
from core.workflows import check, modules

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
    role=Role.USER,
)
async def catalog_portals(engine: Engine, caller: Caller, params: CatalogPortals) -> dict[str, Any]:
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
    type: Type | None = None
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
async def catalog_install(engine: Engine, caller: Caller, params: CatalogInstall) -> dict[str, Any]:
    """Install an item and the modules it names, by exact version, all or nothing. Nothing runs by it.

    Each document must have the SHA-256 that the portal's index names, and be valid.
    """
    fitting, offered = await _offered(engine, params.portal, params.slug, params.type)
    return await _install(engine, caller, [_choose(fitting, params)], offered, "catalog_install")


class CatalogUpdate(Params):
    slug: Slug
    """The installed item."""
    type: Type | None = None
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
async def catalog_update(engine: Engine, caller: Caller, params: CatalogUpdate) -> dict[str, Any]:
    """Install the newest version that the item's portal has, beside those that are there.

    What is deployed stays as it is until it is planned anew.
    """
    mine = _installed(await engine.library.own(caller.tenant), params.slug, params.type)
    offered = await engine.portals.of(mine.portal)
    same = [offer for offer in offered if (offer.type, offer.slug) == (mine.type, mine.slug)]
    if not same:
        raise errors.NotFound(
            f"The portal {mine.portal} does not have {mine.type.value} {mine.slug} any more.",
            hint="What is installed stays; catalog_uninstall removes it.",
        )
    newest = installing.newest(same)
    ahead = items.version_key(newest.version) > items.version_key(mine.version)
    done = await _install(engine, caller, [newest] if ahead else [], offered, "catalog_update")
    target = newest.version if ahead else mine.version
    return {**done, "slug": mine.slug, "type": mine.type.value, "from_version": mine.version, "version": target}


class CatalogUninstall(Params):
    slug: Slug
    """The installed item."""
    type: Type | None = None
    """Its type; needed when several types share the slug."""
    version: Version | None = None
    """Only this version; all of them when left out."""


async def _item_goes(engine: Engine, caller: Caller, params: CatalogUninstall) -> Loss | None:
    one, gone = _going(await engine.library.own(caller.tenant), params)
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
async def catalog_uninstall(engine: Engine, caller: Caller, params: CatalogUninstall) -> dict[str, Any]:
    """Remove an installed item. Refused while a deployment or another item uses it; the modules it brought stay."""
    every = await engine.library.own(caller.tenant)
    one, gone = _going(every, params)
    if not gone:
        there = ", ".join(str(e.version) for e in every if (e.type, e.slug) == (one.type, one.slug))
        raise errors.NotFound(
            f"Version {errors.shorten(str(params.version), 40)} of {one.type.value} {one.slug} is not installed.",
            hint=f"Installed: {there}.",
        )
    refs = {entry.ref for entry in gone}
    users = [f"deployment {name}" for name in await catalog.deployed(engine, caller, refs)]
    users += installing.users(every, refs)
    if users:
        raise errors.AlreadyExists(
            f"{one.type.value.capitalize()} {one.slug} is in use by {', '.join(users[:5])}.",
            hint="Remove what uses it, or move it to another version, first.",
            details={"used_by": users[:50]},
        )
    note = audit.row(engine.ids.next(), caller, "catalog_uninstall", f"{caller.tenant}/{', '.join(sorted(refs))}")
    keys = [(caller.tenant, entry.type.value, entry.slug, str(entry.version)) for entry in gone]
    count = await engine.database.write(table.uninstall, keys, note)
    engine.library.forget(caller.tenant)
    return {
        "slug": one.slug,
        "type": one.type.value,
        "uninstalled": [entry.version for entry in gone],
        "changed": bool(count),
    }


def _going(every: Sequence[Entry], params: CatalogUninstall) -> tuple[Entry, list[Entry]]:
    """One of the entries that are meant, and those of them that go. Raises NotFound."""
    one = _installed(every, params.slug, params.type)
    gone = [
        entry
        for entry in every
        if (entry.type, entry.slug, entry.source) == (one.type, one.slug, "portal")
        and params.version in (None, entry.version, str(entry.version))
    ]
    return one, gone


async def _offered(
    engine: Engine, portal: str | None, slug: str, type: str | None
) -> tuple[list[Offer], tuple[Offer, ...]]:
    """(offers under a slug, all offers) of the portal that is named, as it is now, or of the first that has any."""
    names = [portal] if portal is not None else engine.portals.names
    failed: list[errors.SluiceError] = []
    for name in names:
        try:
            offers = await engine.portals.of(name)
        except errors.SluiceError as error:
            if portal is not None:
                raise
            failed.append(error)
            continue
        found = [offer for offer in offers if offer.slug == slug and type in (None, offer.type.value)]
        if found:
            return found, offers
    if failed:  # it may well be there
        raise failed[0]
    raise errors.NotFound(
        f"No portal has {type or 'an item'} {errors.shorten(slug, 64)}.",
        hint=f"Portals: {', '.join(engine.portals.names) or 'none'}; catalog_search(source=portal) lists them.",
    )


def _choose(offered: list[Offer], params: CatalogInstall) -> Offer:
    types = sorted({offer.type.value for offer in offered})
    if len(types) > 1:
        raise errors.InvalidParams(
            f"Several items are called {params.slug}.",
            hint=f"Say which: type {' or '.join(types)}.",
            errors=[errors.Problem("/type", f"one of {', '.join(types)}")],
        )
    if params.version is None:
        return installing.newest(offered)
    exact = next((offer for offer in offered if str(offer.version) == str(params.version)), None)
    if exact is None:
        versions = ", ".join(str(offer.version) for offer in offered)
        raise errors.NotFound(
            f"The portal {offered[0].portal} has no version {errors.shorten(str(params.version), 40)} of"
            f" {types[0]} {params.slug}.",
            hint=f"Versions: {versions}.",
        )
    return exact


def _installed(entries: Iterable[Entry], slug: str, type: str | None) -> Entry:
    mine = [one for one in entries if one.source == "portal" and one.slug == slug and type in (None, one.type.value)]
    if not mine:
        raise errors.NotFound(
            f"There is no {type or 'item'} {errors.shorten(slug, 64)} that was installed from a portal.",
            hint="catalog_search(source=portal, availability=installed) lists them.",
        )
    return items.pick(mine, slug, type)


async def _install(
    engine: Engine, caller: Caller, wanted: list[Offer], offered: Iterable[Offer], operation: str
) -> dict[str, Any]:
    entries = await engine.library.visible(caller.tenant)
    pieces = await installing.gather(wanted, offered, entries, engine.portals.piece)
    await _check(engine, caller, entries, pieces)
    now = engine.now_ns()
    states = {state["name"]: state["location"] for state in engine.portals.states()}
    rows = [_row(piece, caller, states[piece.offer.portal], now) for piece in pieces]
    notes = [audit.row(engine.ids.next(), caller, operation, f"{caller.tenant}/{p.offer.ref}") for p in pieces]
    if rows:
        await engine.database.write(table.install, rows, notes)
        engine.library.forget(caller.tenant)
    return {
        "changed": bool(rows),
        "installed": [
            {
                "type": piece.offer.type.value,
                "slug": piece.offer.slug,
                "version": piece.offer.version,
                "portal": piece.offer.portal,
                "sha256": piece.offer.item.sha256,
            }
            for piece in pieces
        ],
        "ref": wanted[0].ref if wanted else None,
    }


async def _check(engine: Engine, caller: Caller, entries: list[Entry], pieces: list[Piece]) -> None:
    """Refuse documents that this engine could not use. Raises InvalidDocument with every fault of the first of them."""
    known = modules.of([*entries, *(items.entry(piece.model, "portal") for piece in pieces)])
    for piece in pieces:
        if not isinstance(piece.model, LibraryJob):
            (await check.check_in_turns(piece.document, known)).require()
        elif problems := check.library_job(piece.document):
            raise errors.InvalidDocument(f"The job of {piece.offer.ref} cannot be used.", errors=problems)
        await asyncio.sleep(0)


def _row(piece: Piece, caller: Caller, location: str, now_ns: int) -> dict[str, Any]:
    offer = piece.offer
    data = {"kind": piece.model.kind, **piece.model.model_dump(mode="json", exclude_unset=True)}
    return {
        "tenant": caller.tenant,
        "type": offer.type.value,
        "slug": offer.slug,
        "version": str(offer.version),
        "portal": offer.portal,
        "location": location,
        "author": piece.model.author or offer.item.author,
        "sha256": offer.item.sha256,
        "text": piece.text,
        "document": orjson.dumps(data).decode(),
        "installed_at_ns": now_ns,
        "installed_by": caller.username,
    }
