"""Everything that one tenant sees in the catalog, ready to be searched; made anew when something in it changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from core.catalog import durability, graph
from core.catalog.items import RETIRED, Entry, Listed, finder, latest, pick, version_key
from core.catalog.portal import Offer
from core.catalog.ranking import Ranking
from core.model.catalog import Graph

if TYPE_CHECKING:
    from core.model.results import catalog

LOCAL = ("builtin", "local")
MOST_RELATED = 10
MOST_TAGS = 20  # of a facet
KEPT = 16  # tenants

Relation = Literal["uses", "used-by", "shares-tags"]
Key = tuple[str, str]
"""(type, slug)"""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, best first. `lacks` are the words of the query that an item has not."""

    items: tuple[Listed, ...]
    lacks: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)

    def row(self, one: Listed) -> catalog.CatalogItem:
        """An item as the answer shows it."""
        shown = one.row()
        if lacks := self.lacks.get(key_of(one), ()):
            shown["lacks"] = list(lacks)
        return shown

    def facets(self) -> catalog.Facets:
        """How many of the items have each type, source and availability, and each of the most frequent tags."""
        return {
            "type": _counted(one.type.value for one in self.items),
            "source": _counted(one.source for one in self.items),
            "availability": _counted(one.availability for one in self.items),
            "tags": _counted(tag for one in self.items for tag in one.tags),
        }


class Collection:
    """What is there, and what portals offer besides. Immutable."""

    def __init__(self, entries: Sequence[Entry], offers: Sequence[Offer] = ()) -> None:
        self._count = durability.counter(finder(entries))
        self.entries = tuple(map(self.counted, entries))
        self.offers = tuple(offers)
        self.listed = _listed(self.entries, self.offers)
        self._places = {key_of(one): place for place, one in enumerate(self.listed)}
        self._ranking = Ranking(self.listed)
        self._tagged: dict[str, list[int]] = {}
        self._used_by: dict[Key, set[int]] = {}
        self._offers: dict[tuple[Key, str], list[Offer]] = {}
        for offer in self.offers:
            self._offers.setdefault((key_of(offer), offer.portal), []).append(offer)
        for place, one in enumerate(self.listed):
            for tag in one.tags:
                self._tagged.setdefault(tag.casefold(), []).append(place)
            for key in _uses(one):
                self._used_by.setdefault(key, set()).add(place)

    def counted(self, one: Entry) -> Entry:
        """The item with its hops counted, and the tag `durable` set by them."""
        return durability.tagged(one, self._count(one.model))

    def search(
        self,
        query: str = "",
        *,
        type: str | None = None,
        source: str | None = None,
        availability: str | None = None,
        tags: Sequence[str] = (),
    ) -> Found:
        """The newest versions that fit every filter and the query, best match first.

        The filters come first: that none has all words of the query is said of what fits them (`Ranking.rank`).
        `source="local"` includes what came with Sluice.
        """
        wanted = {tag.casefold() for tag in tags}
        fitting = [
            place
            for place, one in enumerate(self.listed)
            if type in (None, one.type.value)
            and (source in (None, one.source) or (source == "local" and one.source in LOCAL))
            and availability in (None, one.availability)
            and (not wanted or wanted <= {tag.casefold() for tag in one.tags})
        ]
        if not query.strip():
            return Found(tuple(self.listed[place] for place in fitting))
        ranked = self._ranking.rank(query, None if len(fitting) == len(self.listed) else fitting)
        lacks = {key_of(self.listed[fit.place]): fit.lacks for fit in ranked if fit.lacks}
        return Found(tuple(self.listed[fit.place] for fit in ranked), lacks)

    def find(self, type: str, slug: str) -> Listed | None:
        """The item as a search shows it."""
        place = self._places.get((type, slug))
        return None if place is None else self.listed[place]

    def pick(self, slug: str, type: str | None, version: int | str | None) -> Entry | Offer:
        """The item that is meant: what a search shows, or the version that is named, here or in the portal.

        Raises NotFound, InvalidParams.
        """

        def fits(one: Listed) -> bool:
            return one.slug == slug and type in (None, one.type.value)

        shown = [one for one in self.listed if fits(one)]
        here = [one for one in self.entries if fits(one)]
        if version is None:
            pool: list[Any] = shown or here
        else:
            pool = [*here, *(offer for one in shown for offer in self.offered(one))]
        found: Entry | Offer = pick(pool or [*self.entries, *self.offers], slug, type, version)
        return found

    def offered(self, one: Listed) -> list[Offer]:
        """Every version of an item that can be installed here: those of the portal that it comes from."""
        return self._offers.get((key_of(one), one.portal), [])

    def related(self, one: Listed) -> list[tuple[Relation, Listed]]:
        """What the item is made of, what uses it, and what shares most tags with it; at most ten."""
        me = self._places.get(key_of(one))
        found: dict[int, Relation] = {}
        for key in sorted(_uses(one)):
            if key in self._places:
                found.setdefault(self._places[key], "uses")
        for place in sorted(self._used_by.get(key_of(one), ())):
            found.setdefault(place, "used-by")
        shared: dict[int, int] = {}
        for tag in one.tags:
            for place in self._tagged.get(tag.casefold(), ()):
                shared[place] = shared.get(place, 0) + 1
        for place in sorted(shared, key=lambda place: (-shared[place], place)):
            found.setdefault(place, "shares-tags")
        found.pop(me if me is not None else -1, None)
        return [(relation, self.listed[place]) for place, relation in list(found.items())[:MOST_RELATED]]


class Collections:
    """The collections of the tenants that were asked for last. Use from one event loop."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[object, object, Collection]] = {}

    async def of(self, tenant: str, entries: Sequence[Entry], own: object, offers: tuple[Offer, ...]) -> Collection:
        """The collection of a tenant. `own` and `offers` are the same objects as long as nothing has changed."""
        kept = self._kept.get(tenant)
        if kept is not None and kept[0] is own and kept[1] is offers:
            return kept[2]
        made = await asyncio.to_thread(Collection, entries, offers)
        self._kept.pop(tenant, None)
        while len(self._kept) >= KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[tenant] = (own, offers, made)
        return made


def _listed(entries: Sequence[Entry], offers: Sequence[Offer]) -> list[Listed]:
    """The newest version of each item by type and slug; of what is nowhere here, what the first portal offers."""
    have = {key_of(one): one for one in latest(entries)}
    taken = {key_of(one) for one in entries}
    newest: dict[tuple[Key, str], Offer] = {}
    for offer in offers:
        known = newest.get((key_of(offer), offer.portal))
        if known is None or version_key(offer.version) > version_key(known.version):
            newest[key_of(offer), offer.portal] = offer
    found: dict[Key, Listed] = dict(have)
    for (key, portal), offer in newest.items():
        mine = have.get(key)
        if key not in taken:
            found.setdefault(key, offer)
        elif mine and mine.portal == portal and version_key(offer.version) > version_key(mine.version):
            found[key] = replace(mine, availability="update-available", update=offer.version)
    return [found[key] for key in sorted(found)]


def key_of(one: Listed) -> Key:
    """What versions of one item have in common."""
    return one.type.value, one.slug


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common(MOST_TAGS))


def _uses(one: Listed) -> set[Key]:
    if not isinstance(one, Entry) or not isinstance(one.model, Graph) or one.availability == RETIRED:
        return set()
    parts = (ref.rpartition("@")[0].partition(":") for ref in graph.references(one.model))
    return {(kind, slug) for kind, _, slug in parts}
