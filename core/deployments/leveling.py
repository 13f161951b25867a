"""How a worker group is levelled: which replicas go to workers with more room, as few as that takes. Pure.

What runs stays where it is (placement), so workers that join, or take jobs again, stay empty until somebody asks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.model.deployment import Assignments, State, Worker


@dataclass(frozen=True, slots=True)
class Seat:
    """Replicas that run on one worker and move together: of one job, or of jobs that share a worker."""

    deployment: str
    members: tuple[tuple[str, int], ...]  # job, replica
    worker: str


def seats(name: str, wish: State, group: str, online: Collection[str]) -> Iterable[Seat]:
    """What of a deployment runs in a group on workers that are there."""
    covered = {job for members in wish.together for job in members}
    units = [*wish.together, *((job,) for job in wish.jobs if job not in covered)]
    for members in units:
        jobs = [wish.jobs[job] for job in members]
        if any(job.group != group for job in jobs):
            continue
        number = min(job.replicas for job in jobs)
        for seat in range(number):
            worker = wish.assignments[members[0]][seat]
            if worker in online:
                replicas = tuple((job.name, one) for job in jobs for one in range(seat, job.replicas, number))
                yield Seat(name, replicas, worker)


def level(workers: Iterable[Worker], movable: Iterable[Seat]) -> list[tuple[Seat, str]]:
    """Which seats go where, so that no move would bring two workers nearer to each other in the room they have left.

    `workers` are those of the group, with all that runs on them. Each move is from the one with the least room to the
    one with the most, and makes the difference smaller: so it comes to an end. The same input gives the same moves.
    """
    free = {worker.name: worker.slots - worker.load for worker in workers if worker.online and not worker.drained}
    waiting: dict[str, list[Seat]] = {name: [] for name in free}
    for seat in movable:
        if seat.worker in waiting:
            waiting[seat.worker].append(seat)
    moves: list[tuple[Seat, str]] = []
    while (move := _next(free, waiting)) is not None:
        seat, worker = move
        waiting[seat.worker].remove(seat)
        moves.append(move)
        free[seat.worker] += len(seat.members)
        free[worker] -= len(seat.members)
    return moves


def _next(free: Mapping[str, int], waiting: Mapping[str, Sequence[Seat]]) -> tuple[Seat, str] | None:
    """The move that evens out most: to the worker with the most room, from the one with the least that has a seat
    small enough; None when none makes the difference of two workers smaller."""
    if not free:
        return None
    most = max(sorted(free), key=free.__getitem__)
    for name in sorted(free, key=lambda name: (free[name], name)):
        gap = free[most] - free[name]
        fits = [seat for seat in waiting[name] if len(seat.members) < gap]
        if fits:
            return min(fits, key=lambda one: (abs(gap - 2 * len(one.members)), one.deployment, one.members)), most
    return None


def moved(wish: State, moves: Iterable[tuple[Seat, str]]) -> Assignments:
    """The assignments of a deployment after its moves."""
    after: dict[str, list[str]] = {job: list(workers) for job, workers in wish.assignments.items()}
    for seat, worker in moves:
        for job, replica in seat.members:
            after[job][replica] = worker
    return {job: tuple(workers) for job, workers in after.items()}


def by_deployment(moves: Iterable[tuple[Seat, str]]) -> Mapping[str, list[tuple[Seat, str]]]:
    """The moves of each deployment, in the order in which they come up."""
    found: dict[str, list[tuple[Seat, str]]] = {}
    for seat, worker in moves:
        found.setdefault(seat.deployment, []).append((seat, worker))
    return found
