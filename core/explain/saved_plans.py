"""Why a plan can or cannot be applied: who made it on what, what has moved since, what stands in the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core import clock
from core.explain.chain import Call, Cause, Explanation, counted
from core.explain.deployments import applied
from core.model.deployment import HistoryEntry
from core.model.plan import SavedPlan

SHOWN = 6


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a saved plan."""

    plan: SavedPlan
    revision: int  # of the deployment now; 0: there is none
    since: Sequence[HistoryEntry]  # the history after its base revision, newest first


def explain(facts: Facts) -> Explanation:
    plan, body = facts.plan, facts.plan.body
    base, name, state = plan.base_revision, plan.name, plan.standing
    on = f"revision {base}" if base else "nothing"
    what = "the removal" if body.remove else body.desired["source"]
    made = f"{plan.username} planned {what} of {name} on {on}: {counted(body.summary)}"
    causes = [Cause(made, plan.created_at_ns)]
    causes += [Cause(applied(entry), entry.id) for entry in facts.since[:SHOWN]]
    if state == "expired":
        causes.append(Cause("it expired", plan.expires_at_ns))
    if state in ("open", "expired", "stale"):
        causes += [Cause(f"blocker {one.code}: {one.message} {one.hint}") for one in body.blockers[:SHOWN]]
        causes += [Cause(f"warning {one.code}: {one.message}") for one in body.warnings[:SHOWN]]
    return Explanation("plan", plan.id, state, _summary(facts, state), causes, _next(facts, state))


def _summary(facts: Facts, state: str) -> str:
    plan = facts.plan
    blockers = len(plan.body.blockers)
    match state:
        case "open" if blockers:
            return f"The plan cannot be applied; blockers: {blockers}."
        case "open":
            return f"The plan can be applied by {plan.username} until {clock.iso(plan.expires_at_ns)}."
        case "applied":
            return f"The plan was applied as revision {plan.applied_as}; a plan is applied once."
        case "stale":
            base = plan.base_revision
            return f"The plan was made on revision {base}, and {plan.name} is at revision {facts.revision}."
        case "expired":
            return f"The plan expired at {clock.iso(plan.expires_at_ns)}."
        case _:
            return "The plan was discarded by who made it."


def _next(facts: Facts, state: str) -> list[Call]:
    plan = facts.plan
    name, body = plan.name, plan.body
    again: dict[str, Any] = {"name": name}
    if body.remove:
        again["remove"] = True
    else:
        again["source"] = body.desired["source"]
        if body.desired["values"]:
            again["values"] = body.desired["values"]
    match state:
        case "open" if body.blockers:
            return [Call("deployment_plan", again, "plan again once the blockers are mended")]
        case "open":
            return [
                Call("plan_get", {"plan_id": plan.id}, "see what it would change"),
                Call("deployment_apply", {"plan_id": plan.id}, "carry it out, when the user agrees"),
            ]
        case "applied":
            return [Call("explain", {"kind": "deployment", "id": name}, "see what it has come to")]
        case _:
            return [Call("deployment_plan", again, "make a new plan and look at it")]
