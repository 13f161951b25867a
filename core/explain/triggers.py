"""Why a trigger works or does not: who published it, and what does not fit between it and its job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.explain.chain import Call, Cause, Explanation
from core.explain.targets import Mismatch
from core.model.trigger import Definition


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a trigger and its job."""

    definition: Definition
    revision: int
    active: bool
    deeds: Sequence[Cause]  # who published or deactivated it
    mismatches: Sequence[Mismatch]
    replicas: int  # of its job
    running: int
    may_write: bool  # whether the caller may make the calls that mend it


def explain(facts: Facts) -> Explanation:
    definition = facts.definition
    slug, job = definition.slug, definition.target_job_name
    causes = [*facts.deeds, *(Cause(one.message) for one in facts.mismatches)]
    if facts.replicas:
        where = f"in tenant {definition.tenant_id}, {facts.running} of {facts.replicas} replicas running"
        causes.append(Cause(f"job {job} is deployed {where}"))
    if not facts.mismatches:
        slot = definition.response_slot
        answers = f", and its document answers in the slot {slot}" if slot else "; no run waits for an answer"
        causes.append(Cause(f"its filter takes the messages of the trigger{answers}"))
    state = "active" if facts.active else "inactive"
    return Explanation("trigger", slug, state, _summary(facts, state), causes, _next(facts))


def _summary(facts: Facts, state: str) -> str:
    text = f"Trigger {facts.definition.slug} is {state} at revision {facts.revision}."
    if not facts.active:
        text += " Nobody is offered it; a revision brings it back."
    if not facts.mismatches:
        return f"{text} Its job {facts.definition.target_job_name} fits it."
    return " ".join([text, *(one.message for one in facts.mismatches)])


def _next(facts: Facts) -> list[Call]:
    definition = facts.definition
    calls = [call for one in facts.mismatches for call in one.mend if facts.may_write]
    if not facts.active and facts.may_write and not any(call.operation == "trigger_revise" for call in calls):
        whole = definition.model_dump(exclude_defaults=True, exclude={"kind"}) | {"tenant_id": definition.tenant_id}
        calls.append(Call("trigger_revise", whole, "offer it again as it was"))
    if facts.running < facts.replicas:
        calls.append(Call("explain", {"kind": "job", "id": definition.target_job_name}, "see why its job does not run"))
    if not calls:
        calls.append(Call("trigger_get", {"slug": definition.slug}, "see target job, tag and response slot"))
    return calls
