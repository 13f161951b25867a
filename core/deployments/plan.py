"""The plan: what would change between what was applied and what is wished for, as ordered values. Pure and linear."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from core.catalog import wiring
from core.contexts.layers import Level
from core.deployments import expand, placement
from core.deployments import summary as summaries
from core.deployments.surroundings import Surroundings
from core.documents import canonical
from core.model.catalog import Blueprint, Perspective, Workflow
from core.model.deployment import EMPTY, Channel, Job, Role, State, Worker
from core.model.plan import Action, Change, Finding, Kind, Plan


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
    )
    made = compute(request.name, desired, current, [*wish.warnings, *placed.warnings], wish.blockers)
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


def _contexts(used: Mapping[tuple[str, Level, str], str]) -> Iterable[dict[str, str]]:
    for (key, level, target), value in sorted(used.items()):
        yield {"key": key, "level": level.value, "target": target, "digest": value}


def back(
    name: str,
    wish: State,
    workers: Iterable[Worker],
    current: State,
    blockers: Sequence[Finding] = (),
    secrets: tuple[str, ...] = (),
) -> Plan:
    """The plan that makes an earlier wish the present one: its jobs as they were, where they were if that is there."""
    placed = placement.place(wish.jobs, wish.together, workers, wish.assignments)
    desired = dataclasses.replace(wish, assignments=placed.assignments)
    # What moves, moves from where it is now, and not from where it was then.
    warnings = [one for one in placed.warnings if one.code != placement.FILES_STAY]
    for job in desired.jobs.values():
        if (now := current.assignments.get(job.name)) is not None and now != placed.assignments[job.name]:
            warnings += placement.files_of(job, now, placed.assignments[job.name])
    return dataclasses.replace(compute(name, desired, current, warnings, blockers), secrets=secrets)


def remove(name: str, current: State) -> Plan:
    """The plan that leaves nothing of a deployment but its history."""
    return compute(name, State(current.source, current.group, current.values), current, removal=True)


def compute(
    name: str,
    desired: State,
    current: State = EMPTY,
    warnings: Sequence[Finding] = (),
    blockers: Sequence[Finding] = (),
    *,
    removal: bool = False,
) -> Plan:
    """Compare two wishes. The order is: jobs and adapters along the data, channels, placement, then what goes."""
    changes = [
        *_jobs(desired, current),
        *_channels(desired.channels, current.channels),
        *_placement(desired, current),
        *_gone(desired, current),
    ]
    summary = dict.fromkeys((action.value for action in Action), 0)
    for change in changes:
        summary[change.action.value] += 1
    return Plan(
        name,
        desired.source,
        desired,
        tuple(changes),
        summary,
        tuple(warnings),
        tuple(blockers),
        digest(desired),
        summaries.text(name, desired.source, changes, summary, warnings, blockers, removal),
        removal,
    )


def with_blockers(plan: Plan, more: Sequence[Finding]) -> Plan:
    """The same plan with more in its way."""
    made = dataclasses.replace(plan, blockers=(*plan.blockers, *more))
    return dataclasses.replace(made, text=text(made))


def text(plan: Plan, *, detailed: bool = False) -> str:
    """The plan for people; `detailed` leaves nothing out that is not very long."""
    return summaries.text(
        plan.deployment,
        plan.source,
        plan.changes,
        plan.summary,
        plan.warnings,
        plan.blockers,
        plan.remove,
        detailed=detailed,
    )


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


def _jobs(desired: State, current: State) -> Iterable[Change]:
    for job in desired.jobs.values():
        kind = _kind(job)
        old = current.jobs.get(job.name)
        if old is None:
            yield Change(Action.CREATE, kind, job.name, _where(job, desired), _need(job), None, _documents(job))
        elif old.digest != job.digest:
            why = f"{_changed_keys(old, job)} changed"
            yield Change(Action.UPDATE, kind, job.name, _where(job, desired), why, _documents(old), _documents(job))
        else:
            yield Change(Action.UNCHANGED, kind, job.name, job.group, "")


def _link(channel: Channel) -> dict[str, Any]:
    """What a channel is to people; its settings show in the adapter jobs that follow from them."""
    return {
        "transport": channel.transport,
        "producers": list(channel.producers),
        "consumers": list(channel.consumers),
    }


def _channels(desired: Mapping[str, Channel], current: Mapping[str, Channel]) -> Iterable[Change]:
    for channel in desired.values():
        old = current.get(channel.name)
        where = _ends(channel)
        if old is None:
            yield Change(Action.CREATE, Kind.CHANNEL, channel.name, where, f"new {channel.transport} channel")
        elif (before := _link(old)) != (after := _link(channel)):
            keys = ", ".join(key for key in after if before[key] != after[key])
            yield Change(Action.UPDATE, Kind.CHANNEL, channel.name, where, f"{keys} changed", before, after)
        else:
            yield Change(Action.UNCHANGED, Kind.CHANNEL, channel.name, where, "")


def _placement(desired: State, current: State) -> Iterable[Change]:
    for name, workers in desired.assignments.items():
        old = current.assignments.get(name)
        where = _workers(workers)
        if old is None:
            why = f"{_replicas(len(workers))} in {_group(desired, name)}"
            yield Change(Action.CREATE, Kind.PLACEMENT, name, where, why)
        elif old == workers:
            yield Change(Action.UNCHANGED, Kind.PLACEMENT, name, where, "")
        elif len(old) != len(workers):
            yield Change(Action.UPDATE, Kind.PLACEMENT, name, where, f"replicas {len(old)} -> {len(workers)}")
        else:
            before, after = _group(current, name), _group(desired, name)
            why = f"group {before} -> {after}" if before != after else f"was on {_workers(old)}"
            yield Change(Action.MOVE, Kind.PLACEMENT, name, where, why)


def _gone(desired: State, current: State) -> Iterable[Change]:
    for job in current.jobs.values():
        if job.name not in desired.jobs:
            why = "no longer wished for"
            yield Change(Action.REMOVE, _kind(job), job.name, _where(job, current), why, _documents(job))
    for channel in current.channels.values():
        if channel.name not in desired.channels:
            yield Change(Action.REMOVE, Kind.CHANNEL, channel.name, _ends(channel), "no longer wished for")
    for name, workers in current.assignments.items():
        if name not in desired.assignments:
            yield Change(Action.REMOVE, Kind.PLACEMENT, name, _workers(workers), "no longer wished for")


def diff(change: Change, *, whole: bool = False) -> str:
    """The unified diff of an update, and with `whole` of what comes and goes; empty when there is nothing to compare.

    Made on demand, because a plan may have thousands of changes.
    """
    if (change.before is None and change.after is None) or (not whole and None in (change.before, change.after)):
        return ""
    before, after = (
        []
        if side is None
        else orjson.dumps(side, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode().splitlines()
        for side in (change.before, change.after)
    )
    return "\n".join(difflib.unified_diff(before, after, "applied", "planned", n=2, lineterm=""))


def _kind(job: Job) -> Kind:
    return Kind.JOB if job.role is Role.STEP else Kind.TRANSPORT


def _need(job: Job) -> str:
    match job.role:
        case Role.STEP:
            return f"step {job.step} runs {job.origin}"
        case Role.WRITER:
            return f"{job.origin} needs a writer behind step {job.step}"
        case Role.READER:
            return f"{job.origin} needs a reader before step {job.step}"
        case Role.RELAY:
            return f"{job.origin} needs a relay behind step {job.step}"


def _changed_keys(old: Job, new: Job) -> str:
    before, after = _documents(old), _documents(new)
    return ", ".join(key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key))


def _documents(job: Job) -> dict[str, Any]:
    """The document, with what some workers run instead."""
    if not job.variants:
        return job.document
    return {**job.document, **{f"on {worker}": document for worker, document in sorted(job.variants.items())}}


def _where(job: Job, state: State) -> str:
    return f"{job.group} on {_workers(state.assignments.get(job.name, ()))}"


def _workers(workers: Sequence[str]) -> str:
    return ", ".join(worker or "no worker" for worker in workers[:4]) + (
        f" and {len(workers) - 4} more" if len(workers) > 4 else ""
    )


def _ends(channel: Channel) -> str:
    return f"{', '.join(channel.producers) or 'nothing'} -> {', '.join(channel.consumers) or 'nothing'}"


def _group(state: State, name: str) -> str:
    return state.jobs[name].group


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"
