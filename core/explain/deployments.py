"""Why a deployment is as it is: who applied what, what did not come up, which worker is gone, what differs now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.deployments import status
from core.explain import conditions, responsible, schedules
from core.explain.chain import Call, Cause, Explanation, counted
from core.explain.conditions import Down
from core.explain.responsible import Responsible
from core.explain.schedules import Timing
from core.model.condition import Condition, Health
from core.model.deployment import HistoryEntry
from core.model.states import WorkloadState
from core.model.typed_condition import Typed
from core.model.workload import WorkloadView, parse

if TYPE_CHECKING:
    from core.model.results.deployments import Drift

SHOWN_FAULTS = 4
FAULTY = (WorkloadState.FAILED, WorkloadState.QUARANTINED)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a deployment."""

    name: str
    revision: int
    state: str
    reason: str
    history: Sequence[HistoryEntry]  # newest first
    workloads: Sequence[WorkloadView]
    drift: Sequence[Drift]
    failures: Sequence[Cause]  # what jobs said of their failures, and their last log lines
    workers: Sequence[Cause]  # which workers of it were lost, and which came back
    earlier: int | None = None  # the last revision before the present one that ran something
    source: str = ""
    responsible: Sequence[Responsible] = ()  # the values that its failures come from
    condition: Condition | None = None
    down: Sequence[Down] = ()  # its workloads that were down with a worker or the engine
    absent: Sequence[str] = ()  # workers of it that are not there
    now_ns: int = 0
    typed: Typed = ()  # what is so of it by type
    timings: Sequence[Timing] = ()  # the schedules of its jobs


def explain(facts: Facts) -> Explanation:
    causes = [Cause(applied(entry), entry.id) for entry in facts.history[:4]]
    unwell = [row for row in facts.workloads if not status.up(row)]
    causes += [*facts.workers, *facts.failures, *(one.to_cause(facts.now_ns) for one in facts.down)]
    warned = [row for row in facts.workloads if status.up(row) and not status.well(row)]
    for row in [*unwell, *warned][:SHOWN_FAULTS]:
        causes += conditions.of_workload(row)
        again = f" after {row.restarts} restarts" if row.restarts else ""
        why = f": {row.reason}" if row.reason else ""
        causes.append(Cause(f"{row.job} on {row.worker or 'no worker'} is {row.state}{again}{why}"))
    for timing in schedules.wrong(facts.timings)[: schedules.SHOWN]:
        causes += schedules.causes(timing)
    known = {row.id for row in unwell}
    for one in [one for one in facts.drift if one["id"] not in known][:SHOWN_FAULTS]:
        causes.append(Cause(f"{one['kind']}: {one['id']} should be {one['expected']}, is {one['observed']}"))
    if not unwell and not warned and not facts.drift and facts.state != "removed":
        causes.append(Cause(f"all {len(facts.workloads)} workloads are up, and nothing differs from what was applied"))
    up = len(facts.workloads) - len(unwell)
    summary = f"{facts.name} is {facts.state} at revision {facts.revision}"
    summary += f" ({since})" if (since := conditions.since(facts.condition)) else ""
    summary += f"; {up} of {len(facts.workloads)} workloads up."
    if warned and facts.condition is not None and facts.condition.health is Health.WARNING:
        summary += f" {facts.condition.reason}."
    for timing in schedules.wrong(facts.timings)[: schedules.SHOWN]:
        summary += f" {schedules.sentence(timing)}"
    for value in facts.responsible:
        summary += f" {responsible.sentence(value)}"
    if facts.reason:
        summary += f" {facts.reason}."
    more = conditions.more(facts.condition, facts.down, facts.now_ns, facts.typed)
    if facts.responsible:
        more["responsible"] = [responsible.to_dict(value) for value in facts.responsible]
    return Explanation("deployment", facts.name, facts.state, summary, causes, _next(facts, unwell, warned), more)


def applied(entry: HistoryEntry) -> str:
    """One entry of the history as a sentence."""
    verb = {"apply": "applied", "remove": "removed", "rollback": "took back", "reconcile": "reconciled"}
    what = f"{entry.username} {verb.get(entry.action, entry.action)}"
    if entry.action in ("apply", "rollback"):
        what += f" {entry.source}"
    what += f" as revision {entry.revision} through {entry.surface}"
    if entry.plan_id:
        what += f" with {entry.plan_id}"
    return f"{what}: {entry.reason or counted(entry.summary)}"


def _next(facts: Facts, unwell: Sequence[WorkloadView], warned: Sequence[WorkloadView]) -> list[Call]:
    name = facts.name
    calls: list[Call] = []
    if facts.state == "removed":
        if facts.earlier is not None:
            arguments = {"name": name, "to_revision": facts.earlier}
            calls.append(Call("deployment_plan", arguments, "plan to bring back what ran last"))
        return [*calls, Call("deployment_history", {"name": name}, "see what was applied")]
    for value in facts.responsible[:2]:
        calls += responsible.calls(name, facts.source, value)
    late = schedules.wrong(facts.timings)
    for timing in late[:1]:
        calls += schedules.calls(timing)
    if not unwell and warned:
        arguments = {"kind": "workload", "id": parse(warned[0].id).name}
        calls.append(Call("explain", arguments, "see what this workload said"))
    failed = next((row for row in unwell if row.state in FAULTY or row.failing), None)
    if any(row.state == WorkloadState.QUARANTINED for row in unwell):
        arguments = {"name": name, "release": True}
        calls.append(Call("deployment_reconcile", arguments, "run what is quarantined again, once its cause is gone"))
    if failed is not None:
        id = parse(failed.id).name
        calls.append(Call("explain", {"kind": "workload", "id": id}, "see why this workload fails"))
    if late and not unwell and not warned:
        job = late[0].schedule.job
        calls.append(Call("explain", {"kind": "job", "id": job}, "see why this job did not run"))
    if facts.absent and failed is None:
        calls.append(Call("explain", {"kind": "worker", "id": facts.absent[0]}, "see why its worker is not there"))
    if facts.drift and failed is None:
        calls.append(Call("deployment_reconcile", {"name": name, "dry_run": True}, "see what would mend it"))
    if (facts.state == "degraded" or facts.drift) and facts.earlier is not None:
        arguments = {"name": name, "to_revision": facts.earlier}
        calls.append(Call("deployment_plan", arguments, "plan the way back to the version before"))
    if facts.state == "applying":
        calls.append(Call("deployment_get", {"name": name}, "look again in a few seconds"))
    if not calls:
        calls.append(Call("deployment_get", {"name": name, "detail": "detailed"}, "see its placement and figures"))
    return calls
