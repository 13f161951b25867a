"""Where replicas run: a pure, deterministic and sticky choice of workers.

What runs stays where it is as long as its worker is there and takes jobs, or nothing better is; only what has no place
yet gets one, on the worker of its group with the most room. Jobs that share a worker-channel are seated together.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.model.deployment import Assignments, Job, Worker
from core.model.plan import Finding

NOWHERE = ""
FILES_STAY = "files_stay"
FILE_COMPONENTS = frozenset({"file", "files", "file-store"})  # their data are on a disk


@dataclass(slots=True)
class Placed:
    """Job name -> worker of each replica, in the order of the jobs; NOWHERE where there is no room."""

    assignments: dict[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: list[Finding] = field(default_factory=list)


def place(
    jobs: Mapping[str, Job],
    together: Sequence[tuple[str, ...]],
    workers: Iterable[Worker],
    previous: Assignments,
    *,
    recompute: bool = False,
    groups: Collection[str] = (),
    staying: Collection[str] = (),
    pinned: Collection[str] = (),
) -> Placed:
    """Choose a worker for every replica.

    A set of jobs that share a worker has as many seats as the job of the set with the fewest replicas; replica k of
    each job takes seat k modulo the seats. `previous` (of jobs whose group has not changed) is kept unless
    `recompute`. `workers` count the load of others; a worker is of its group, and `groups` are those that exist
    beside them. Workers in `staying` are away and expected back: they keep what they have. A set with a job in `pinned`
    stays where it is whatever happens.
    """
    pool = _Pool(workers, groups, staying)
    covered = {name for members in together for name in members}
    units = [*together, *((name,) for name in jobs if name not in covered)]
    seats = [[NOWHERE] * min(jobs[name].replicas for name in members) for members in units]
    before = [
        [NOWHERE if recompute else _old(members, previous, seat) for seat in range(len(taken))]
        for members, taken in zip(units, seats, strict=True)
    ]
    for members, taken, old in zip(units, seats, before, strict=True):
        fixed = any(name in pinned for name in members) if pinned else False
        for seat, worker in enumerate(old):
            if worker and (fixed or pool.keeps(worker, jobs[members[0]].group)):
                taken[seat] = worker
                pool.take(worker, _weight(members, jobs, seat, len(taken)))
    lacking: dict[str, list[str]] = {}
    for members, taken, old in zip(units, seats, before, strict=True):
        group = jobs[members[0]].group
        for seat, worker in enumerate(taken):
            if worker == NOWHERE:
                weight = _weight(members, jobs, seat, len(taken))
                taken[seat] = pool.choose(group, weight, avoid=taken)
                if taken[seat] == NOWHERE and pool.drains(old[seat], group):
                    taken[seat] = old[seat]  # it runs there, and there is no room elsewhere
                    pool.take(old[seat], weight)
                elif taken[seat] == NOWHERE:
                    lacking.setdefault(group, []).extend(members)
                    taken[seat] = old[seat] if pool.may_return(old[seat], group) else NOWHERE
    out = Placed()
    where = {name: taken for members, taken in zip(units, seats, strict=True) for name in members}
    for name, job in jobs.items():
        taken = where[name]
        out.assignments[name] = tuple(taken[replica % len(taken)] for replica in range(job.replicas))
    for name, before_move in previous.items():
        if name in out.assignments and before_move != out.assignments[name]:
            out.warnings += files_of(jobs[name], before_move, out.assignments[name])
    for group, names in lacking.items():
        out.warnings.append(pool.why_not(group, list(dict.fromkeys(names))))
    return out


def _old(members: Sequence[str], previous: Assignments, seat: int) -> str:
    return next((previous[name][seat] for name in members if seat < len(previous.get(name, ()))), NOWHERE)


def _weight(members: Sequence[str], jobs: Mapping[str, Job], seat: int, seats: int) -> int:
    """How many slots one seat of a set takes."""
    return sum(len(range(seat, jobs[name].replicas, seats)) for name in members)


class _Pool:
    """The workers that take jobs, with the slots that are left; and what is known of the others."""

    def __init__(self, workers: Iterable[Worker], groups: Collection[str], staying: Collection[str]) -> None:
        every = sorted(workers, key=lambda worker: worker.name)
        self._named = groups
        self._staying = staying
        self._groups = {worker.name: worker.group for worker in every}
        self._drained = {worker.name for worker in every if worker.online and worker.drained}
        self._open: dict[str, Worker] = {}
        self._free: dict[str, int] = {}
        self._heaps: dict[str, list[tuple[int, str]]] = {}
        for worker in every:
            if worker.online and not worker.drained:
                self._open[worker.name] = worker
                self._free[worker.name] = worker.slots - worker.load
                self._heaps.setdefault(worker.group, []).append((-self._free[worker.name], worker.name))
        for heap in self._heaps.values():
            heapq.heapify(heap)

    def keeps(self, name: str, group: str) -> bool:
        """Whether what a worker of this group has should stay there."""
        return self._groups.get(name) == group and (name in self._open or name in self._staying)

    def drains(self, name: str, group: str) -> bool:
        return name in self._drained and self._groups[name] == group

    def may_return(self, name: str, group: str) -> bool:
        """Whether a worker that is not there could come back to this group."""
        return self._groups.get(name, group) == group

    def take(self, name: str, weight: int) -> None:
        if name in self._open:
            self._free[name] -= weight
            heapq.heappush(self._heaps[self._open[name].group], (-self._free[name], name))

    def choose(self, group: str, weight: int, avoid: Sequence[str]) -> str:
        """The worker with the most room, one that is not in `avoid` if there is any with room; NOWHERE if none."""
        heap = self._heaps.get(group, [])
        passed: list[tuple[int, str]] = []
        fallback = NOWHERE
        chosen = NOWHERE
        while heap:
            free, name = heap[0]
            if -free != self._free[name]:
                heapq.heappop(heap)  # an entry from before its worker was taken again
                continue
            if -free < weight:
                break
            if name not in avoid:
                chosen = name
                break
            fallback = fallback or name
            passed.append(heapq.heappop(heap))
        for entry in passed:
            heapq.heappush(heap, entry)
        chosen = chosen or fallback
        if chosen:
            self.take(chosen, weight)
        return chosen

    def why_not(self, group: str, jobs: list[str]) -> Finding:
        some = ", ".join(jobs[:3]) + (f" and {len(jobs) - 3} more" if len(jobs) > 3 else "")
        if group not in self._groups.values() and group not in self._named:
            groups = ", ".join(sorted(set(self._groups.values()))) or "none"
            return Finding(
                "missing_group",
                f"No such group, or it does not admit this tenant: worker group {group}, for {some}.",
                f"Groups with workers for it: {groups}. Place the step in one, or make or open {group}"
                " (worker_group_create, worker_group_update).",
                until=f"group {group} has a worker",
            )
        if group not in self._heaps:
            members = [name for name in self._groups if self._groups[name] == group]
            drained = bool(self._drained.intersection(members))
            return Finding(
                "no_workers",
                f"No worker of group {group} {'takes jobs' if drained else 'is online'} for {some}.",
                "Resume one that is drained (worker_resume)."
                if drained
                else "Start one, or wait until it is back."
                if members
                else f"Put a worker in it: worker_update(name=..., group={group!r}).",
                until=f"group {group} has a worker that takes jobs",
            )
        return Finding(
            "too_few_slots",
            f"The workers of group {group} have no room left for {some}.",
            "Add a worker, give the workers more slots, or lower the replicas.",
            until=f"the workers of group {group} have room",
        )


def files_of(job: Job, before: Sequence[str], after: Sequence[str]) -> list[Finding]:
    """A warning when replicas of a job that reads or writes files move to other workers."""
    paths = sorted({str(part["path"]) for part in _file_ends(job.document) if part.get("path")})
    moves = [f"{old} to {new}" for old, new in zip(before, after, strict=False) if old and new and old != new]
    if not paths or not moves:
        return []
    return [
        Finding(
            FILES_STAY,
            f"{job.name} moves from {', '.join(dict.fromkeys(moves))}; its files under {', '.join(paths)} do not.",
            "Workers of one machine share its disk; otherwise keep these files on storage that both workers reach.",
        )
    ]


def _file_ends(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for end in ("input", "output"):
        part = document.get(end)
        if isinstance(part, Mapping):
            for component in FILE_COMPONENTS & part.keys():
                if isinstance(part[component], Mapping):
                    yield part[component]
