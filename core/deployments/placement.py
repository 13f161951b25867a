"""Where replicas run: a pure, deterministic and sticky choice of workers.

What runs stays where it is as long as its worker is there, or nothing better is; only what has no place yet gets
one, on the worker of its group with the most room. Jobs that share a worker-channel are seated together.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from core.model.deployment import Assignments, Job, Worker
from core.model.plan import Finding

NOWHERE = ""


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
) -> Placed:
    """Choose a worker for every replica.

    A set of jobs that share a worker has as many seats as the job of the set with the fewest replicas; replica k of
    each job takes seat k modulo the seats. `previous` (of jobs whose group has not changed) is kept unless
    `recompute`. `workers` count the load of others.
    """
    pool = _Pool(workers)
    covered = {name for members in together for name in members}
    units = [*together, *((name,) for name in jobs if name not in covered)]
    seats = [[NOWHERE] * min(jobs[name].replicas for name in members) for members in units]
    before = [
        [NOWHERE if recompute else _old(members, previous, seat) for seat in range(len(taken))]
        for members, taken in zip(units, seats, strict=True)
    ]
    for members, taken, old in zip(units, seats, before, strict=True):
        for seat, worker in enumerate(old):
            if pool.has(worker, jobs[members[0]].group):
                taken[seat] = worker
                pool.take(worker, _weight(members, jobs, seat, len(taken)))
    lacking: dict[str, list[str]] = {}
    for members, taken, old in zip(units, seats, before, strict=True):
        group = jobs[members[0]].group
        for seat, worker in enumerate(taken):
            if worker == NOWHERE:
                weight = _weight(members, jobs, seat, len(taken))
                taken[seat] = pool.choose(group, weight, avoid=taken)
                if taken[seat] == NOWHERE:
                    lacking.setdefault(group, []).extend(members)
                    taken[seat] = old[seat] if pool.may_return(old[seat], group) else NOWHERE
    out = Placed()
    where = {name: taken for members, taken in zip(units, seats, strict=True) for name in members}
    for name, job in jobs.items():
        taken = where[name]
        out.assignments[name] = tuple(taken[replica % len(taken)] for replica in range(job.replicas))
    for group, names in lacking.items():
        out.warnings.append(pool.why_not(group, list(dict.fromkeys(names))))
    return out


def _old(members: Sequence[str], previous: Assignments, seat: int) -> str:
    return next((previous[name][seat] for name in members if seat < len(previous.get(name, ()))), NOWHERE)


def _weight(members: Sequence[str], jobs: Mapping[str, Job], seat: int, seats: int) -> int:
    """How many slots one seat of a set takes."""
    return sum(len(range(seat, jobs[name].replicas, seats)) for name in members)


class _Pool:
    """The online workers with the slots that are left."""

    def __init__(self, workers: Iterable[Worker]) -> None:
        every = sorted(workers, key=lambda worker: worker.name)
        self._groups = {worker.name: worker.group for worker in every}
        self._online: dict[str, Worker] = {}
        self._free: dict[str, int] = {}
        self._heaps: dict[str, list[tuple[int, str]]] = {}
        for worker in every:
            if worker.online:
                self._online[worker.name] = worker
                self._free[worker.name] = worker.slots - worker.load
                self._heaps.setdefault(worker.group, []).append((-self._free[worker.name], worker.name))
        for heap in self._heaps.values():
            heapq.heapify(heap)

    def has(self, name: str, group: str) -> bool:
        worker = self._online.get(name)
        return worker is not None and worker.group == group

    def may_return(self, name: str, group: str) -> bool:
        """Whether a worker that is not there could come back to this group."""
        return self._groups.get(name, group) == group

    def take(self, name: str, weight: int) -> None:
        self._free[name] -= weight
        heapq.heappush(self._heaps[self._online[name].group], (-self._free[name], name))

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
        if group not in self._groups.values():
            groups = ", ".join(sorted(set(self._groups.values()))) or "none"
            return Finding(
                "missing_group",
                f"There is no worker group {group} for {some}.",
                f"Groups with workers: {groups}. Start a worker in {group}, or place the step elsewhere.",
            )
        if group not in self._heaps:
            return Finding(
                "no_workers",
                f"No worker of group {group} is online for {some}.",
                "Start one, or wait until it is back.",
            )
        return Finding(
            "too_few_slots",
            f"The workers of group {group} have no room left for {some}.",
            "Add a worker, give the workers more slots, or lower the replicas.",
        )
