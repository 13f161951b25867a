"""The health gate: whether what was applied has come up, in time and to stay. Pure; rollout.py looks and acts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import orjson

from core.deployments.reconcile import SETTLED
from core.deployments.status import up, well
from core.model.states import WorkloadState
from core.model.workload import WorkloadRow, WorkloadView

if TYPE_CHECKING:
    from core.model.results import deployments

DEADLINE_SECONDS = 30
MOST_FAILURES = 3  # a workload that failed this often since the apply is not waited for any longer
STEADY_SECONDS = 0.3  # a job that fails at once does so within this time
STEADY_BEFORE_KEEPING_SECONDS = 2.0  # when the choice is between keeping a version and taking it back
STEADY_WHEN_STRICT_SECONDS = 15.0  # so long it takes to see that whatever comes is refused or skipped
SHOWN_REASONS = 3


@dataclass(frozen=True, slots=True)
class Gate:
    """How an apply is watched.

    `back_to` is the revision to take back when it does not come up (0: remove it), `excused` the workloads that are
    not judged: they were unwell before, and the apply does not touch them. Of these it waits for the `awaited`, which
    hand events directly to or from what it touches: that may be all that ailed them. When it is `strict`, what is up
    with a warning has not come up.
    """

    seconds: float = DEADLINE_SECONDS
    back_to: int | None = None
    plan_id: str = ""
    excused: frozenset[str] = frozenset()
    awaited: frozenset[str] = frozenset()
    strict: bool = False

    @property
    def steady_seconds(self) -> float:
        if self.strict:
            return min(STEADY_WHEN_STRICT_SECONDS, self.seconds / 2)
        return STEADY_SECONDS if self.back_to is None else STEADY_BEFORE_KEEPING_SECONDS

    def to_text(self) -> str:
        data = {"seconds": self.seconds, "back_to": self.back_to, "plan_id": self.plan_id, "strict": self.strict}
        return orjson.dumps({**data, "excused": sorted(self.excused), "awaited": sorted(self.awaited)}).decode()

    @staticmethod
    def from_text(text: str) -> Gate:
        """The gate that was stored; the usual one when none was (a row of an older Sluice)."""
        data = orjson.loads(text) if text else {}
        return Gate(
            data.get("seconds", DEADLINE_SECONDS),
            data.get("back_to"),
            data.get("plan_id", ""),
            frozenset(data.get("excused", ())),
            frozenset(data.get("awaited", ())),
            data.get("strict", False),
        )


class Verdict(StrEnum):
    """What a look at the workloads says about an apply."""

    PENDING = "pending"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Fault:
    """One workload that is not up, and why."""

    workload: str
    job: str
    worker: str
    state: str
    reason: str

    def to_dict(self) -> deployments.UnwellBefore:
        return {
            "workload": self.workload,
            "job": self.job,
            "worker": self.worker,
            "state": self.state,
            "reason": self.reason,
        }

    def __str__(self) -> str:
        return f"{self.job} is {self.state}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the gate of a revision has found: whether all that it judges came up, and what was unwell before."""

    revision: int
    came_up: bool
    unwell_before: tuple[Fault, ...] = ()


@dataclass(slots=True)
class Watch:
    """One apply under watch. Times are seconds on the monotonic clock."""

    gate: Gate
    wanted: Mapping[str, str]  # workload id -> its job, of all that is judged
    started: float
    faults: list[Fault] = field(default_factory=list)
    unwell_before: list[Fault] = field(default_factory=list)  # what is not judged, and still not up
    up: int = 0
    _before: dict[str, int] = field(default_factory=dict)  # restarts when the watch began
    _calm_since: float | None = None
    _restarts: int = 0

    def judge(self, workloads: Iterable[WorkloadView], now: float) -> Verdict:
        """Look at the workloads and decide."""
        seen = {one.id: one for one in workloads}
        self.faults = []
        self.unwell_before = [_fault(seen[id]) for id in self.gate.excused if id in seen and not up(seen[id])]
        restarts, given_up = 0, False
        for id, job in self.wanted.items():
            one = seen.get(id)
            if one is None:
                self.faults.append(Fault(id, job, "", "missing", "nothing runs it"))
                continue
            since = one.restarts - self._before.setdefault(id, one.restarts)
            restarts += one.restarts
            if not up(one) or (self.gate.strict and not well(one)):
                self.faults.append(_fault(one))
                given_up |= one.state == WorkloadState.QUARANTINED
                given_up |= one.state == WorkloadState.FAILED and since + 1 >= MOST_FAILURES
        self.up = len(self.wanted) - len(self.faults)
        if self.faults or restarts != self._restarts:
            self._calm_since = None
        self._restarts = restarts
        if not self.faults and self._calm_since is None:
            self._calm_since = now
        over = now - self.started >= self.gate.seconds
        awaited = any(fault.workload in self.gate.awaited for fault in self.unwell_before)
        calm = self._calm_since is not None and now - self._calm_since >= self.gate.steady_seconds
        if calm and (over or not awaited):
            return Verdict.HEALTHY
        if given_up or over:
            return Verdict.UNHEALTHY
        return Verdict.PENDING

    def due(self, now: float) -> float:
        """How many seconds from now the verdict may change without any news."""
        deadline = self.started + self.gate.seconds
        if self._calm_since is not None and now < self._calm_since + self.gate.steady_seconds:
            deadline = min(deadline, self._calm_since + self.gate.steady_seconds)
        return max(0.0, deadline - now)

    def progress(self) -> str:
        """How far it is, for people."""
        text = f"{self.up} of {len(self.wanted)} workloads are up"
        first = next(iter((*self.faults, *self.unwell_before)), None)
        return f"{text}; {first}" if first is not None else text


def explain_faults(faults: Sequence[Fault], total: int) -> str:
    """Why an apply is not healthy, in one line."""
    if not faults:
        return "the workloads did not stay up"
    return f"{len(faults)} of {total} workloads did not come up: {_some(faults)}"


def explain_before(faults: Sequence[Fault]) -> str:
    """What was unwell before an apply and is not touched by it, in one line; empty when there is nothing."""
    return f"unwell before, and not touched: {_some(faults)}" if faults else ""


def _some(faults: Sequence[Fault]) -> str:
    gravest = sorted(faults, key=lambda fault: fault.state in SETTLED)  # what is up again last
    shown = "; ".join(str(fault) for fault in gravest[:SHOWN_REASONS])
    return f"{shown} (and {len(faults) - SHOWN_REASONS} more)" if len(faults) > SHOWN_REASONS else shown


def _fault(one: WorkloadView) -> Fault:
    return Fault(one.id, one.job, one.worker, one.state, one.reason)


def excusing(
    gate: Gate,
    wanted: Sequence[WorkloadRow],
    stored: Iterable[WorkloadRow],
    observed: Iterable[WorkloadView],
    together: Iterable[Collection[str]],
    *,
    under_way: bool,
) -> Gate:
    """The gate with the workloads that it does not judge: untouched by a commit, and unwell before it.

    `wanted` are the rows of the commit and `stored` those before it; `observed` is what was seen of the latter just
    before. `together` are the sets of jobs that are joined by worker channels. A gate that is `under_way` goes on to
    judge what it judged: what is unwell now may be so by the apply that it watches.
    """
    before = {row.id: row for row in stored}
    untouched = frozenset(row.id for row in wanted if row.id in before and row.runs_like(before[row.id]))
    # One that is just coming up has no reason yet, and is judged.
    told = (one for one in observed if not (well(one) if gate.strict else up(one)))
    unwell = {one.id for one in told if one.reason or one.state == WorkloadState.FAILED or up(one)}
    if under_way:
        return replace(gate, excused=untouched & gate.excused, awaited=untouched & gate.awaited)
    excused = untouched & unwell
    touched = {row.job for row in wanted if row.id not in untouched}
    near = {job for jobs in together if not touched.isdisjoint(jobs) for job in jobs}
    awaited = frozenset(row.id for row in wanted if row.id in excused and row.job in near)
    return replace(gate, excused=excused, awaited=awaited)
