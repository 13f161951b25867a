"""The log of a job from where its lines are: on the workers that run it, and what they had sent before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import NamedTuple

from core import errors
from core.fleet.fleet import Fleet
from core.model.workload import WorkloadView
from core.worker.journal import Line

LEVELS = ("print", "debug", "info", "warning", "error")
MOST_LINES = 500  # that one worker is asked for


class Lines(NamedTuple):
    """(workload id, line) by time, and the workers that did not answer."""

    lines: list[tuple[str, Line]]
    unreachable: list[str]


async def read(fleet: Fleet, tenant: str, job: str, level: str | None, after_ns: int, wait_seconds: float) -> Lines:
    """The lines of all replicas of at least a level that came after a time; when there are none, waits for one."""
    workloads = fleet.workload_views(tenant=tenant, job=job)
    with fleet.logs.watch([workload.id for workload in workloads]) as arrived:
        found = await _read(fleet, tenant, job, workloads, level, after_ns)
        if not found.lines and wait_seconds and workloads:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(arrived.wait(), wait_seconds)
            found = await _read(fleet, tenant, job, workloads, level, after_ns)
    return found


async def _read(
    fleet: Fleet, tenant: str, job: str, workloads: list[WorkloadView], level: str | None, after_ns: int
) -> Lines:
    async def ask(workload: WorkloadView) -> list[Line] | None:
        arguments = {"workload": workload.id, "lines": MOST_LINES, "after_ns": after_ns}
        try:
            reply = await fleet.request(workload.worker, "tail", arguments)
        except errors.TargetUnavailable:
            return None
        return [(at, level, text, fields) for at, level, text, fields in reply["lines"]]

    answers = dict(zip([w.id for w in workloads], await asyncio.gather(*map(ask, workloads)), strict=True))
    unreachable = {workload.worker for workload in workloads if answers[workload.id] is None}
    found = []
    for id in {**dict.fromkeys(fleet.logs.workloads(tenant, job)), **answers}:
        # What a replica that is gone had sent is only here, what one has not sent (it writes too fast) only there.
        lines = {(line[0], line[2]): line for line in (*fleet.logs.of(id), *(answers.get(id) or ()))}
        found += [(id, line) for line in lines.values() if line[0] > after_ns and _passes(line[1], level)]
    found.sort(key=lambda one: one[1][0])
    return Lines(found, sorted(unreachable))


def _passes(level: str, least: str | None) -> bool:
    return least is None or (level in LEVELS and LEVELS.index(level) >= LEVELS.index(least))


def fit(
    lines: Sequence[tuple[str, Line]], limit: int, characters: int, *, oldest_first: bool
) -> tuple[list[tuple[str, Line]], bool]:
    """The newest lines that fit, or (to follow without a gap) the oldest; at least one. And whether some do not."""
    kept: list[tuple[str, Line]] = []
    for id, (at_ns, level, text, fields) in lines if oldest_first else reversed(lines):
        characters -= len(text) + len(str(fields))
        if len(kept) == limit or (characters < 0 and kept):
            break
        kept.append((id, (at_ns, level, text, fields)))
    return kept if oldest_first else kept[::-1], len(kept) < len(lines)
