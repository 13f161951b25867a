"""Saved plans: a plan is saved, made again from what was saved, and shown."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from core import clock, errors
from core.deployments import changes, compute
from core.documents import canonical
from core.model.deployment import EMPTY, State
from core.model.plan import Action, Change, Plan, PlanBody, PlanRow, SavedPlan
from core.model.principal import Caller
from core.model.states import PlanState
from core.store import audit, deployments
from core.store import saved_plans as table
from core.store.database import Database

SHOWN_CHANGES = 50  # on one page
SHOWN_FINDINGS = 30
MOST_FINDINGS = 1000
DIFF_CHARACTERS = 8_000  # of one answer
DETAILED_DIFF_CHARACTERS = 100_000


async def save(
    database: Database, ids: clock.Ids, caller: Caller, made: Plan, base_revision: int, now_ns: int, expires_ns: int
) -> str:
    """Save a plan that was made on a revision; returns its id."""
    plan_id = f"plan_{clock.token(16)}"
    saved = await asyncio.to_thread(row, made, plan_id, caller, base_revision, now_ns, expires_ns)
    note = audit.row(ids.next(), caller, "deployment_plan", f"{caller.tenant}/{made.deployment}")
    await database.write(table.insert, saved, note)
    return plan_id


async def discard(database: Database, ids: clock.Ids, caller: Caller, saved: SavedPlan) -> None:
    """Withdraw a saved plan, so that it can never be applied; one that is over stays as it is.

    Raises Forbidden unless the caller made it.
    """
    if saved.username != caller.username:
        raise errors.Forbidden(f"This plan was made by {saved.username}; only they can discard it.")
    note = audit.row(ids.next(), caller, "plan_discard", f"{saved.tenant}/{saved.name}")
    await database.write(table.discard, saved.id, note)


async def load(database: Database, saved: SavedPlan) -> Plan:
    """A saved plan as it was made."""
    base = await database.read(deployments.wish, saved.tenant, saved.name, saved.base_revision)
    return await asyncio.to_thread(again, saved, base)


def row(made: Plan, plan_id: str, caller: Caller, base_revision: int, now_ns: int, expires_ns: int) -> PlanRow:
    """The row of a plan that is saved. Its digest is that of the wish as it is stored, so that a change shows."""
    desired = made.desired.to_dict()
    return PlanRow(
        id=plan_id,
        tenant=caller.tenant,
        name=made.deployment,
        state=PlanState.OPEN.value,
        base_revision=base_revision,
        digest=canonical.digest(desired),
        username=caller.username,
        created_at_ns=now_ns,
        expires_at_ns=expires_ns,
        body=PlanBody(
            desired=desired,
            remove=made.remove,
            contexts=made.contexts,
            secrets=made.secrets,
            summary=made.summary,
            warnings=made.warnings,
            blockers=made.blockers,
        ),
    )


def again(saved: SavedPlan, base: Mapping[str, Any] | None) -> Plan:
    """A saved plan as it was made: its changes follow from its wish and that of the revision it was made on.

    `base` is the wish of its base revision (None: there was none).
    """
    body = saved.body
    made = compute.compare(
        saved.name,
        State.from_dict(body.desired),
        State.from_dict(base) if base is not None else EMPTY,
        body.warnings,
        body.blockers,
        removal=body.remove,
    )
    return dataclasses.replace(made, contexts=body.contexts, secrets=body.secrets)


def to_answer(
    made: Plan,
    *,
    plan_id: str | None,
    base_revision: int,
    expires_ns: int | None,
    detailed: bool = False,
    start: int = 0,
) -> dict[str, Any]:
    """A plan as every door shows it: a page of the changes, from `start` on, and all that stands in the way.

    The concise form has the differences of updates, as far as they are short; the detailed one those of all changes.
    """
    every = [change for change in made.changes if change.action is not Action.UNCHANGED]
    page = every[start : start + SHOWN_CHANGES]
    end = start + len(page)
    findings = MOST_FINDINGS if detailed else SHOWN_FINDINGS
    return {
        "plan_id": plan_id,
        "saved": plan_id is not None,
        "name": made.deployment,
        "source": made.source,
        "base_revision": base_revision,
        "digest": made.digest,
        "summary": dict(made.summary),
        "changes": _changes(page, detailed),
        "changes_left_out": len(every) - end,
        "next_cursor": str(end) if end < len(every) else None,
        "warnings": [finding.to_dict() for finding in made.warnings[:findings]],
        "blockers": [finding.to_dict() for finding in made.blockers[:findings]],
        "contexts": list(made.contexts[:findings]),
        "secrets": list(made.secrets[:findings]),
        "expires_at": clock.iso(expires_ns) if expires_ns is not None else None,
        "text": compute.text(made, detailed=True) if detailed else made.text,
    }


def _changes(page: Sequence[Change], detailed: bool) -> list[dict[str, str]]:
    budget = DETAILED_DIFF_CHARACTERS if detailed else DIFF_CHARACTERS
    out = []
    for change in page:
        text = changes.diff(change, whole=detailed)
        if len(text) > budget:
            text = text[:budget] + "\n... cut; the job itself shows its document in full"
        budget = max(0, budget - len(text))
        out.append(
            {
                "action": change.action.value,
                "kind": change.kind.value,
                "id": change.id,
                "where": change.where,
                "reason": change.reason,
                "diff": text,
            }
        )
    return out
