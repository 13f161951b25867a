"""Events through all steps of what a source means, job by job, as the channels lead them; nothing runs.

What a job would hand over is what the next one is traced with. Adapters of durable channels only carry: events pass
them as they are. Messages, and what a store or another system would give back, are not followed: a job that waits for
them is passed over, and says so, unless it is given events of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import count
from typing import TYPE_CHECKING, Any

from core import errors
from core.dsl.outputs import dispatch
from core.dsl.outputs.dispatch import DispatchOutput
from core.model.deployment import Job, Role, State

if TYPE_CHECKING:
    from core.model.results import jobs as traces
    from core.model.results import workflows

Events = list[dict[str, Any]]
Trace = Callable[[Job, Events | None], Awaitable["traces.Trace"]]
"""What a job does to events; None: its own input makes them."""

MOST_JOBS = 200
PASSED_OVER = "It has no events: nothing before it hands over any. Give it some with `step`."
NO_ROUTE = "No route fits it, and no output is the default: it would be refused."
IN_A_CIRCLE = "It stands in a circle of channels, which a trace cannot order."


async def through(state: State, events: Events | None, step: str | None, trace: Trace) -> list[workflows.TracedStep]:
    """What every job does, in the order of the channels. `events` go to the step of that name, or to all first ones.

    Raises InvalidParams for more jobs than a trace takes.
    """
    if len(state.jobs) > MOST_JOBS:
        raise errors.InvalidParams(f"It has {len(state.jobs)} jobs; a trace takes at most {MOST_JOBS}.")
    waiting: dict[str, Events] = {}
    told: list[workflows.TracedStep] = []
    for job, reads, in_circle in order(state):
        given = waiting.get(reads, []) if reads and not in_circle else []  # each reader gets a copy
        handed = events if job.role is Role.STEP and (job.step == step if step else not reads) else None
        if job.role is not Role.STEP:
            for channel in writes(job):
                waiting.setdefault(channel, []).extend(given)
            continue
        if handed is None and not given and (reads or "echo" not in job.document.get("input", {})):
            told.append(_passed_over(job, IN_A_CIRCLE if in_circle else PASSED_OVER))
            continue
        found = await trace(job, [*given, *(handed or [])] or None)
        unrouted: list[traces.TraceFault] = []
        for number, (channels, event) in enumerate(handed_over(job.document, found["would_emit"])):
            for channel in channels:
                waiting.setdefault(channel, []).append(event)
            if not channels:
                unrouted.append({"step": "output", "event": number, "message": NO_ROUTE})
        told.append(_traced(job, found, unrouted))
    return told


def order(state: State) -> Iterable[tuple[Job, str, bool]]:
    """(job, the channel that it reads, whether it is in a circle); who writes a channel comes before its readers."""
    jobs = list(state.jobs.values())
    writers: dict[str, list[str]] = {}
    for job in jobs:
        for channel in writes(job):
            writers.setdefault(channel, []).append(job.name)
    before = {job.name: set(writers.get(reads(job), ())) for job in jobs}
    try:
        names: Sequence[str] = list(TopologicalSorter(before).static_order())
    except CycleError as error:
        circle = set(error.args[1])
        names = [job.name for job in jobs if job.name not in circle] + [job.name for job in jobs if job.name in circle]
        return [(state.jobs[name], reads(state.jobs[name]), name in circle) for name in names]
    return [(state.jobs[name], reads(state.jobs[name]), False) for name in names if name in state.jobs]


def reads(job: Job) -> str:
    """The channel of its input; that of a durable channel's reader is the channel itself. Empty: none."""
    if job.role is Role.READER:
        return job.origin
    return str(job.document.get("input", {}).get("worker-channel", {}).get("channel", ""))


def writes(job: Job) -> list[str]:
    """The channels of its output."""
    if job.role is Role.WRITER:
        return [job.origin]
    output = job.document.get("output", {})
    if "dispatch" in output:
        return [*output["dispatch"]["outputs"].values(), *output["dispatch"].get("copies", ())]
    channel = output.get("worker-channel", {}).get("channel")
    return [channel] if channel else []


def handed_over(document: Mapping[str, Any], emitted: Sequence[Mapping[str, Any]]) -> Iterable[tuple[list[str], Any]]:
    """(channels, event) of what a traced job would send along channels; without any it has no route."""
    spread = document.get("output", {}).get("dispatch")
    config = None if spread is None else DispatchOutput.model_validate(spread)
    turns = count()
    for one in emitted:
        if one.get("kind") == "worker-channel":
            yield [one["channel"]], one["content"]
        elif one.get("kind") == "dispatch" and config is not None:
            yield dispatch.channels(config, one["content"], next(turns)), one["content"]


def _traced(job: Job, found: traces.Trace, unrouted: list[traces.TraceFault]) -> workflows.TracedStep:
    return {
        "step": job.step,
        "job": job.name,
        "uses": job.origin,
        "passed_over": None,
        "events_in": found["events_in"],
        "events_out": found["events_out"],
        "would_emit": found["would_emit"],
        "dropped": sum(one["dropped"] for one in found["steps"]),
        "errors": [*found["errors"], *unrouted],
        "truncated": found.get("truncated", []),
    }


def _passed_over(job: Job, why: str) -> workflows.TracedStep:
    return {
        "step": job.step,
        "job": job.name,
        "uses": job.origin,
        "passed_over": why,
        "events_in": [],
        "events_out": [],
        "would_emit": [],
        "dropped": 0,
        "errors": [],
        "truncated": [],
    }
