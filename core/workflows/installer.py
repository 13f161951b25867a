"""Items of portals in the catalog of a tenant: installed, brought up to date, uninstalled; all or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from core import clock, errors
from core.catalog import installing, items
from core.catalog.items import Entry
from core.catalog.portal import Offer, Piece
from core.catalog.portals import Portals
from core.model.catalog import LibraryJob
from core.model.principal import Caller
from core.store import audit, deployments
from core.store import catalog as table
from core.store.database import Database
from core.workflows import check, modules
from core.workflows.library import Library


class Update(NamedTuple):
    """An installed item, what came in besides, and the version that is the newest now."""

    item: Entry
    pieces: list[Piece]
    version: int | str


class Installer:
    """Of one engine."""

    def __init__(self, database: Database, ids: clock.Ids, library: Library, portals: Portals) -> None:
        self._database = database
        self._ids = ids
        self._library = library
        self._portals = portals

    async def install(
        self, caller: Caller, portal: str | None, slug: str, type: str | None, version: int | str | None
    ) -> tuple[Offer, list[Piece]]:
        """Install an item and the modules it names: (the item, what came in, which is nothing when all was there).

        Raises NotFound, InvalidParams, InvalidDocument, AlreadyExists, and what a portal that fails raises.
        """
        fitting, offered = await self._portals.offering(portal, slug, type)
        one = installing.choose(fitting, slug, version)
        return one, await self._install(caller, [one], offered, "catalog_install")

    async def update(self, caller: Caller, slug: str, type: str | None) -> Update:
        """Install the newest version that the portal of an installed item has. Raises as `install`."""
        mine = installing.installed(await self._library.own(caller.tenant), slug, type)
        offered = await self._portals.of(mine.portal)
        same = [offer for offer in offered if (offer.type, offer.slug) == (mine.type, mine.slug)]
        if not same:
            raise errors.NotFound(
                f"The portal {mine.portal} does not have {mine.type.value} {mine.slug} any more.",
                hint="What is installed stays; catalog_uninstall removes it.",
            )
        newest = installing.newest(same)
        ahead = items.version_key(newest.version) > items.version_key(mine.version)
        pieces = await self._install(caller, [newest] if ahead else [], offered, "catalog_update")
        return Update(mine, pieces, newest.version if ahead else mine.version)

    async def leaving(
        self, tenant: str, slug: str, type: str | None, version: int | str | None
    ) -> tuple[Entry, list[Entry]]:
        """An installed item, and the versions of it that an uninstall of `version` (None: of all) takes away."""
        every = await self._library.own(tenant)
        one = installing.installed(every, slug, type)
        versions = [entry for entry in every if (entry.type, entry.slug, entry.source) == (one.type, slug, "portal")]
        return one, [entry for entry in versions if version in (None, entry.version, str(entry.version))]

    async def uninstall(
        self, caller: Caller, slug: str, type: str | None, version: int | str | None
    ) -> tuple[Entry, list[Entry], bool]:
        """Remove an item, or one version: (the item, the versions, whether that changed anything).

        Raises NotFound, and AlreadyExists while a deployment or another item uses it.
        """
        one, gone = await self.leaving(caller.tenant, slug, type, version)
        every = await self._library.own(caller.tenant)
        if not gone:
            there = ", ".join(str(entry.version) for entry in every if (entry.type, entry.slug) == (one.type, one.slug))
            raise errors.NotFound(
                f"Version {errors.shorten(str(version), 40)} of {one.type.value} {one.slug} is not installed.",
                hint=f"Installed: {there}.",
            )
        refs = {entry.ref for entry in gone}
        users = [f"deployment {name}" for name in await self._database.read(deployments.made_of, caller.tenant, refs)]
        users += installing.users(every, refs)
        if users:
            raise errors.AlreadyExists(
                f"{one.type.value.capitalize()} {one.slug} is in use by {', '.join(users[:5])}.",
                hint="Remove what uses it, or move it to another version, first.",
                details={"used_by": users[:50]},
            )
        note = audit.row(self._ids.next(), caller, "catalog_uninstall", f"{caller.tenant}/{', '.join(sorted(refs))}")
        keys = [(caller.tenant, entry.type.value, entry.slug, str(entry.version)) for entry in gone]
        count = await self._database.write(table.uninstall, keys, note)
        self._library.forget(caller.tenant)
        return one, gone, bool(count)

    async def _install(
        self, caller: Caller, wanted: list[Offer], offered: Iterable[Offer], operation: str
    ) -> list[Piece]:
        entries = await self._library.visible(caller.tenant)
        pieces = await installing.gather(wanted, offered, entries, self._portals.piece)
        await _require_valid(entries, pieces)
        now = clock.now_ns()
        locations = {state["name"]: state["location"] for state in self._portals.states()}
        rows = [_row(piece, caller, locations[piece.offer.portal], now) for piece in pieces]
        notes = [audit.row(self._ids.next(), caller, operation, f"{caller.tenant}/{one.offer.ref}") for one in pieces]
        if rows:
            await self._database.write(table.install, rows, notes)
            self._library.forget(caller.tenant)
        return pieces


async def _require_valid(entries: list[Entry], pieces: list[Piece]) -> None:
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
