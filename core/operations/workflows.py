"""Workflows, perspectives and blueprints of a tenant's own: list, show, validate, compare."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from pydantic import Field, model_validator

from core import clock, errors
from core.catalog import items, picture
from core.engine import Engine
from core.model import results
from core.model.catalog import Graph
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import LISTED, Kind, Slug, Sorted, Version, WorkflowDocument, offset_page, operation
from core.store import workflows as table
from core.workflows import authoring, check, comparison, listing, mending
from core.workflows.registry import DRAFT

SHOWN_CHANGES = 200
SHOWN_TEXT = 12_000  # characters of a comparison


class WorkflowList(Sorted):
    type: Kind | None = None
    """Only documents of this kind."""
    state: Literal["draft", "published", "retired"] | None = None
    """Only documents with something in this state."""
    source: Literal["local", "builtin", "portal"] | None = None
    """Only your own (local), what comes with Sluice (builtin), or what was installed from portals."""
    query: str = Field(default="", max_length=200)
    """Words to look for in slugs and titles."""


@operation(
    summary="List workflows, perspectives and blueprints with their drafts and versions.",
    http="GET /api/workflows",
    toolset="workflows",
    outline=LISTED,
    role=Role.VIEWER,
)
async def workflow_list(
    engine: Engine, caller: Caller, params: WorkflowList
) -> results.Listing[results.workflows.WorkflowItem]:
    """List your own documents first, then all others; each with its newest version and open draft."""
    rows = await engine.database.read(table.listing, caller.tenant)
    found = [*listing.own(rows), *listing.foreign(await engine.library.visible(caller.tenant))]
    words = params.query.casefold().split()
    kept = [
        one
        for one in found
        if params.type in (None, one["type"])
        and params.source in (None, one["source"])
        and (params.state is None or params.state in one["states"])
        and all(word in f"{one['slug']} {one['title']}".casefold() for word in words)
    ]
    return offset_page(kept, params)


class WorkflowGet(Params):
    slug: Slug
    """The document."""
    type: Kind = "workflow"
    """Its kind."""
    version: Version | None = None
    """A version, or `draft`; the newest version when left out, or the draft when nothing is published."""
    detail: Literal["concise", "detailed"] = "concise"
    """`detailed` adds the text as it was written, with comments."""


@operation(
    summary="Show a workflow, perspective or blueprint.",
    http="GET /api/workflows/{slug}",
    toolset="workflows",
    role=Role.VIEWER,
    homeless=True,
)
async def workflow_get(engine: Engine, caller: Caller, params: WorkflowGet) -> results.workflows.Workflow:
    """Show a document: its graph, versions and wizard fields; of a draft also its revision and every fault."""
    found = await engine.workflows.find(caller.tenant, params.type, params.slug, params.version)
    key = (caller.tenant, params.type, params.slug)
    versions = await engine.database.read(table.versions, key)
    draft = await engine.database.read(table.draft, key)
    model: Any = found.entry.model if found.entry is not None else None
    report: results.workflows.Report | None = None
    if found.document is not None:
        report = (await engine.workflows.check(caller.tenant, found.document)).to_dict()
        mended = await asyncio.to_thread(mending.mend, found.data, authoring.KINDS[found.kind])
        model = mended.model
    entry = items.entry(model) if model is not None else None
    answer: results.workflows.Workflow = {
        "slug": found.slug,
        "type": found.kind,
        "title": entry.title if entry is not None else found.slug,
        "version": found.version,
        "state": found.state,
        "source": found.source,
        "draft_revision": draft["revision"] if draft is not None else None,
        "derived_from": found.row.get("derived_from") or None,
        "updated_at": clock.iso(found.row["updated_at_ns"]) if found.row else None,
        "updated_by": found.row.get("updated_by"),
        "versions": [_version(params.type, row) for row in versions],
        "document": found.data,
        "graph": picture.drawing(model),
        "wizard": items.wizard(entry) if entry is not None else [],
    }
    if report is not None:
        answer = {**answer, **report}
    if params.detail == "detailed":
        answer["text"] = found.text
    return answer


def _version(kind: str, row: dict[str, Any]) -> results.workflows.WorkflowVersion:
    return {
        "version": authoring.number(kind, row["version"]),
        "state": row["state"],
        "published_at": clock.iso(row["published_at_ns"]),
        "updated_by": row["updated_by"],
        "derived_from": row["derived_from"] or None,
    }


class WorkflowValidate(Params):
    document: WorkflowDocument | None = None
    """The document as YAML or JSON text: kind workflow, perspective or blueprint."""
    slug: Slug | None = None
    """Instead of a document: the slug of a saved draft."""
    type: Kind = "workflow"
    """The kind of that draft."""

    @model_validator(mode="after")
    def _one_of_them(self) -> WorkflowValidate:
        if (self.document is None) == (self.slug is None):
            raise ValueError("give either document or slug")
        return self


@operation(
    summary="Check a workflow, perspective or blueprint.",
    http="POST /api/workflows/validate",
    toolset="workflows",
    outline=("valid", "errors", "warnings"),
    role=Role.VIEWER,
    homeless=True,
)
async def workflow_validate(
    engine: Engine, caller: Caller, params: WorkflowValidate
) -> results.workflows.DocumentChecked:
    """Check a document or a saved draft: every fault at once, each with its place and what to do. Saves nothing."""
    if params.slug is not None:
        found = await engine.workflows.find(caller.tenant, params.type, params.slug, DRAFT)
        document = found.document
        assert document is not None  # find() gives a draft one
    else:
        try:
            document = await asyncio.to_thread(authoring.read, params.document or "")
        except errors.InvalidDocument as error:
            return {
                "valid": False,
                "type": None,
                "slug": None,
                "message": error.message,
                "hint": error.hint,
                "errors": list(map(check.unread, error.errors)),
                "errors_left_out": 0,
                "warnings": [],
            }
    report = await engine.workflows.check(caller.tenant, document)
    answer: results.workflows.DocumentChecked = {
        **report.to_dict(),  # type: ignore[typeddict-item]  # which has no `steps`
        "type": document.kind,
        "slug": document.data["slug"],
    }
    return {**answer, "steps": len(report.model.steps)} if isinstance(report.model, Graph) else answer


class WorkflowDiff(Params):
    slug: Slug
    """The document."""
    type: Kind = "workflow"
    """Its kind."""
    from_version: Version | None = None
    """The older side; the version before the newer side when left out."""
    to_version: Version | None = None
    """The newer side, or `draft`; the draft when there is one, else the newest version."""


@operation(
    summary="Show what differs between two versions of a workflow.",
    http="GET /api/workflows/{slug}/diff",
    toolset="workflows",
    role=Role.VIEWER,
)
async def workflow_diff(engine: Engine, caller: Caller, params: WorkflowDiff) -> results.workflows.WorkflowDiff:
    """Compare two versions, or the newest one with the draft: steps, channels, parameters, each before and after."""
    key = (caller.tenant, params.type, params.slug)
    target = params.to_version
    if target is None and await engine.database.read(table.draft, key) is not None:
        target = DRAFT
    after = await engine.workflows.find(caller.tenant, params.type, params.slug, target)
    if params.from_version is None:
        before = await engine.workflows.before(caller.tenant, after)
    else:
        before = await engine.workflows.find(caller.tenant, params.type, params.slug, params.from_version)
    differences = await asyncio.to_thread(comparison.compare, before.data, after.data)
    text = comparison.text(differences[:SHOWN_CHANGES], before.name, after.name)
    return {
        "slug": params.slug,
        "type": params.type,
        "from_version": before.version or DRAFT,
        "to_version": after.version or DRAFT,
        "summary": comparison.summary(differences),
        "changes": [one.to_dict() for one in differences[:SHOWN_CHANGES]],
        "changes_left_out": max(0, len(differences) - SHOWN_CHANGES),
        "text": text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}\n... cut; `changes` has more",
    }
