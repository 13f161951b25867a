"""The log of a job: what was written down of it, and what has just come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from core import clock, errors
from core.fleet.fleet import Fleet
from core.fleet.logs import to_answer
from core.model.log_line import mask_from
from core.model.principal import Surface
from core.model.states import WorkerState
from core.model.workload import parse
from core.store.log_rows import Range
from core.store.log_search import Owned, Pattern

if TYPE_CHECKING:
    from core.model.results.jobs import LogLine

SECONDS = 2.0  # that a look into the file may take
GATHER_SECONDS = 0.05  # from the first line that comes to the look for it: others come with it
TOOL_CHARACTERS = 5_400  # of lines in the text of a tool
BESIDE = 150  # characters of a line besides what it says: workload, time, level, names
LINE_CHARACTERS = 320  # for each line that is asked for: 50 fit into 6,000 tokens


class Lines(NamedTuple):
    """Lines from the oldest, whether there are more, and the seq after which those come that are none of these."""

    lines: list[Owned]
    more: bool
    next: int
    gone: bool
    """Whether lines before these that were asked for are kept no more."""


async def read(
    fleet: Fleet, tenant: str, job: str, level: str | None, after: int | None, limit: int, wait_seconds: float
) -> Lines:
    """The newest lines of all replicas of at least a level, or the next ones after a seq; when there are none, waits
    for one."""
    within = Range(tenant, job, levels=mask_from(level) if level else 0, after=after or 0)
    wait = wait_seconds if fleet.workload_views(tenant=tenant, job=job) else 0
    return await find(fleet, within, limit, follows=after is not None, wait_seconds=wait, seconds=SECONDS)


async def find(
    fleet: Fleet,
    within: Range,
    limit: int,
    *,
    pattern: Pattern | None = None,
    follows: bool = True,
    wait_seconds: float = 0,
    seconds: float = 1.0,
) -> Lines:
    """The first lines of a range (`follows`), or the last ones; when there are none, waits for one."""
    deadline = clock.monotonic() + wait_seconds
    book, gone = fleet.logs.book, False
    with fleet.logs.watch(within) as arrived:
        while True:
            arrived.clear()
            # Nothing up to `seq` comes any more, and all of it is looked through. What is written down while the file
            # is read is behind it, and found by the next search alone.
            seq = max(book.seq, within.after)
            found = await book.search(
                replace(within, before=book.seq + 1),
                limit,
                pattern=pattern,
                newest_first=not follows,
                seconds=seconds,
                beside=fleet.logs.beside(within),
            )
            gone = gone or found.gone
            left = deadline - clock.monotonic()
            if found.lines or not found.complete or left <= 0:
                break
            within = replace(within, after=seq) if follows else within
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await arrived.wait()
            await asyncio.sleep(min(GATHER_SECONDS, max(0, deadline - clock.monotonic())))
    lines = found.lines if follows else found.lines[::-1]
    return Lines(lines, not found.complete, found.edge if follows and not found.complete else seq, gone)


async def last(fleet: Fleet, tenant: str, job: str, limit: int) -> list[LogLine]:
    """The newest lines as operations answer them, from the oldest."""
    found = await read(fleet, tenant, job, None, None, limit, 0) if limit else None
    return [to_answer(id, line) for id, line in found.lines] if found is not None else []


def unreachable(fleet: Fleet, tenant: str, job: str) -> list[str]:
    """Workers with replicas of a job that are not there now: what they write meanwhile is not here."""
    names = {workload.worker for workload in fleet.workload_views(tenant=tenant, job=job)}
    absent = {name for name, worker in fleet.workers.items() if worker.state is not WorkerState.ONLINE}
    return sorted(names & absent)


async def refuse_unknown(fleet: Fleet, tenant: str, of: str) -> None:
    """Raises NotFound for what is no deployment, job, workload or worker of a tenant, and has no line of before."""
    views = fleet.workload_views(tenant=tenant)
    if any(of in (one.deployment, one.job, one.worker, parse(one.id).name) for one in views):
        return
    if not (await fleet.logs.book.search(Range(tenant, of=of), 1, seconds=SECONDS)).lines:
        raise errors.NotFound(
            f"There is no log of {errors.shorten(of, 100)} in tenant {tenant}.",
            hint="Name a deployment, a job, a workload or a worker; job_list and deployment_list have them.",
        )


def fit(lines: Sequence[Owned], limit: int, surface: Surface, *, oldest_first: bool) -> list[Owned]:
    """The lines from the first (`oldest_first`) or the last one on that fit into an answer; at least one.

    The text of a tool is bounded, and has the whole answer then; other doors have room for each line asked for.
    """
    of_tool = surface is Surface.MCP
    characters, beside = (TOOL_CHARACTERS, BESIDE) if of_tool else (limit * LINE_CHARACTERS, 0)
    kept: list[Owned] = []
    for id, line in lines if oldest_first else reversed(lines):
        characters -= len(line.text) + len(str(line.fields)) + sum(map(len, line.in_run)) + beside
        if characters < 0 and kept:
            break
        kept.append((id, line))
    return kept if oldest_first else kept[::-1]
