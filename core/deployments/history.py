"""The revisions of a deployment: what was done at each, by whom and why, and what differs between two of them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core import clock, errors
from core.deployments import compute, plan_text, saved_plans
from core.documents import differences
from core.model.deployment import HistoryEntry, State
from core.model.plan import SavedPlan
from core.store import deployments as table
from core.store.database import Database

if TYPE_CHECKING:
    from core.model.results.deployments import DeploymentHistory, Revision

SHOWN_MOVES = 3
SHOWN_VALUES = 6  # of one revision in a list
_NOTHING: Mapping[str, Any] = {
    "source": "",
    "worker_group": "",
    "environment": "",
    "values": {},
    "placement": {},
    "replicas": {},
    "resets": {},
}


async def changed(database: Database, tenant: str, name: str, revisions: Collection[int]) -> dict[int, list[str]]:
    """What was asked for differently at each revision than at the one before it, as lines."""
    needed = sorted({number for revision in revisions for number in (revision - 1, revision)})
    found = {0: _NOTHING, **await database.read(table.asked, tenant, name, needed)}
    return {
        revision: _lines(list(differences.between(found[revision - 1], found[revision])))
        for revision in revisions
        if revision in found and revision - 1 in found
    }


def _lines(found: Sequence[differences.Difference]) -> list[str]:
    lines = [line for one in found[:SHOWN_VALUES] for line in one.lines()]
    return lines + ([f"... and {len(found) - SHOWN_VALUES} more"] if len(found) > SHOWN_VALUES else [])


def to_answer(entry: HistoryEntry, changed: Sequence[str] = ()) -> Revision:
    """An entry of the history as every door answers it.

    `action` is apply, remove, reconcile, or rollback: the wish of `to_revision` again, applied by somebody or brought
    back by a health gate (without a plan).
    """
    return {
        "history_id": clock.encode(entry.id),
        "revision": entry.revision,
        "action": "rollback" if entry.to_revision else entry.action,
        "to_revision": entry.to_revision,
        "source": entry.source,
        "by": entry.username,
        "surface": entry.surface,
        "at": clock.iso(entry.id),
        "plan_id": entry.plan_id or None,
        "summary": entry.summary,
        "changed": list(changed),
        "reason": entry.reason,
    }


async def moved(database: Database, saved: SavedPlan) -> list[Revision]:
    """What came after the revision that a plan was made on, the newest first, as `to_answer` gives it."""
    since = await database.read(table.history, saved.tenant, saved.name, saved.base_revision)
    since = since[:SHOWN_MOVES]
    said = await changed(database, saved.tenant, saved.name, {entry.revision for entry in since})
    return [to_answer(entry, said.get(entry.revision, ())) for entry in since]


async def wish(database: Database, tenant: str, name: str, revision: int) -> dict[str, Any]:
    """The wish of a revision, as `State.to_dict` gives it. Raises NotFound."""
    found: dict[str, Any] | None = await database.read(table.wish, tenant, name, revision)
    if found is None:
        raise errors.NotFound(
            f"There is no revision {revision} of a deployment {name} in tenant {tenant}.",
            hint=f"deployment_history(name={name!r}) lists the revisions.",
        )
    return found


async def compare(database: Database, tenant: str, name: str, old: int, new: int, total: int) -> DeploymentHistory:
    """The entries of two revisions, and what differs between them; `total` revisions there are. Raises NotFound."""
    wishes = [await wish(database, tenant, name, number) for number in (old, new)]
    entries = [await database.read(table.entry, tenant, name, number) for number in (old, new)]
    said = await changed(database, tenant, name, (old, new))
    items = [to_answer(entry, said.get(entry.revision, ())) for entry in entries if entry is not None]
    return await asyncio.to_thread(_compared, name, wishes, items, total)


def _compared(name: str, wishes: Sequence[Mapping[str, Any]], items: list[Revision], total: int) -> DeploymentHistory:
    before, after = map(State.from_dict, wishes)
    made = compute.compare(name, after, before)
    old, new = (item["revision"] for item in items)
    head = [f"{name}: revision {old} -> revision {new}", *map(_line, items)]
    answer = saved_plans.to_answer(made, plan_text.Standing(None, old, None))
    return {
        "items": items,
        "summary": answer["summary"],
        "values": answer["values"],
        "changes": answer["changes"],
        "changes_left_out": answer["changes_left_out"],
        "text": plan_text.compared(made, head),
        "next_cursor": None,
        "total": total,
    }


def _line(item: Revision) -> str:
    back = f" to revision {item['to_revision']}" if item["to_revision"] else ""
    plan = f", plan {item['plan_id']}" if item["plan_id"] else ""
    why = f": {errors.shorten(item['reason'], 300)}" if item["reason"] else ""
    who = f"{item['by']} through {item['surface']} at {item['at']}"
    return f"Revision {item['revision']}: {item['action']}{back} by {who}{plan}{why}"
