"""Documents as if they were published: what a look at them before that sees in the catalog."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from core import documents
from core.catalog import items
from core.documents import Document
from core.model.catalog import Blueprint, ItemType, Perspective, Workflow
from core.workflows import check, modules
from core.workflows.authoring import ORIGIN
from core.workflows.library import Library
from core.workflows.registry import DRAFT, WorkflowRegistry

_USED_FIRST = (ItemType.BLUEPRINT, ItemType.PERSPECTIVE, ItemType.WORKFLOW)


async def catalog(
    library: Library, registry: WorkflowRegistry, tenant: str, source: str | None, text: str | None
) -> tuple[str, Sequence[items.Entry]]:
    """What a source is looked up in, and the source: that of a draft (`KIND:SLUG@draft`) or a text is one that nobody
    has published. Raises NotFound for a draft that is not there, and InvalidDocument."""
    every = await library.visible(tenant)
    if text is not None:
        return await among(every, await asyncio.to_thread(documents.load, text, origin=ORIGIN))
    name, _, version = (source or "").partition("@")
    if version != DRAFT:
        return source or "", every
    kind, _, slug = name.partition(":")
    draft = (await registry.find(tenant, kind, slug, DRAFT)).document
    assert draft is not None  # find() gives a draft one
    return await among(every, [draft])


async def among(every: Sequence[items.Entry], added: Iterable[Document]) -> tuple[str, list[items.Entry]]:
    """The source of the workflow among these documents, or of the last one, and the catalog with them, in place of
    published ones of the same name and version.

    Raises InvalidDocument with all faults of the first that has some.
    """
    there, source = list(every), ""
    for document in sorted(added, key=lambda one: one.kind in _USED_FIRST and _USED_FIRST.index(ItemType(one.kind))):
        report = await check.check_in_turns(document, modules.of(there))
        model: Blueprint | Perspective | Workflow = report.require()
        if isinstance(model, Workflow):
            model = model.model_copy(update={"version": _next(there, model.slug)})
        new = items.entry(model)
        there = [one for one in there if (one.type, one.slug, one.version) != (new.type, new.slug, new.version)]
        there.append(new)
        source = f"{new.type.value}:{new.slug}@{new.version}"
    return source, there


def _next(catalog: Sequence[items.Entry], slug: str) -> int:
    numbers = (int(one.version) for one in catalog if one.type is ItemType.WORKFLOW and one.slug == slug)
    return max(numbers, default=0) + 1
