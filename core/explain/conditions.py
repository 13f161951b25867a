"""Since when things are as they are, and which workloads were down from when to when, as causes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core import clock
from core.explain.chain import Cause
from core.model.condition import UP, Condition, Health, Outage
from core.model.typed_condition import HARD, Status, Typed
from core.model.workload import WorkloadView, parse
from core.store.conditions import OutageRow

if TYPE_CHECKING:
    from core.model.results import explaining

SHOWN_OUTAGES = 3
SHOWN_NAMES = 4
TOGETHER_NS = clock.NANOSECONDS  # what began within this time is one
LOOKED_BACK_NS = 24 * 3600 * clock.NANOSECONDS

_WHY = {
    Outage.WORKER_LOST: "worker {worker} was lost",
    Outage.WORKER_STOPPED: "worker {worker} ended, as it was asked to",
    Outage.ENGINE_LOST: "the engine was gone",
    Outage.ENGINE_STOPPED: "the engine was stopped",
}


def since(condition: Condition | None) -> str:
    """How a thing is since when, and how often it has failed; empty when nothing is known."""
    if condition is None:
        return ""
    return f"{condition.health.value} since {clock.iso(condition.since_ns)}{_failures(condition)}"


def _failures(condition: Condition) -> str:
    if not condition.failures:
        return ""
    times = "once" if condition.failures == 1 else f"{condition.failures} times"
    first, last = clock.iso(condition.first_failed_at_ns), clock.iso(condition.last_failed_at_ns)
    when = f"at {first}" if condition.failures == 1 else f"from {first} to {last}"
    before = "before that it " if condition.health in UP else "it "
    return f", {before}failed {times} {when}"


def of_workload(one: WorkloadView) -> list[Cause]:
    """When a workload began to be as it is."""
    condition = one.condition
    if condition is None:
        return []
    began = {
        Health.HEALTHY: "is well since then",
        Health.PROGRESSING: "is coming up since then",
        Health.WARNING: "is up with a warning since then",
    }
    what = began.get(condition.health, f"is {condition.health.value} since then")
    why = f": {condition.reason}" if condition.health is Health.DOWN else ""  # any other is told beside it
    return [Cause(f"{parse(one.id).name} {what}{_failures(condition)}{why}", condition.since_ns)]


def worst(workloads: Iterable[WorkloadView]) -> Condition | None:
    """The condition of the workload that is worst off, and of these the one that is so for longest."""
    order = (Health.QUARANTINED, Health.FAILING, Health.DOWN, Health.WARNING, Health.PROGRESSING)
    known = [one.condition for one in workloads if one.condition is not None]
    rank = {health: number for number, health in enumerate(order)}
    return min(known, key=lambda one: (rank.get(one.health, len(order)), one.since_ns), default=None)


@dataclass(frozen=True, slots=True)
class Down:
    """Workloads that went down at one moment for one cause; `ended_at_ns` is when the last of them was up again."""

    cause: Outage
    worker: str  # empty: all of them, with the engine
    began_at_ns: int
    ended_at_ns: int  # 0: some are down now
    workloads: tuple[str, ...]

    def seconds(self, now_ns: int) -> float:
        return max(0, (self.ended_at_ns or now_ns) - self.began_at_ns) / clock.NANOSECONDS

    def to_cause(self, now_ns: int) -> Cause:
        names = ", ".join(self.workloads[:SHOWN_NAMES])
        more = len(self.workloads) - SHOWN_NAMES
        who = f"{names} and {more} more" if more > 0 else names
        one = len(self.workloads) == 1
        lasted = f"{self.seconds(now_ns):.1f} s"
        if self.ended_at_ns:
            end = f"{'was' if one else 'were'} down until {clock.iso(self.ended_at_ns)} ({lasted})"
        else:
            end = f"{'is' if one else 'are'} down since then ({lasted} by now)"
        return Cause(f"{_WHY[self.cause].format(worker=self.worker)}: {who} {end}", self.began_at_ns)

    def to_dict(self, now_ns: int) -> explaining.Down:
        """`to` is null while it lasts."""
        return {
            "cause": self.cause,
            "worker": self.worker or None,
            "from": clock.iso(self.began_at_ns),
            "to": clock.iso(self.ended_at_ns) if self.ended_at_ns else None,
            "seconds": round(self.seconds(now_ns), 3),
            "workloads": len(self.workloads),
            "names": list(self.workloads[:SHOWN_NAMES]),
        }


def outages(rows: Sequence[OutageRow], most: int = SHOWN_OUTAGES) -> list[Down]:
    """The last outages, each with all the workloads that it took down, newest first."""
    groups: list[tuple[Outage, str, list[OutageRow]]] = []
    for row in sorted(rows, key=lambda one: (-one.began_at_ns, one.workload)):
        cause = Outage(row.cause)
        worker = row.worker if cause in (Outage.WORKER_LOST, Outage.WORKER_STOPPED) else ""
        for known, of, members in groups:
            if (known, of) == (cause, worker) and members[0].began_at_ns - row.began_at_ns < TOGETHER_NS:
                members.append(row)
                break
        else:
            groups.append((cause, worker, [row]))
    return [
        Down(
            cause,
            worker,
            min(row.began_at_ns for row in members),
            0 if any(not row.ended_at_ns for row in members) else max(row.ended_at_ns for row in members),
            tuple(sorted(row.workload for row in members)),
        )
        for cause, worker, members in groups[:most]
    ]


def more(condition: Condition | None, down: Sequence[Down], now_ns: int, typed: Typed = ()) -> explaining.More:
    """{condition, conditions, outages} of an answer, what there is of them; of the typed ones those that warn."""
    out: explaining.More = {}
    if condition is not None:
        out["condition"] = condition.to_dict()
    if false := [one.to_dict() for one in typed if one.status is Status.FALSE and one.type not in HARD]:
        out["conditions"] = false
    if down:
        out["outages"] = [one.to_dict(now_ns) for one in down]
    return out
