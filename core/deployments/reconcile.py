"""Drift and how to mend it: compares what was applied with what is seen. Pure; the engine takes the steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from core.deployments import edits, placement
from core.model.deployment import State, Worker, Workload
from core.model.deployment import workloads as wanted
from core.model.drift import DriftKind as DriftKind
from core.model.drift import StepAction as StepAction
from core.model.plan import Finding
from core.model.states import WorkloadState
from core.model.workload import parse

if TYPE_CHECKING:
    from core.model.results import deployments

SETTLED = frozenset({WorkloadState.RUNNING.value, WorkloadState.COMPLETED.value})


class Held(StrEnum):
    """What a worker answers when it is asked whether it holds what it was told to run."""

    AS_TOLD = "as-told"  # also when it was not asked
    NOTHING = "nothing"
    ANOTHER = "another"  # another document or version under this id


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known about one workload. `document` is what it is told to run; None when nobody looked."""

    id: str
    worker: str
    version: str
    state: str
    reason: str = ""
    document: Mapping[str, Any] | None = None
    held: Held = Held.AS_TOLD
    failing: str = ""  # why it failed last, when it is up again and not over that


@dataclass(frozen=True, slots=True)
class Presence:
    """What is known about one worker; `gone_seconds` is 0 while it is online."""

    worker: Worker
    gone_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is not as it was applied. `fields` are the places that differ; `muted` drift is left alone."""

    kind: DriftKind
    id: str
    expected: str
    observed: str
    fields: tuple[str, ...] = ()
    muted: bool = False

    def to_dict(self) -> deployments.Drift:
        out: deployments.Drift = {
            "kind": self.kind,
            "id": self.id,
            "expected": self.expected,
            "observed": self.observed,
        }
        if self.fields:
            out["fields"] = list(self.fields)
        if self.muted:
            out["muted"] = True
        return out


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `worker` is where it is done."""

    action: StepAction
    id: str
    worker: str
    reason: str

    def to_dict(self) -> deployments.Step:
        return {"action": self.action, "id": self.id, "worker": self.worker, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Decision:
    """The drift, the steps, and where every replica is once they are done."""

    drift: tuple[Drift, ...]
    steps: tuple[Step, ...]
    assignments: Mapping[str, tuple[str, ...]]
    warnings: tuple[Finding, ...] = ()

    @property
    def acts(self) -> bool:
        """Whether any step is more than waiting."""
        return any(step.action is not StepAction.WAIT for step in self.steps)


def drift(
    tenant: str,
    state: State,
    observed: Mapping[str, Seen],
    workers: Mapping[str, Presence],
    ignored: edits.Ignored = edits.NOTHING,
) -> list[Drift]:
    """What differs, at most one drift a workload: in the order of the wish, then what is too much.

    Of several differences of one workload the gravest is told, a muted one only when there is no other.
    """
    found = []
    known = set()
    for wish in wanted(tenant, state):
        known.add(wish.id)
        first: Drift | None = None
        for one in _compare(wish, state, observed.get(wish.id), workers.get(wish.worker)):
            loud = tuple(field for field in one.fields if not ignored.covers(wish.job, field))
            if loud or (not one.fields and not ignored.covers(wish.job, "")):
                first = replace(one, fields=loud)
                break
            first = first or replace(one, muted=True)
        if first is not None:
            found.append(first)
    for id, seen in observed.items():
        if id not in known:
            muted = ignored.covers(parse(id).job, "")
            found.append(Drift(DriftKind.EXTRA, id, "nothing", f"{seen.state} on {seen.worker}", muted=muted))
    return found


def _compare(wish: Workload, state: State, seen: Seen | None, present: Presence | None) -> Iterator[Drift]:
    """Every difference of one workload, the gravest first."""
    job = state.jobs[wish.job]
    if not wish.worker or seen is None:
        yield Drift(DriftKind.MISSING, wish.id, f"running on {wish.worker or 'a worker'}", "nothing")
        return
    if seen.worker != wish.worker:
        yield Drift(DriftKind.MOVED, wish.id, f"on {wish.worker}", f"on {seen.worker}", ("worker",))
    if seen.version != wish.version:
        yield Drift(DriftKind.OUT_OF_SYNC, wish.id, wish.version, seen.version, ("version",))
    elif seen.document is not None and seen.document != (applied := job.document_on(wish.worker)):
        fields = tuple(f"document{pointer}" for pointer in edits.differences(applied, seen.document))
        if fields:
            told = ", ".join(fields[:3]) + (f" and {len(fields) - 3} more" if len(fields) > 3 else "")
            yield Drift(DriftKind.MODIFIED, wish.id, "the applied document", f"edited at {told}", fields)
    if seen.state == WorkloadState.COMPLETED:
        return
    if seen.state == WorkloadState.QUARANTINED:
        observation = f"{seen.state}: {seen.reason}"
        yield Drift(DriftKind.NOT_RUNNING, wish.id, "running", observation, ("state",))
        return
    if present is None or not present.worker.online:
        observation = f"{wish.worker} is not there"
        yield Drift(DriftKind.WORKER_OFFLINE, wish.id, f"{wish.worker} online", observation, ("worker",))
        return
    if present.worker.group != job.group:
        where = f"{wish.worker} is in group {present.worker.group}"
        yield Drift(DriftKind.MOVED, wish.id, f"on a worker of group {job.group}", where, ("worker",))
    match seen.held:
        case Held.NOTHING:
            observation = f"{wish.worker} does not hold it"
            yield Drift(DriftKind.OUT_OF_SYNC, wish.id, f"held by {wish.worker}", observation, ("state",))
        case Held.ANOTHER:
            observation = f"{wish.worker} runs another document"
            yield Drift(DriftKind.MODIFIED, wish.id, "the applied document", observation, ("document",))
        case Held.AS_TOLD:
            pass
    if seen.failing:
        yield Drift(DriftKind.NOT_RUNNING, wish.id, "running without a failure", seen.reason, ("state",))
    elif seen.state not in SETTLED:
        observation = f"{seen.state}: {seen.reason}" if seen.reason else seen.state
        yield Drift(DriftKind.NOT_RUNNING, wish.id, "running", observation, ("state",))


def decide(
    tenant: str,
    state: State,
    observed: Mapping[str, Seen],
    workers: Sequence[Presence],
    *,
    patience_seconds: float,
    ignored: edits.Ignored = edits.NOTHING,
) -> Decision:
    """What to do about the drift.

    A worker that is gone keeps its replicas for `patience_seconds`, because most come back at once; then they move
    within their group, together with those that share a worker-channel. A job that fails is not moved: it would fail
    elsewhere as well; one that is complete is not moved either: it would run again. Nor is one that is quarantined,
    which would end the next worker. What has no better place stays.
    """
    by_name = {one.worker.name: one for one in workers}
    found = drift(tenant, state, observed, by_name, ignored)
    muted = {one.id for one in found if one.muted}
    drained = {one.worker.name for one in workers if one.worker.drained}
    if len(muted) == len(found) and drained.isdisjoint(itertools.chain.from_iterable(state.assignments.values())):
        return Decision(tuple(found), (), state.assignments)
    old = {wish.id: wish for wish in wanted(tenant, state)}
    staying = {one.worker.name for one in workers if not one.worker.online and one.gone_seconds < patience_seconds}
    placed = placement.place(
        state.jobs,
        state.together,
        [one.worker for one in workers],
        state.assignments,
        staying=staying,
        pinned={old[id].job for id in muted if id in old},
    )
    where = {}
    for id, replica in old.items():
        seen = observed.get(id)
        rests = seen is not None and seen.state in (WorkloadState.COMPLETED, WorkloadState.QUARANTINED)
        new = placed.assignments[replica.job][replica.replica]
        where[id] = replica.worker if rests or not new else new
    assignments = _by_job(old.values(), where)
    steps = []
    for one in found:
        wish = old.get(one.id)
        if one.muted:
            continue
        if wish is None:
            steps.append(Step(StepAction.UNASSIGN, one.id, observed[one.id].worker, "nobody wished for it"))
        elif where[one.id] != wish.worker:
            reason = f"{wish.worker or 'no worker'} -> {where[one.id]}"
            steps.append(Step(StepAction.MOVE, one.id, where[one.id], reason))
        elif not wish.worker:
            steps.append(Step(StepAction.WAIT, one.id, "", "no worker of its group has room"))
        elif _waits(one, wish, observed.get(one.id)):
            steps.append(Step(StepAction.WAIT, one.id, wish.worker, one.observed))
        else:
            steps.append(Step(StepAction.ASSIGN, one.id, wish.worker, one.observed))
    moved = {step.id for step in steps}
    steps += [
        Step(StepAction.MOVE, id, worker, _why(old[id].worker, by_name.get(old[id].worker)))
        for id, worker in where.items()
        if worker != old[id].worker and id not in moved
    ]
    return Decision(tuple(found), tuple(steps), assignments, tuple(_left_behind(state, assignments)))


def _by_job(wished: Iterable[Workload], where: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The workers of each job in the order of its replicas, which is the order of the wish."""
    out: dict[str, list[str]] = {}
    for wish in wished:
        out.setdefault(wish.job, []).append(where[wish.id])
    return {job: tuple(workers) for job, workers in out.items()}


def _waits(one: Drift, wish: Workload, seen: Seen | None) -> bool:
    """Whether there is nothing to do about a drift of a replica that stays where it is."""
    if one.kind in (DriftKind.NOT_RUNNING, DriftKind.WORKER_OFFLINE):
        return True
    return one.kind is DriftKind.MOVED and seen is not None and seen.worker == wish.worker


def _why(worker: str, present: Presence | None) -> str:
    if present is not None and present.worker.drained:
        return f"{worker} is drained"
    return f"follows the jobs that it shares a worker with, from {worker}"


def _left_behind(state: State, assignments: Mapping[str, tuple[str, ...]]) -> Iterator[Finding]:
    """What moves and has files: they stay where they are."""
    for name, after in assignments.items():
        before = state.assignments.get(name, after)
        if before != after:
            yield from placement.files_of(state.jobs[name], before, after)
