"""Why a plan can or cannot be applied: who made it on what, what has moved since, what stands in the way."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core import clock
from core.explain.chain import Call, Cause, Explanation, counted
from core.explain.deployments import applied
from core.model import secret
from core.model.deployment import HistoryEntry
from core.model.plan import Finding, SavedPlan
from core.model.worker_group import DEFAULT_GROUP

SHOWN = 6
MOST_SECRETS = 3  # steps that set one
_SECRET = re.compile(r"missing secret ([^\s:]+):")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a saved plan."""

    plan: SavedPlan
    revision: int  # of the deployment now; 0: there is none
    since: Sequence[HistoryEntry]  # the history after its base revision, newest first
    changed: Mapping[int, Sequence[str]] = field(default_factory=dict)  # the values that each revision changed


def explain(facts: Facts) -> Explanation:
    plan, body = facts.plan, facts.plan.body
    base, name, state = plan.base_revision, plan.name, plan.standing
    on = f"revision {base}" if base else "nothing"
    what = "the removal" if body.remove else body.desired["source"]
    made = f"{plan.username} planned {what} of {name} on {on}: {counted(body.summary)}"
    causes = [Cause(made, plan.created_at_ns)]
    for entry in facts.since[:SHOWN]:
        values = "; ".join(facts.changed.get(entry.revision, ()))
        causes.append(Cause(applied(entry) + (f" ({values})" if values else ""), entry.id))
    if state == "expired":
        causes.append(Cause("it expired", plan.expires_at_ns))
    if state in ("open", "expired", "stale"):
        causes += [Cause(_blocker(one)) for one in body.blockers[:SHOWN]]
        causes += [Cause(f"warning {one.code}: {one.message}") for one in body.warnings[:SHOWN]]
    return Explanation("plan", plan.id, state, _summary(facts, state), causes, _next(facts, state))


def _blocker(one: Finding) -> str:
    hint = "" if one.code == "missing_secret" else f" {one.hint}"  # that one is a step of its own
    return f"blocker {one.code}: {one.message}{hint}"


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


def _set(name: str, tenant: str) -> Call:
    typed = secret.command(name, tenant)
    return Call("secret_set", {"name": name}, "set the missing secret, from standard input or a file", typed)


def _next(facts: Facts, state: str) -> list[Call]:
    plan = facts.plan
    name, body = plan.name, plan.body
    again: dict[str, Any] = {"name": name}
    if body.remove:
        again["remove"] = True
    elif body.to_revision:
        again["to_revision"] = body.to_revision
    else:
        again["source"] = body.desired["source"]
        wished = {key: body.desired.get(key) for key in ("values", "placement", "replicas", "environment")}
        again |= {key: value for key, value in wished.items() if value}
        if (group := body.desired.get("worker_group", DEFAULT_GROUP)) != DEFAULT_GROUP:
            again["worker_group"] = group
    match state:
        case "open" if body.blockers:
            missing = [one for one in body.blockers if one.code == "missing_secret"]
            sets = [_set(found[1], plan.tenant) for one in missing if (found := _SECRET.match(one.message))]
            return [*sets[:MOST_SECRETS], Call("deployment_plan", again, "plan again once the blockers are mended")]
        case "open":
            return [
                Call("plan_get", {"plan_id": plan.id}, "see what it would change"),
                Call("deployment_apply", {"plan_id": plan.id}, "carry it out, when the user agrees"),
            ]
        case "applied":
            return [Call("explain", {"kind": "deployment", "id": name}, "see what it has come to")]
        case _:
            return [Call("deployment_plan", again, "make a new plan and look at it")]
