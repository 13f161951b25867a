"""The log of a job, read from where its lines are: on the workers that run it, and what they had sent before."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Literal

from pydantic import Field

from core import errors
from core.engine import Engine
from core.fleet.logs import shown
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import operation
from core.store import jobs as table
from core.worker.journal import Line

LEVELS = ("print", "debug", "info", "warning", "error")


class JobLog(Params):
    name: str = Field(max_length=200)
    """The name of the job."""
    limit: int = Field(default=50, ge=1, le=500)
    """The most lines."""
    after: str = Field(default="", max_length=32, pattern="^([0-9a-f]{16})?$")
    """`cursor` of an earlier answer: only lines that came after it, the oldest first."""
    level: Literal["warning", "error"] | None = None
    """Only lines of this level or a higher one."""
    wait_seconds: int = Field(default=0, ge=0, le=60)
    """Wait this long for a line when there is none yet."""
    characters: int = Field(default=16_000, ge=100, le=1_000_000)
    """The most characters of all lines together; `truncated` tells that lines were left out."""


@operation(
    summary="Read or follow the log of a job.",
    http="GET /api/jobs/{name}/log",
    toolset="jobs",
    offline=False,
    role=Role.USER,
)
async def job_log(engine: Engine, caller: Caller, params: JobLog) -> dict[str, Any]:
    """The last lines of a job's log from all its replicas, oldest first. To follow: pass `cursor` back as `after`
    with wait_seconds. `unreachable` lists workers that did not answer; then their lines are those sent before. When
    `deployed` is false, they are those of its last run, which the engine keeps until it ends."""
    workloads = engine.fleet.workload_rows(tenant=caller.tenant, job=params.name)
    if not workloads and await engine.database.read(table.newest, caller.tenant, params.name) is None:
        raise errors.NotFound(
            f"There is no job {errors.shorten(params.name, 100)} in tenant {caller.tenant}.",
            hint="job_list shows what there is.",
        )
    after_ns = int(params.after, 16) if params.after else 0
    with engine.fleet.logs.watch([workload["id"] for workload in workloads]) as arrived:
        lines, unreachable = await _lines(engine, caller.tenant, params, workloads, after_ns)
        if not lines and params.wait_seconds and workloads:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(arrived.wait(), params.wait_seconds)
            lines, unreachable = await _lines(engine, caller.tenant, params, workloads, after_ns)
    kept, truncated = _fit(lines, params.limit, params.characters, oldest_first=bool(after_ns))
    last = kept[-1][1][0] if kept else after_ns
    return {
        "name": params.name,
        "deployed": bool(workloads),
        "items": [shown(id, line) for id, line in kept],
        "truncated": truncated,
        "cursor": f"{last:016x}",
        "unreachable": unreachable,
    }


async def _lines(
    engine: Engine, tenant: str, params: JobLog, workloads: list[dict[str, Any]], after_ns: int
) -> tuple[list[tuple[str, Line]], list[str]]:
    """(workload id, line) by time, and the workers that did not answer."""

    async def ask(workload: dict[str, Any]) -> list[Line] | None:
        arguments = {"workload": workload["id"], "lines": 500, "after_ns": after_ns}
        try:
            reply = await engine.fleet.request(workload["worker"], "tail", arguments)
        except errors.TargetUnavailable:
            return None
        return [(at, level, text, fields) for at, level, text, fields in reply["lines"]]

    answers = dict(zip([w["id"] for w in workloads], await asyncio.gather(*map(ask, workloads)), strict=True))
    unreachable = {workload["worker"] for workload in workloads if answers[workload["id"]] is None}
    found = []
    for id in {**dict.fromkeys(engine.fleet.logs.workloads(tenant, params.name)), **answers}:
        # What a replica that is gone had sent is only here, what one has not sent (it writes too fast) only there.
        lines = {(line[0], line[2]): line for line in (*engine.fleet.logs.of(id), *(answers.get(id) or ()))}
        found += [(id, line) for line in lines.values() if line[0] > after_ns and _passes(line[1], params.level)]
    found.sort(key=lambda one: one[1][0])
    return found, sorted(unreachable)


def _passes(level: str, least: str | None) -> bool:
    return least is None or (level in LEVELS and LEVELS.index(level) >= LEVELS.index(least))


def _fit(
    lines: list[tuple[str, Line]], limit: int, characters: int, *, oldest_first: bool
) -> tuple[list[tuple[str, Line]], bool]:
    """The newest lines that fit, or (to follow without a gap) the oldest; at least one. And whether some do not."""
    kept: list[tuple[str, Line]] = []
    for id, (at_ns, level, text, fields) in lines if oldest_first else reversed(lines):
        characters -= len(text) + len(str(fields))
        if len(kept) == limit or (characters < 0 and kept):
            break
        kept.append((id, (at_ns, level, text, fields)))
    return kept if oldest_first else kept[::-1], len(kept) < len(lines)
