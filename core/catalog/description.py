"""What an answer says of one item: concisely, as far as it decides what to do, or in detail. Pure."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import orjson

from core.catalog import graph, items, picture, starting
from core.catalog.collection import Collection, key_of
from core.catalog.portal import Offer
from core.documents import dump
from core.model.catalog import Graph

if TYPE_CHECKING:
    from core.model.results import catalog

CONCISE = 1_500  # characters of a concise answer, where next, wizard and slots leave room for more
RELATED = 3  # items, of a concise answer
_NONE = ',"related":[]'
VERSIONS = 10  # the newest, of a concise answer


def concise(every: Collection, one: items.Entry | Offer, entry: items.Entry) -> catalog.CatalogShown:
    """The item `one`, whose document is that of `entry`: its row, what it asks for, how to go on."""
    answer = _row(every, one, entry)
    answer["wizard"] = list(map(items.brief, items.wizard(entry)))
    answer["versions"] = answer["versions"][-VERSIONS:]
    answer["available_versions"] = answer["available_versions"][-VERSIONS:]
    answer["related"] = []
    answer["related"] = _first(_related(every, entry)[:RELATED], CONCISE - len(orjson.dumps(answer)) + len(_NONE))
    return answer


def detailed(every: Collection, one: items.Entry | Offer, entry: items.Entry) -> catalog.CatalogShown:
    """The same with what each field means, provenance, the document and its graph."""
    answer, document = _row(every, one, entry), items.document(entry)
    answer["modules"] = sorted(graph.references(entry.model)) if isinstance(entry.model, Graph) else []
    answer["provenance"] = items.provenance(entry)
    answer["yaml"] = dump.to_yaml(document)
    answer["document"] = document
    answer["graph"] = picture.drawing(entry.model)
    return answer


def _row(every: Collection, one: items.Entry | Offer, entry: items.Entry) -> catalog.CatalogShown:
    """The row of the item, and behind it how to go on: what answers a caller who reads only the start comes first."""
    listed = every.find(one.type.value, one.slug) or one
    nexts = [starting.from_portal(one) if isinstance(one, Offer) else starting.here(entry, every.listed)]
    if listed.update is not None:
        nexts.append(starting.from_portal(listed))
    row: catalog.CatalogShown = {
        "slug": one.slug,
        "type": one.type,
        "title": one.title,
        "version": one.version,
        "source": one.source,
        "availability": one.availability,
        "tags": list(one.tags),
        "summary": one.summary,
        "next": nexts,
        "wizard": [{**question} for question in items.wizard(entry)],
        "slots": starting.slots(entry, every.listed),
        "versions": _versions(every, one),
        "available_versions": _available(every, one),
        "related": _related(every, entry),
    }
    if one.portal:
        row["portal"] = one.portal
    if one.update:
        row["available_version"] = one.update
    if entry.hops:
        row["hops"] = entry.hops
    return row


def _versions(every: Collection, one: items.Listed) -> list[int | str]:
    return [other.version for other in every.entries if key_of(other) == key_of(one)]


def _available(every: Collection, one: items.Listed) -> list[int | str]:
    listed = every.find(one.type.value, one.slug) or one
    return [offer.version for offer in every.offered(listed)]


def _related(every: Collection, entry: items.Entry) -> list[catalog.Related]:
    return [{"relation": relation, "item": other.ref, "title": other.title} for relation, other in every.related(entry)]


def _first(rows: list[catalog.Related], left: int) -> list[catalog.Related]:
    """The first rows, as many as fit into so many characters of JSON."""
    sizes = itertools.accumulate(len(orjson.dumps(row)) + 1 for row in rows)
    return [row for row, size in zip(rows, sizes, strict=True) if size + len(_NONE) <= left]
