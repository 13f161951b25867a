"""Compute a plan from documents: expand them, place their jobs, compare with what was applied. Pure and linear;
planner.py brings what it needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from core.catalog import wiring
from core.contexts.layers import Level
from core.deployments import changes, expand, placement, resets
from core.deployments.surroundings import Surroundings
from core.documents import canonical
from core.model.catalog import Blueprint, Perspective, Workflow
from core.model.deployment import EMPTY, State, Worker
from core.model.plan import Action, Finding, Plan

if TYPE_CHECKING:
    from core.model.results.plans import UsedContext


def make(
    source: Blueprint | Workflow | Perspective,
    request: expand.Request,
    lookup: wiring.Lookup,
    workers: Iterable[Worker],
    current: State,
    *,
    surroundings: Surroundings | None = None,
    check_job: expand.CheckJob | None = None,
    recompute: bool = False,
) -> Plan:
    """The whole way from documents to a plan: expand, place, compare."""
    wish = expand.expand(source, request, lookup, surroundings, check_job)
    previous = {
        name: chosen
        for name, chosen in current.assignments.items()
        if name in wish.jobs and wish.jobs[name].group == current.jobs[name].group
    }
    around = surroundings or Surroundings()
    placed = placement.place(wish.jobs, wish.together, workers, previous, recompute=recompute, groups=around.groups)
    special = [name for name in _used(placed.assignments) if around.contexts.has(Level.WORKER, name)]
    if special:
        seen = [
            (name, expand.expand(source, request, lookup, dataclasses.replace(around, worker=name), check_job))
            for name in special
        ]
        wish = _for_workers(wish, seen, placed.assignments)
    desired = State(
        request.source,
        request.group,
        request.values,
        request.placement,
        request.replicas,
        wish.jobs,
        wish.channels,
        tuple(wish.together),
        placed.assignments,
        around.environment,
        wish.resets,
    )
    made = compare(request.name, desired, current, [*wish.warnings, *placed.warnings], wish.blockers)
    return dataclasses.replace(made, contexts=tuple(_contexts(wish.contexts)), secrets=tuple(sorted(wish.secrets)))


def _used(assignments: Mapping[str, Sequence[str]]) -> list[str]:
    return sorted({worker for workers in assignments.values() for worker in workers if worker})


def _for_workers(
    wish: expand.Expansion,
    seen: Sequence[tuple[str, expand.Expansion]],
    assignments: Mapping[str, Sequence[str]],
) -> expand.Expansion:
    """The wish with what workers run that have context values of their own.

    `seen` is the whole wish as each of them sees it. When everything is on one such worker, its view is the wish;
    otherwise the common view has to be complete as well, for the workers without values of their own.
    """
    if _used(assignments) == [name for name, _ in seen[:1]]:
        return seen[0][1]
    contexts = dict(wish.contexts)
    jobs = dict(wish.jobs)
    for worker, other in seen:
        contexts.update(other.contexts)
        for name, job in jobs.items():
            if name in other.jobs and other.jobs[name].document != job.document:  # also where it may move to
                jobs[name] = dataclasses.replace(job, variants={**job.variants, worker: other.jobs[name].document})
    for name, job in jobs.items():
        if job.variants:
            jobs[name] = dataclasses.replace(job, digest=canonical.digest([job.document, job.variants]))
    blockers = list(dict.fromkeys([*wish.blockers, *(one for _, other in seen for one in other.blockers)]))
    return dataclasses.replace(wish, jobs=jobs, contexts=contexts, blockers=blockers)


def _contexts(used: Mapping[tuple[str, Level, str], str]) -> Iterable[UsedContext]:
    for (key, level, target), value in sorted(used.items()):
        yield {"key": key, "level": level.value, "target": target, "digest": value}


def back(
    name: str,
    wish: State,
    workers: Iterable[Worker],
    current: State,
    blockers: Sequence[Finding] = (),
    secrets: tuple[str, ...] = (),
    revision: int | None = None,
) -> Plan:
    """The plan that makes an earlier wish, that of a `revision`, the present one: its jobs as they were, where they
    were if that is there. Where readers stand stays as it is."""
    wish = resets.carried(wish, current)
    placed = placement.place(wish.jobs, wish.together, workers, wish.assignments)
    desired = dataclasses.replace(wish, assignments=placed.assignments)
    # What moves, moves from where it is now, and not from where it was then.
    warnings = [one for one in placed.warnings if one.code != placement.FILES_STAY]
    for job in desired.jobs.values():
        if (now := current.assignments.get(job.name)) is not None and now != placed.assignments[job.name]:
            warnings += placement.files_of(job, now, placed.assignments[job.name])
    made = compare(name, desired, current, warnings, blockers)
    return dataclasses.replace(made, secrets=secrets, to_revision=revision)


def remove(name: str, current: State) -> Plan:
    """The plan that leaves nothing of a deployment but its history."""
    return compare(name, State(current.source, current.group, current.values), current, removal=True)


def compare(
    name: str,
    desired: State,
    current: State = EMPTY,
    warnings: Sequence[Finding] = (),
    blockers: Sequence[Finding] = (),
    *,
    removal: bool = False,
) -> Plan:
    """Compare two wishes."""
    ordered = changes.between(desired, current)
    summary = dict.fromkeys((action.value for action in Action), 0)
    for change in ordered:
        summary[change.action.value] += 1
    return Plan(
        name,
        desired.source,
        desired,
        tuple(ordered),
        summary,
        tuple(warnings),
        tuple(blockers),
        digest(desired),
        current,
        removal,
    )


def with_blockers(plan: Plan, more: Sequence[Finding]) -> Plan:
    """The same plan with more in its way."""
    return dataclasses.replace(plan, blockers=(*plan.blockers, *more))


def digest(state: State) -> str:
    """Names a wish: equal wishes have equal digests."""
    return canonical.digest(
        [
            state.source,
            [f"{job.name} {job.digest} {job.group} {job.replicas}" for job in state.jobs.values()],
            [
                f"{channel.name} {channel.transport} {channel.producers} {channel.consumers}"
                f" {canonical.canonical(channel.options).decode() if channel.options else ''}"
                for channel in state.channels.values()
            ],
            state.assignments,
        ]
    )
