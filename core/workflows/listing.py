"""What there is of documents, one entry for each: its newest version, its draft, who wrote it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from core import clock
from core.catalog import items
from core.model.states import WorkflowState
from core.store.workflows import DRAFT
from core.workflows import authoring

if TYPE_CHECKING:
    from core.model.results import workflows

Row = dict[str, Any]


def own(rows: Iterable[Row]) -> list[workflows.WorkflowItem]:
    """The documents of a tenant's own, by slug, from the rows of all their versions and drafts."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["kind"], row["slug"]), []).append(row)
    return [_entry(kind, slug, of) for (kind, slug), of in sorted(grouped.items(), key=lambda one: one[0][::-1])]


def _entry(kind: str, slug: str, rows: list[Row]) -> workflows.WorkflowItem:
    offered = [row for row in rows if row["state"] == WorkflowState.PUBLISHED]
    newest = max(offered, key=lambda row: items.version_key(row["version"]), default=None)
    draft = next((row for row in rows if row["version"] == DRAFT), None)
    last = max(rows, key=lambda row: int(row["updated_at_ns"]))
    return {
        "slug": slug,
        "type": kind,
        "title": (newest or draft or last)["title"] or slug,
        "version": authoring.number(kind, newest["version"]) if newest else None,
        "state": (newest or draft or last)["state"],
        "states": sorted({row["state"] for row in rows}),
        "draft_revision": draft["revision"] if draft else None,
        "source": "local",
        "updated_at": clock.iso(last["updated_at_ns"]),
        "updated_by": last["updated_by"],
    }


def foreign(entries: Iterable[items.Entry]) -> list[workflows.WorkflowItem]:
    """The documents of others that are here: what comes with Sluice, and what was installed from portals."""
    return [
        {
            "slug": one.slug,
            "type": one.type.value,
            "title": one.title,
            "version": one.version,
            "state": WorkflowState.PUBLISHED.value,
            "states": [WorkflowState.PUBLISHED.value],
            "draft_revision": None,
            "source": one.source,
            "updated_at": None,
            "updated_by": None,
        }
        for one in items.latest(entries)
        if one.source != "local" and one.type.value in authoring.KINDS
    ]
