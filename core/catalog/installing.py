"""What an install of a portal's item takes: the item, and the modules it names that are not there yet. Pure but for
the one function that reads from the portal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from core import errors
from core.catalog import builtin, graph, items
from core.catalog.items import Entry, version_key
from core.catalog.portal import Offer, Piece
from core.model.catalog import Graph
from core.near import did_you_mean
from core.store import catalog as table

MAX_PIECES = 200  # items of one install

Read = Callable[[Offer], Awaitable[Piece]]


async def gather(
    wanted: Iterable[Offer], offered: Iterable[Offer], entries: Iterable[Entry], read: Read
) -> list[Piece]:
    """The documents of the offers and of every module that they lead to, by exact version, what is there left out.

    Each module comes before what uses it. Raises NotFound, naming every module that neither the catalog nor the portal
    has, AlreadyExists for a name that is taken, and what `read` raises.
    """
    there = {one.ref: one for one in entries}
    by_ref = {offer.ref: offer for offer in offered}
    owners = {(one.type, one.slug): one for one in there.values()}
    waiting, found, missing = list(wanted), dict[str, Piece](), dict[str, str]()
    while waiting:
        offer = waiting.pop()
        if offer.ref in found:
            continue
        _refuse_taken(offer, owners.get((offer.type, offer.slug)))
        if _is_there(offer, there.get(offer.ref)):
            continue
        piece = found[offer.ref] = await read(offer)
        if len(found) > MAX_PIECES:
            raise errors.InvalidDocument(f"This would install more than {MAX_PIECES} items.")
        for ref in sorted(graph.references(piece.model) if isinstance(piece.model, Graph) else ()):
            if ref in by_ref and ref not in there:
                waiting.append(by_ref[ref])
            elif ref not in there:
                missing.setdefault(ref, offer.ref)
    if missing:
        raise _missing(missing, there, by_ref)
    return _ordered(found)


def choose(offered: list[Offer], slug: str, version: int | str | None) -> Offer:
    """The offer under a slug that is meant, the newest when no version is named. Raises InvalidParams, NotFound."""
    types = sorted({offer.type.value for offer in offered})
    if len(types) > 1:
        raise items.several(slug, types)
    if version is None:
        return newest(offered)
    exact = next((offer for offer in offered if str(offer.version) == str(version)), None)
    if exact is None:
        versions = ", ".join(str(offer.version) for offer in offered)
        raise errors.NotFound(
            f"The portal {offered[0].portal} has no version {errors.shorten(str(version), 40)} of {types[0]} {slug}.",
            hint=f"Versions: {versions}.",
        )
    return exact


def installed(entries: Iterable[Entry], slug: str, type: str | None) -> Entry:
    """The newest version of an item that came from a portal. Raises NotFound, InvalidParams."""
    mine = [one for one in entries if one.source == "portal" and one.slug == slug and type in (None, one.type.value)]
    if not mine:
        raise errors.NotFound(
            f"There is no {type or 'item'} {errors.shorten(slug, 64)} that was installed from a portal.",
            hint="catalog_search(source=portal, availability=installed) lists them.",
        )
    return items.pick(mine, slug, type)


def newest(offers: Iterable[Offer]) -> Offer:
    return max(offers, key=lambda offer: version_key(offer.version))


def _refuse_taken(offer: Offer, owner: Entry | None) -> None:
    """A portal's item takes the place of nothing that came from elsewhere."""
    kind, slug = offer.type.value, offer.slug
    if any((one.type, one.slug) == (offer.type, slug) for one in builtin.load()):
        raise errors.AlreadyExists(
            f"A {kind} {slug} comes with Sluice; the one of the portal {offer.portal} cannot take its place.",
            hint="Ask whoever keeps the portal to offer it under another slug.",
        )
    if owner is not None and owner.source == "portal" and owner.portal != offer.portal:
        raise table.other_portal(kind, slug, owner.portal)


def _is_there(offer: Offer, entry: Entry | None) -> bool:
    if entry is None or entry.source != "portal":
        return False
    if entry.provenance["sha256"] != offer.item.sha256:
        raise table.other_content(offer.type.value, offer.slug, str(offer.version))
    return True


def _missing(missing: Mapping[str, str], there: Mapping[str, Entry], offered: Mapping[str, Offer]) -> errors.NotFound:
    problems = []
    for ref, by in missing.items():
        guess = did_you_mean(ref, [*there, *offered])
        problems.append(errors.Problem("", f"{by} needs {ref}, which neither the catalog nor the portal has{guess}"))
    named = ", ".join(sorted(missing)[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    return errors.NotFound(
        f"Nothing was installed: {named} {'is' if len(missing) == 1 else 'are'} missing.",
        hint="Modules are found by exact version, in the catalog and in the portal of the item that names them.",
        errors=problems,
    )


def _ordered(found: Mapping[str, Piece]) -> list[Piece]:
    """Modules before what uses them; those on a circle, which validation refuses, as they come."""
    done: dict[str, Piece] = {}
    path: set[str] = set()

    def visit(ref: str) -> None:
        if ref in done or ref in path:
            return
        path.add(ref)
        piece = found[ref]
        for used in sorted(graph.references(piece.model) if isinstance(piece.model, Graph) else ()):
            if used in found:
                visit(used)
        path.discard(ref)
        done[ref] = piece

    for ref in found:
        visit(ref)
    return list(done.values())


def users(entries: Iterable[Entry], gone: set[str]) -> list[str]:
    """Who names one of the references that are to go, besides those that go themselves."""
    found = []
    for one in entries:
        if one.ref in gone or not isinstance(one.model, Graph) or one.availability == items.RETIRED:
            continue
        if graph.references(one.model) & gone:
            found.append(one.ref)
    return sorted(found)
