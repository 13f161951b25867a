"""Drift and how to mend it: compares what was applied with what is seen. Pure; the engine takes the steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.deployments import placement
from core.model.deployment import State, Worker, Workload
from core.model.deployment import workloads as wanted
from core.model.states import WorkloadState

SETTLED = frozenset({WorkloadState.RUNNING.value, WorkloadState.COMPLETED.value})


class DriftKind(StrEnum):
    """In what way something is not as it was applied."""

    MISSING = "missing"  # a replica is not there, or has no worker
    EXTRA = "extra"  # something runs that nobody wished for
    NOT_RUNNING = "not-running"  # a replica is there and does not run
    WORKER_OFFLINE = "worker-offline"  # its worker is not there
    OUT_OF_SYNC = "out-of-sync"  # it runs another version, or elsewhere


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known about one workload."""

    id: str
    worker: str
    version: str
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Presence:
    """What is known about one worker; `gone_seconds` is 0 while it is online."""

    worker: Worker
    gone_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is not as it was applied."""

    kind: DriftKind
    id: str
    expected: str
    observed: str

    def to_dict(self) -> dict[str, str]:
        return {"kind": self.kind.value, "id": self.id, "expected": self.expected, "observed": self.observed}


class StepAction(StrEnum):
    """What mends a drift."""

    ASSIGN = "assign"  # tell the worker what it should run
    UNASSIGN = "unassign"  # tell the worker to stop what nobody wished for
    MOVE = "move"  # give the replica to another worker of its group
    WAIT = "wait"  # it mends itself: a worker comes back, a job restarts after its back-off


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `worker` is where it is done."""

    action: StepAction
    id: str
    worker: str
    reason: str

    def to_dict(self) -> dict[str, str]:
        return {"action": self.action.value, "id": self.id, "worker": self.worker, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Decision:
    """The steps, and where every replica is once they are done."""

    steps: tuple[Step, ...]
    assignments: Mapping[str, tuple[str, ...]]


def drift(desired: Iterable[Workload], observed: Mapping[str, Seen], workers: Mapping[str, Presence]) -> list[Drift]:
    """Every difference, in the order of the wish, then what is too much."""
    found = []
    known = set()
    for wish in desired:
        known.add(wish.id)
        seen = observed.get(wish.id)
        place = wish.worker or "a worker"
        present = workers.get(wish.worker)
        if not wish.worker or seen is None:
            found.append(Drift(DriftKind.MISSING, wish.id, f"running on {place}", "nothing"))
        elif (seen.worker, seen.version) != (wish.worker, wish.version):
            expected = f"{wish.version} on {wish.worker}"
            found.append(Drift(DriftKind.OUT_OF_SYNC, wish.id, expected, f"{seen.version} on {seen.worker}"))
        elif seen.state == WorkloadState.COMPLETED:
            continue
        elif present is None or not present.worker.online:
            found.append(
                Drift(DriftKind.WORKER_OFFLINE, wish.id, f"{wish.worker} online", f"{wish.worker} is not there")
            )
        elif seen.state not in SETTLED:
            observation = f"{seen.state}: {seen.reason}" if seen.reason else seen.state
            found.append(Drift(DriftKind.NOT_RUNNING, wish.id, "running", observation))
    found += [
        Drift(DriftKind.EXTRA, id, "nothing", f"{seen.state} on {seen.worker}")
        for id, seen in observed.items()
        if id not in known
    ]
    return found


def decide(
    tenant: str,
    state: State,
    observed: Mapping[str, Seen],
    workers: Sequence[Presence],
    *,
    patience_seconds: float,
) -> Decision:
    """What to do about the drift.

    A worker that is gone keeps its replicas for `patience_seconds`, because most come back at once; then they move
    within their group, together with those that share a worker-channel.
    """
    by_name = {one.worker.name: one for one in workers}
    usable = [
        Worker(one.worker.name, one.worker.group, True, one.worker.slots, one.worker.load)
        for one in workers
        if one.worker.online or 0 < one.gone_seconds < patience_seconds
    ]
    placed = placement.place(state.jobs, state.together, usable, state.assignments)
    assignments = placed.assignments
    where = {wish.id: assignments[wish.job][wish.replica] for wish in wanted(tenant, state)}
    old = {wish.id: wish for wish in wanted(tenant, state)}
    steps = []
    for one in drift(old.values(), observed, by_name):
        wish = old.get(one.id)
        if wish is None:
            seen = observed[one.id]
            steps.append(Step(StepAction.UNASSIGN, one.id, seen.worker, "nobody wished for it"))
        elif where[one.id] != wish.worker:
            steps.append(
                Step(StepAction.MOVE, one.id, where[one.id], f"{wish.worker or 'no worker'} -> {where[one.id]}")
            )
        elif one.kind is DriftKind.NOT_RUNNING or (one.kind is DriftKind.WORKER_OFFLINE and wish.worker):
            steps.append(Step(StepAction.WAIT, one.id, wish.worker, one.observed))
        elif wish.worker:
            steps.append(Step(StepAction.ASSIGN, one.id, wish.worker, one.observed))
        else:
            steps.append(Step(StepAction.WAIT, one.id, "", "no worker of its group has room"))
    moved = {step.id for step in steps}
    steps += [
        Step(StepAction.MOVE, id, worker, f"follows the jobs that it shares a worker with, from {old[id].worker}")
        for id, worker in where.items()
        if worker != old[id].worker and id not in moved
    ]
    return Decision(tuple(steps), assignments)
