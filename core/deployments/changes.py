"""The ordered changes between two wishes: jobs and adapters along the data, channels, placement, what goes; and the
values that differ. Pure.

An update starts a job anew on its workers.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from core.documents import differences
from core.documents.differences import Difference
from core.model.deployment import Channel, Job, Role, State
from core.model.plan import Action, Change, Kind


def between(desired: State, current: State) -> list[Change]:
    """Every job, adapter, channel and placement of either wish, with what happens to it."""
    return [
        *_jobs(desired, current),
        *_channels(desired.channels, current.channels),
        *_placement(desired, current),
        *_gone(desired, current),
    ]


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
        else:
            before, after = _group(current, name), _group(desired, name)
            moved = f"group {before} -> {after}" if before != after else ""
            sides = {"workers": list(old)}, {"workers": list(workers)}
            if len(old) != len(workers):
                why = ", ".join(filter(None, (f"replicas {len(old)} -> {len(workers)}", moved)))
                yield Change(Action.UPDATE, Kind.PLACEMENT, name, where, why, *sides)
            else:
                yield Change(Action.MOVE, Kind.PLACEMENT, name, where, moved or f"was on {_workers(old)}", *sides)


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


def of_wish(desired: State, current: State) -> list[Difference]:
    """The values in which two wishes differ beside the documents of their jobs: what was asked for, and what follows
    from it without showing in a change."""
    return list(differences.between(_asked(current, desired), _asked(desired, current)))


def _asked(state: State, other: State) -> dict[str, Any]:
    both = [name for name in state.jobs if name in other.jobs]
    woven = {job.origin for job in state.jobs.values() if job.role is not Role.STEP}
    options = {
        name: dict(channel.options)
        for name, channel in state.channels.items()
        if name in other.channels and f"channel {name}" not in woven  # else the documents of its adapters have them
    }
    return {
        **({"source": state.source} if state.source else {}),  # that of nothing is none
        "worker_group": state.group,
        "environment": state.environment,
        "values": dict(state.values),
        "placement": dict(state.placement),
        "replicas": dict(state.replicas),
        "resets": {name: str(reset) for name, reset in state.resets.items() if name in both},
        "channels": options,
        "jobs": {name: _origin(state.jobs[name]) for name in both},
        "together": _shared(state, set(both)),
    }


def _shared(state: State, both: set[str]) -> list[list[str]]:
    """The sets of jobs that share a worker, of those jobs that are in both wishes."""
    kept = ([name for name in members if name in both] for members in state.together)
    return [members for members in kept if len(members) > 1]


def _origin(job: Job) -> dict[str, Any]:
    return {"step": job.step, "role": job.role.value, "origin": job.origin}


def values(change: Change) -> list[Difference]:
    """The values that an update or a move changes; none of what comes and goes as a whole."""
    if change.before is None or change.after is None:
        return []
    return list(differences.between(change.before, change.after))


def diff(change: Change, *, whole: bool = False) -> str:
    """The unified diff of an update, and with `whole` of what comes and goes; empty when there is nothing to compare.

    Credentials are masked. Made on demand, because a plan may have thousands of changes.
    """
    if (change.before is None and change.after is None) or (not whole and None in (change.before, change.after)):
        return ""
    before, after = (
        []
        if side is None
        else orjson.dumps(differences.masked(side), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
        .decode()
        .splitlines()
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
