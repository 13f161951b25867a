"""Why a job, or one replica of it, is as it is: who deployed it, what it said, how its worker is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.explain import conditions, schedules
from core.explain.chain import Call, Cause, Explanation
from core.explain.conditions import Down
from core.explain.schedules import Timing
from core.model.letter import EMPTY, Box
from core.model.workload import WorkloadView

SHOWN_REPLICAS = 5


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a job; `workload` narrows it to one replica."""

    name: str
    workloads: Sequence[WorkloadView]
    deeds: Sequence[Cause]  # who staged, deployed or applied it
    failures: Sequence[Cause]  # what it said when it failed, and its last log lines
    workers: Sequence[Cause]  # how its workers are
    staged: int | None = None  # the newest version of an unmanaged job
    workload: str = ""
    down: Sequence[Down] = ()
    absent: Sequence[str] = ()  # workers of it that are not there
    letters: Box = EMPTY  # events that it refused
    now_ns: int = 0
    timing: Timing | None = None  # its schedule
    homeless: bool = False  # a worker of it is not known any more


def explain(facts: Facts) -> Explanation:
    causes = [*facts.deeds, *facts.failures, *facts.workers, *(one.to_cause(facts.now_ns) for one in facts.down)]
    for row in facts.workloads[:SHOWN_REPLICAS]:
        causes += conditions.of_workload(row)
        again = f", {row.restarts} restarts" if row.restarts else ""
        why = f": {row.reason}" if row.reason else ""
        figures = _figures(row.metrics)
        causes.append(Cause(f"{row.id} (version {row.version}) on {row.worker} is {row.state}{again}{why}{figures}"))
    if facts.letters.any:
        causes.append(Cause(_letters(facts.letters), facts.letters.oldest or facts.letters.dropped_at_ns))
    if facts.timing is not None:
        causes += schedules.causes(facts.timing)
    if not facts.workloads:
        causes.append(Cause("no worker runs it, and none is asked to"))
    state = _state(facts)
    up = sum(row.state in ("running", "completed") for row in facts.workloads)
    managed = next((row.deployment for row in facts.workloads if row.deployment), "")
    worst = conditions.worst(facts.workloads)
    summary = f"{facts.workload or facts.name} is {state}"
    summary += f" ({since})" if (since := conditions.since(worst)) else ""
    summary += f"; {up} of {len(facts.workloads)} replicas up"
    summary += f"; it belongs to deployment {managed}." if managed else "."
    if facts.timing is not None and facts.timing.wrong:
        summary += f" {schedules.sentence(facts.timing)}"
    kind, id = ("workload", facts.workload) if facts.workload else ("job", facts.name)
    typed = next((row.typed for row in facts.workloads if row.condition is worst), ())
    more = conditions.more(worst, facts.down, facts.now_ns, typed)
    return Explanation(kind, id, state, summary, causes, _next(facts, state, managed), more)


def _state(facts: Facts) -> str:
    states = [row.state for row in facts.workloads]
    if not states:
        return "staged" if facts.staged is not None else "gone"
    for worst in ("quarantined", "failed", "assigned", "starting", "stopped"):
        if worst in states:
            return worst
    return "running" if "running" in states else "completed"


def _figures(metrics: Mapping[str, Any]) -> str:
    shown = [
        f"{key} {metrics[key]}" for key in ("events_in", "events_out", "errors", "lag_seconds") if metrics.get(key)
    ]
    return f" ({', '.join(shown)})" if shown else ""


def _letters(box: Box) -> str:
    dropped = f"; {box.dropped} more were dropped, for there was no room" if box.dropped else ""
    return f"refused events that wait as dead letters: {box.waiting}{dropped}"


def _next(facts: Facts, state: str, managed: str) -> list[Call]:
    calls = schedules.calls(facts.timing) if facts.timing is not None else []
    if facts.workloads:
        calls.append(Call("job_get", {"name": facts.name}, "see its document, figures and log"))
    if managed:
        calls.append(Call("deployment_get", {"name": managed}, "see the deployment that it belongs to"))
        if state == "quarantined":
            arguments = {"name": managed, "release": True}
            why = "run it again as it is, once its cause is gone; a mended version that is applied runs at once"
            calls.append(Call("deployment_reconcile", arguments, why))
        if state in ("assigned", "stopped"):
            arguments = {"name": managed, "dry_run": True}
            calls.append(Call("deployment_reconcile", arguments, "see what would mend it"))
    elif facts.staged is not None:
        if not facts.workloads:
            calls.append(Call("job_deploy", {"name": facts.name}, "run it"))
        elif state == "assigned" and (facts.absent or facts.homeless):
            calls.append(Call("job_deploy", {"name": facts.name}, "run it on a worker that is there"))
        elif state in ("failed", "quarantined"):
            calls.append(
                Call(
                    "job_deploy", {"name": facts.name}, "deploy it again once its document is mended, or to try it now"
                )
            )
    if facts.letters.any:
        calls.append(Call("dead_letter_list", {"job": facts.name}, "see the events that it refused, and why"))
    if facts.absent:
        calls.append(Call("explain", {"kind": "worker", "id": facts.absent[0]}, "see why its worker is not there"))
    return calls
