"""The health gate: whether what was applied has come up, in time and to stay. Pure; rollout.py looks and acts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from core.deployments.apply import up
from core.model.states import WorkloadState

DEADLINE_SECONDS = 30
MOST_FAILURES = 3  # a workload that failed this often since the apply is not waited for any longer
STEADY_SECONDS = 0.3  # a job that fails at once does so within this time
STEADY_BEFORE_KEEPING_SECONDS = 2.0  # when the choice is between keeping a version and taking it back
SHOWN_REASONS = 3


@dataclass(frozen=True, slots=True)
class Gate:
    """How an apply is watched. `back_to` is the revision to take back when it does not come up (0: remove it)."""

    seconds: float = DEADLINE_SECONDS
    back_to: int | None = None
    plan_id: str = ""

    @property
    def steady_seconds(self) -> float:
        return STEADY_SECONDS if self.back_to is None else STEADY_BEFORE_KEEPING_SECONDS

    def to_text(self) -> str:
        return orjson.dumps({"seconds": self.seconds, "back_to": self.back_to, "plan_id": self.plan_id}).decode()

    @staticmethod
    def from_text(text: str) -> Gate:
        """The gate that was stored; the usual one when none was (a row of an older Sluice)."""
        data = orjson.loads(text) if text else {}
        return Gate(data.get("seconds", DEADLINE_SECONDS), data.get("back_to"), data.get("plan_id", ""))


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

    def to_dict(self) -> dict[str, str]:
        return {
            "workload": self.workload,
            "job": self.job,
            "worker": self.worker,
            "state": self.state,
            "reason": self.reason,
        }

    def __str__(self) -> str:
        return f"{self.job} is {self.state}" + (f": {self.reason}" if self.reason else "")


@dataclass(slots=True)
class Watch:
    """One apply under watch. Times are seconds on the monotonic clock."""

    gate: Gate
    wanted: Mapping[str, str]  # workload id -> its job
    started: float
    faults: list[Fault] = field(default_factory=list)
    up: int = 0
    _before: dict[str, int] = field(default_factory=dict)  # restarts when the watch began
    _calm_since: float | None = None
    _restarts: int = 0

    def judge(self, rows: Iterable[Mapping[str, Any]], now: float) -> Verdict:
        """Look at the workloads, {id, job, worker, state, reason, restarts} each, and decide."""
        seen = {row["id"]: row for row in rows}
        self.faults = []
        restarts, given_up = 0, False
        for id, job in self.wanted.items():
            row = seen.get(id)
            if row is None:
                self.faults.append(Fault(id, job, "", "missing", "nothing runs it"))
                continue
            since = row["restarts"] - self._before.setdefault(id, row["restarts"])
            restarts += row["restarts"]
            if not up(row["state"]):
                self.faults.append(Fault(id, job, row["worker"], row["state"], row["reason"]))
                given_up |= row["state"] == WorkloadState.FAILED and since + 1 >= MOST_FAILURES
        self.up = len(self.wanted) - len(self.faults)
        if self.faults or restarts != self._restarts:
            self._calm_since = None
        self._restarts = restarts
        if not self.faults and self._calm_since is None:
            self._calm_since = now
        if self._calm_since is not None and now - self._calm_since >= self.gate.steady_seconds:
            return Verdict.HEALTHY
        if given_up or now - self.started >= self.gate.seconds:
            return Verdict.UNHEALTHY
        return Verdict.PENDING

    def due(self, now: float) -> float:
        """How many seconds from now the verdict may change without any news."""
        deadline = self.started + self.gate.seconds
        if self._calm_since is not None:
            deadline = min(deadline, self._calm_since + self.gate.steady_seconds)
        return max(0.0, deadline - now)

    def progress(self) -> str:
        """How far it is, for people."""
        text = f"{self.up} of {len(self.wanted)} workloads are up"
        return f"{text}; {self.faults[0]}" if self.faults else text


def told(faults: Sequence[Fault], total: int) -> str:
    """Why an apply is not healthy, in one line."""
    if not faults:
        return "the workloads did not stay up"
    shown = "; ".join(str(fault) for fault in faults[:SHOWN_REASONS])
    more = f" (and {len(faults) - SHOWN_REASONS} more)" if len(faults) > SHOWN_REASONS else ""
    return f"{len(faults)} of {total} workloads did not come up: {shown}{more}"
