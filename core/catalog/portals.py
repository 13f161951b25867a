"""The portals of an engine: their indexes kept at hand, asked for again when they are old, and documents on demand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from core import clock, errors
from core.catalog import portal_source
from core.catalog.portal import Offer, Piece, offers, parse, verify
from core.settings import Settings
from core.store import catalog as table
from core.store.database import Database

if TYPE_CHECKING:
    from core.guard import egress
    from core.model.results import catalog

log = structlog.get_logger("core.catalog.portals")

PATIENCE_SECONDS = 3.0  # that whoever looks at the catalog waits for a portal that was never read
BACK_OFF_SECONDS = 30.0  # after a fault of a portal, before it is asked again by itself
KEPT_PIECES = 64  # documents of items that are not installed, for those who look at them


@dataclass(slots=True)
class Portal:
    """One portal as it was seen last. `error` says why the last look failed; the offers before it stay."""

    name: str
    source: portal_source.Source
    offers: tuple[Offer, ...] = ()
    title: str = ""
    etag: str = ""
    fetched_at_ns: int = 0  # 0: never
    failed_at: float | None = None
    error: errors.SluiceError | None = None
    loaded: bool = False  # what an earlier engine has kept was looked for
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    asking: asyncio.Task[None] | None = None

    def to_dict(self) -> catalog.Portal:
        told = self.error.to_dict() if self.error is not None else None
        return {
            "name": self.name,
            "location": self.source.location,
            "title": self.title,
            "state": "unavailable" if not self.fetched_at_ns else "stale" if self.error is not None else "ready",
            "items": len({(offer.type, offer.slug) for offer in self.offers}),
            "versions": len(self.offers),
            "fetched_at": clock.iso(self.fetched_at_ns) if self.fetched_at_ns else None,
            "error": told,
        }


class Portals:
    """What the setting `portals` names. Use from one event loop; `close` at the end."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._http: egress.Egress | None = None
        self._pieces: dict[tuple[str, str], Piece] = {}
        self._all: tuple[Offer, ...] = ()
        self._portals: dict[str, Portal] = {}
        for text in settings.portals:
            name, _, location = text.partition("=")
            where = location if "://" in location else str(Path(location).expanduser().absolute())
            self._portals[name] = Portal(name, portal_source.open_source(where, self._client))

    @property
    def names(self) -> list[str]:
        return list(self._portals)

    async def offers(self) -> tuple[Offer, ...]:
        """Every version of every item of every portal, in the order of the setting.

        A portal that was read before keeps nobody waiting: an old index is renewed beside this. The value is the same
        object until something changes. A portal that cannot be read is told by `states`.
        """
        awaited = [task for portal in self._portals.values() if (task := await self._renew_if_old(portal)) is not None]
        if awaited:
            await asyncio.wait(awaited, timeout=PATIENCE_SECONDS)
        return self._all

    async def of(self, name: str) -> tuple[Offer, ...]:
        """The offers of one portal as it is now. Raises NotFound, TargetUnavailable, Forbidden, InvalidDocument."""
        portal = self._portals.get(name)
        if portal is None:
            raise errors.NotFound(
                f"There is no portal {errors.shorten(name, 60)}.",
                hint=f"Portals: {', '.join(self._portals) or 'none'}; they are named by the setting portals.",
            )
        await self._refresh(portal)
        if portal.error is not None:
            raise portal.error
        return portal.offers

    async def offering(self, portal: str | None, slug: str, type: str | None) -> tuple[list[Offer], tuple[Offer, ...]]:
        """(offers under a slug, all offers) of the portal that is named, as it is now, or of the first that has any.

        Raises NotFound, and what `of` raises of a portal that may well have it.
        """
        failed: list[errors.SluiceError] = []
        for name in self.names if portal is None else [portal]:
            try:
                every = await self.of(name)
            except errors.SluiceError as error:
                if portal is not None:
                    raise
                failed.append(error)
                continue
            found = [offer for offer in every if offer.slug == slug and type in (None, offer.type.value)]
            if found:
                return found, every
        if failed:  # it may well be there
            raise failed[0]
        raise errors.NotFound(
            f"No portal has {type or 'an item'} {errors.shorten(slug, 64)}.",
            hint=f"Portals: {', '.join(self.names) or 'none'}; catalog_search(source=portal) lists them.",
        )

    async def refresh(self) -> None:
        """Ask every portal now; who failed is told by `states`."""
        await asyncio.gather(*(self._refresh(portal) for portal in self._portals.values()))

    def states(self) -> list[catalog.Portal]:
        """Each portal with its location, how many items it has, when it was read, and what was wrong."""
        return [portal.to_dict() for portal in self._portals.values()]

    async def piece(self, offer: Offer) -> Piece:
        """The verified document of an offer. Raises TargetUnavailable, Forbidden, InvalidDocument."""
        key = (offer.ref, offer.item.sha256)
        kept = self._pieces.get(key)
        if kept is None:
            source = self._portals[offer.portal].source
            raw = await source.item(offer.item.path, offer.item.size)
            kept = await asyncio.to_thread(verify, offer, raw)
            while len(self._pieces) >= KEPT_PIECES:
                del self._pieces[next(iter(self._pieces))]
            self._pieces[key] = kept
        return kept

    async def close(self) -> None:
        """Stop what is being asked for."""
        asking = [portal.asking for portal in self._portals.values() if portal.asking is not None]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        if self._http is not None:
            await self._http.aclose()

    # -- how an index is kept up to date -------------------------------------------------------------------

    async def _renew_if_old(self, portal: Portal) -> asyncio.Task[None] | None:
        """Have an index that is old, or not there, asked for; the answer is what is worth waiting for."""
        if portal.source.remote and not portal.loaded:
            async with portal.lock:
                await self._load(portal)
        if portal.failed_at is not None and clock.monotonic() - portal.failed_at < BACK_OFF_SECONDS:
            return None
        age = (clock.now_ns() - portal.fetched_at_ns) / clock.NANOSECONDS
        fresh = portal.source.remote and 0 <= age <= self._settings.portal_refresh_seconds
        if not fresh and (portal.asking is None or portal.asking.done()):
            portal.asking = asyncio.get_running_loop().create_task(self._refresh(portal))
        return portal.asking if not portal.source.remote or not portal.fetched_at_ns else None

    async def _load(self, portal: Portal) -> None:
        """What an earlier engine has kept, if the portal is still at the same place."""
        if portal.loaded:
            return
        row = await self._database.read(table.index, portal.name)
        if row is not None and row["location"] == portal.source.location:
            try:
                await self._take(portal, row["etag"], row["body"], row["fetched_at_ns"])
            except errors.InvalidDocument as error:  # this version is stricter than that which kept it
                log.warning("kept_index_unusable", portal=portal.name, error=str(error))
        portal.loaded = True

    async def _refresh(self, portal: Portal) -> None:
        """Read the index, unless it is still the same; a fault stays in `portal.error` and the offers as they were."""
        asked = clock.monotonic()
        async with portal.lock:
            if portal.source.remote:
                await self._load(portal)
            if portal.failed_at is not None and portal.failed_at >= asked:
                return  # whoever held the lock has just asked
            try:
                fetched = await portal.source.index(portal.etag)
                now = clock.now_ns()
                if fetched is not None:
                    await self._take(portal, fetched.etag, fetched.body, now)
            except (errors.TargetUnavailable, errors.Forbidden, errors.InvalidDocument) as error:
                if portal.error is None or portal.error.message != error.message:
                    log.warning("portal_unavailable", portal=portal.name, error=str(error))
                portal.error, portal.failed_at = error, clock.monotonic()
                return
            portal.error = portal.failed_at = None
            portal.fetched_at_ns = now
            if portal.source.remote:
                await self._keep(portal, fetched)

    async def _take(self, portal: Portal, etag: str, body: bytes, at_ns: int) -> None:
        index = await asyncio.to_thread(parse, body, f"of the portal {portal.name}")
        portal.offers, portal.title = offers(portal.name, index), index.title
        portal.etag, portal.fetched_at_ns = etag, at_ns
        self._all = tuple(offer for one in self._portals.values() for offer in one.offers)

    async def _keep(self, portal: Portal, fetched: portal_source.Fetched | None) -> None:
        try:
            if fetched is None:
                await self._database.write(table.touch_index, portal.name, portal.fetched_at_ns)
                return
            row = {"etag": fetched.etag, "body": fetched.body, "fetched_at_ns": portal.fetched_at_ns}
            await self._database.write(
                table.keep_index, {"name": portal.name, "location": portal.source.location, **row}
            )
        except errors.StorageUnavailable as error:  # it is only for the next start
            log.error("index_not_kept", portal=portal.name, error=str(error))

    def _client(self) -> egress.Egress:
        if self._http is None:
            from core.guard import egress  # an HTTP client takes 60 ms to import, and most engines have no such portal

            settings = self._settings
            self._http = egress.Egress(settings.egress_allow, tls=portal_source.tls(settings.portal_ca_file))
        return self._http
