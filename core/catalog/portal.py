"""What a portal says: its index read and checked, and a document held against it. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
import pydantic

from core import documents, errors
from core.catalog.items import Listed
from core.model.catalog import MODELS, Blueprint, LibraryJob, Perspective, Workflow
from core.model.portal import MAX_ITEMS, SCHEMA_VERSION, PortalIndex, PortalItem

INDEX = "index.json"
MAX_INDEX_BYTES = 8 * 1024 * 1024
MAX_BRACKETS = 4 * MAX_ITEMS  # so that a small text does not become a large value
TOLD = 20  # faults of one index

DOCUMENT_KINDS = {kind: kind for kind in ("workflow", "perspective", "blueprint")} | {"job": "library-job"}
"""Type of an item -> kind of its document."""


@dataclass(frozen=True, slots=True)
class Offer(Listed):
    """An item of a portal, as the catalog lists it."""

    item: PortalItem


@dataclass(frozen=True, slots=True)
class Piece:
    """The document of an offer, verified: its bytes are those that the index names."""

    offer: Offer
    text: str
    document: documents.Document
    model: Blueprint | Workflow | Perspective | LibraryJob


def parse(raw: bytes, where: str) -> PortalIndex:
    """Read an index. Raises InvalidDocument, with up to 20 faults."""
    if len(raw) > MAX_INDEX_BYTES or raw.count(b"[") + raw.count(b"{") > MAX_BRACKETS:
        raise _unusable(where, f"is too large (at most {MAX_INDEX_BYTES} bytes and {MAX_ITEMS} items)")
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _unusable(where, f"is not JSON: {errors.shorten(str(error), 100)}") from error
    if not isinstance(data, dict) or not isinstance(data.get("items"), list):
        raise _unusable(where, "is not an index: it needs schema_version and items")
    if data.get("schema_version") != SCHEMA_VERSION:
        shown = errors.shorten(str(data.get("schema_version")), 40)
        raise _unusable(where, f"has the schema_version {shown}, and this Sluice reads {SCHEMA_VERSION}")
    if len(data["items"]) > MAX_ITEMS:
        raise _unusable(where, f"has {len(data['items'])} items; at most {MAX_ITEMS} are allowed")
    problems: list[errors.Problem] = []
    items: list[PortalItem] = []
    seen: set[tuple[str, str, int | str]] = set()
    for number, one in enumerate(data["items"]):
        problems += _item(one, f"/items/{number}", seen, items)
        if len(problems) >= TOLD:
            break
    if problems:
        raise _unusable(where, "has items that are not valid", problems[:TOLD])
    try:
        frame = PortalIndex.model_validate({**data, "items": ()})
    except pydantic.ValidationError as error:
        raise _unusable(where, "is not valid", documents.problems_of(error, PortalIndex)) from error
    return frame.model_copy(update={"items": tuple(items)})


def _item(
    data: Any, pointer: str, seen: set[tuple[str, str, int | str]], items: list[PortalItem]
) -> list[errors.Problem]:
    try:
        item = PortalItem.model_validate(data)
    except pydantic.ValidationError as error:
        return documents.problems_of(error, PortalItem, at=pointer)
    key = (item.type.value, item.slug, item.version)
    if key in seen:
        return [errors.Problem(pointer, f"{item.type.value} {item.slug} {item.version} is there twice")]
    seen.add(key)
    items.append(item)
    return []


def _unusable(where: str, why: str, problems: list[errors.Problem] | None = None) -> errors.InvalidDocument:
    return errors.InvalidDocument(
        f"The index {where} {why}.", hint="`sluice catalog pack DIR` makes one that is valid.", errors=problems or ()
    )


def offers(portal: str, index: PortalIndex) -> tuple[Offer, ...]:
    """The items of a portal as the catalog lists them."""
    return tuple(
        Offer(
            item.type,
            item.slug,
            item.version,
            item.title or item.slug,
            item.summary,
            item.tags,
            "portal",
            "portal-only",
            item,
            portal=portal,
        )
        for item in index.items
    )


def verify(offer: Offer, raw: bytes) -> Piece:
    """The document in the bytes that a portal gave for an offer.

    Raises InvalidDocument for bytes that are not those of the index, and for a document that is not the one that is
    offered.
    """
    item, where = offer.item, f"{offer.portal}/{offer.item.path}"
    if len(raw) != item.size:
        raise _refused(offer, f"has {len(raw)} bytes where the index says {item.size}: it was cut off or changed")
    if hashlib.sha256(raw).hexdigest() != item.sha256:
        raise _refused(offer, "does not have the content (SHA-256) that the index names: it was changed")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused(offer, f"is not UTF-8 at byte {error.start}") from error
    found = documents.load(text, origin=where)
    if len(found) != 1:
        raise _refused(offer, f"holds {len(found)} documents, and it must be one")
    document, kind = found[0], DOCUMENT_KINDS[offer.type.value]
    if document.kind != kind:
        raise _refused(offer, f"is a {errors.shorten(document.kind, 40)} and not a {kind}")
    model = documents.check(document, MODELS[kind])
    if (model.slug, model.version) != (offer.slug, offer.version):
        raise _refused(offer, f"is {model.slug} {model.version} and not {offer.slug} {offer.version}")
    return Piece(offer, text, document, model)


def _refused(offer: Offer, why: str) -> errors.InvalidDocument:
    return errors.InvalidDocument(
        f"{offer.ref} of the portal {offer.portal} {why}.",
        hint="Nothing was installed. Ask whoever keeps the portal; `sluice catalog pack DIR` renews its index.",
    )
