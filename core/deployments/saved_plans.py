"""Saved plans: a plan is saved, made again from what was saved, and shown."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core import clock, errors
from core.deployments import changes, compute, plan_text
from core.deployments.plan_text import Room, Standing
from core.documents import canonical, differences
from core.documents.differences import Difference
from core.model.deployment import EMPTY, State
from core.model.plan import Action, Change, Plan, PlanBody, PlanRow, SavedPlan
from core.model.principal import Caller
from core.model.states import PlanState
from core.store import audit, deployments
from core.store import saved_plans as table
from core.store.database import Database

if TYPE_CHECKING:
    from core.model.results import findings, plans
    from core.model.results.deployments import Revision

SHOWN_CHANGES = 50  # on one page
SHOWN_FINDINGS = 30
MOST_FINDINGS = 1000
DIFF_CHARACTERS = 8_000  # of one answer
ROW_CHARACTERS = 160  # of the line of a change in the text, at most but for long names
SHOWN_REST = 10  # plans that are named alone, of several that are told together
SHOWN_VALUES = 30  # of the wish, and of each change


async def save(
    database: Database,
    ids: clock.Ids,
    caller: Caller,
    operation: str,
    made: Plan,
    base_revision: int,
    now_ns: int,
    expires_ns: int,
) -> str:
    """Save a plan that an operation made on a revision; returns its id."""
    plan_id = f"plan_{clock.token(16)}"
    saved = await asyncio.to_thread(row, made, plan_id, caller, base_revision, now_ns, expires_ns)
    note = audit.row(ids.next(), caller, operation, f"{caller.tenant}/{made.deployment}")
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
            stays=made.stays,
            to_revision=made.to_revision,
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
    return dataclasses.replace(
        made, contexts=body.contexts, secrets=body.secrets, stays=body.stays, to_revision=body.to_revision
    )


def standing_of(saved: SavedPlan) -> Standing:
    """Which plan a row is."""
    return Standing(saved.id, saved.base_revision, saved.expires_at_ns)


def to_answer(
    made: Plan, standing: Standing, *, detailed: bool = False, start: int = 0, room: Room = plan_text.WHOLE
) -> plans.Plan:
    """A plan as every door answers it: a page of the changes, from `start` on, and all that stands in the way.

    The concise form has the differences of updates, as far as they are short; the detailed one the documents of all
    changes, as many on a page as there is `room` for, and at least one.
    """
    every = [change for change in made.changes if change.action is not Action.UNCHANGED]
    page = every[start : start + SHOWN_CHANGES]
    diffs = _documents(page, room.characters) if detailed else _updates(page)
    end = start + len(diffs)
    findings = MOST_FINDINGS if detailed else SHOWN_FINDINGS
    return {
        "plan_id": standing.plan_id,
        "saved": standing.plan_id is not None,
        "name": made.deployment,
        "source": made.source,
        "base_revision": standing.base_revision,
        "digest": made.digest,
        "summary": dict(made.summary),
        "values": _lines(changes.of_wish(made.desired, made.base)) if not made.remove else [],
        "changes": [_change(change, diff) for change, diff in zip(every[start:end], diffs, strict=True)],
        "changes_left_out": len(every) - end,
        "next_cursor": str(end) if end < len(every) else None,
        "refused_until": made.refused_until[:findings],
        "warnings": [finding.to_dict() for finding in made.warnings[:findings]],
        "blockers": [finding.to_dict() for finding in made.blockers[:findings]],
        "stays": [remnant.to_dict() for remnant in made.stays[:findings]],
        "contexts": list(made.contexts[:findings]),
        "secrets": list(made.secrets[:findings]),
        "expires_at": clock.iso(standing.expires_ns) if standing.expires_ns is not None else None,
        "text": plan_text.detailed(made, standing, every[start:end], diffs, end, room)
        if detailed
        else plan_text.short(made, standing),
    }


def together(answers: Sequence[plans.Plan], characters: int = plan_text.CHARACTERS) -> str:
    """The texts of several plans as one: as many as there is room for, and of the others which they are."""
    out: list[str] = []
    room = characters - SHOWN_REST * ROW_CHARACTERS
    for one in answers:
        room -= len(one["text"]) + 2
        if out and room < 0:
            break
        out.append(one["text"])
    rest = answers[len(out) :]
    lines = [f"And {one['name']}: {one['plan_id'] or 'not saved'}" for one in rest[:SHOWN_REST]]
    if len(rest) > SHOWN_REST:
        lines.append(f"... and {len(rest) - SHOWN_REST} more plans: plan_list")
    return "\n\n".join([*out, *(["\n".join(lines)] if lines else [])])


def with_state(answer: plans.Plan, saved: SavedPlan, moved: Sequence[Revision] = ()) -> plans.SavedPlan:
    """The answer of a saved plan with what has become of it, in the text as well; `moved` are the entries of the
    history since it was made, which made it stale."""
    applied, created = saved.applied_as, clock.iso(saved.created_at_ns)
    became = f" as revision {applied}" if applied else ""
    since = "".join(
        f"\nSince then: revision {one['revision']} ({one['action']}) by {one['by']} at {one['at']}"
        + (f": {'; '.join(one['changed'])}" if one["changed"] else "")
        for one in moved
    )
    shown: plans.SavedPlan = {
        **answer,  # type: ignore[typeddict-item]  # which is not told yet what has moved
        "state": saved.standing,
        "applied_as_revision": applied,
        "by": saved.username,
        "created_at": created,
        "asked": {
            "worker_group": saved.body.desired["group"],
            "values": differences.masked(saved.body.desired["values"]),
            "remove": saved.body.remove,
            "to_revision": saved.body.to_revision,
        },
        "text": f"{answer['text']}\nIt is {saved.standing}{became}; made by {saved.username} at {created}.{since}",
    }
    return {**shown, "moved": list(moved)} if moved else shown


def _documents(page: Sequence[Change], budget: int) -> list[str]:
    """The diffs of the first changes that have room with their documents; of the first one as much as there is."""
    out: list[str] = []
    for change in page:
        diff = changes.diff(change, whole=True)
        size = ROW_CHARACTERS + sum(len(line) + 1 for line in plan_text.quote(diff))
        if out and size > budget:
            break
        out.append(diff if size <= budget else _cut(diff, budget))
        budget -= size
    return out


def _updates(page: Sequence[Change]) -> list[str]:
    """The diffs of what is updated, as far as they are short."""
    budget = DIFF_CHARACTERS
    out = []
    for change in page:
        diff = changes.diff(change)
        out.append(diff if len(diff) <= budget else _cut(diff, budget))
        budget = max(0, budget - len(diff))
    return out


def _cut(diff: str, characters: int) -> str:
    return diff[:characters] + "\n... cut; the job itself shows its document in full"


def _change(change: Change, diff: str) -> findings.PlannedChange:
    return {
        "action": change.action,
        "kind": change.kind,
        "id": change.id,
        "where": change.where,
        "reason": change.reason,
        "values": _lines(changes.values(change)),
        "diff": diff,
    }


def _lines(found: Sequence[Difference]) -> list[str]:
    """Differences as lines, as the text has them."""
    return [line for one in found[:SHOWN_VALUES] for line in one.lines()]
