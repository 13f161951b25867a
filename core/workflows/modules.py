"""The items that a document may name, seen from one tenant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.catalog import items, wiring


@dataclass(frozen=True, slots=True)
class Modules:
    """`find` resolves an exact reference, `names` are those on offer, `retired` those that only older versions may
    name, `reserved` the `kind:slug` of what comes with Sluice, and `newest` what new steps best name."""

    find: wiring.Lookup
    names: frozenset[str]
    retired: frozenset[str]
    reserved: frozenset[str]
    newest: tuple[items.Entry, ...]


def of(entries: Iterable[items.Entry]) -> Modules:
    every = list(entries)
    named = {(f"{one.type.value}:{one.slug}@{one.version}", one.availability == items.RETIRED) for one in every}
    return Modules(
        items.finder(every),
        frozenset(ref for ref, retired in named if not retired and ref.startswith(("blueprint:", "workflow:"))),
        frozenset(ref for ref, retired in named if retired),
        frozenset(f"{one.type.value}:{one.slug}" for one in every if one.source == "builtin"),
        tuple(items.latest(every)),
    )
