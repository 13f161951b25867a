"""`sluice wait`: until a deployment, a run or a job is as somebody wants it, or the time is over."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from core import clock, errors
from mcp_server.cli import codes, connect, news, render

Kind = Literal["deployment", "invocation", "job"]
State = Literal["running", "healthy", "removed", "succeeded", "ended"]
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


class Standing(NamedTuple):
    """Whether something is as it is waited for; else how it is, and whether it can still come."""

    met: bool
    told: str
    hopeless: bool = False


def _deployment(answer: Mapping[str, Any], wanted: str) -> Standing:
    state, health = answer["state"], answer.get("health")
    met = {"running": state in ("running", "warning"), "healthy": health == "healthy", "removed": state == "removed"}
    told = f"state {state}, health {health or 'unknown'}" + (f": {answer['reason']}" if answer.get("reason") else "")
    return Standing(met[wanted], told, state == "removed" and wanted != "removed")


def _invocation(answer: Mapping[str, Any], wanted: str) -> Standing:
    state = answer["state"]
    ended = state in ("succeeded", "failed", "timed_out", "canceled")
    return Standing(ended if wanted == "ended" else state == "succeeded", f"state {state}", ended)


def _job(answer: Mapping[str, Any], wanted: str) -> Standing:
    workloads = answer["workloads"]
    states = sorted({one["state"] for one in workloads})
    well = {
        "running": states in (["running"], ["completed"], ["completed", "running"]),
        "healthy": bool(workloads) and all(one.get("health") == "healthy" for one in workloads),
        "ended": bool(workloads) and set(states) <= {"completed", "failed", "stopped", "quarantined"},
    }
    reason = next((one["reason"] for one in workloads if one.get("reason")), "")
    told = f"workloads {', '.join(states) or 'none'}" + (f": {reason}" if reason else "")
    return Standing(well[wanted], told)


class _Waited(NamedTuple):
    operation: str
    argument: str
    states: tuple[str, ...]
    judge: Callable[[Mapping[str, Any], str], Standing]


KINDS: Mapping[str, _Waited] = MappingProxyType(
    {
        "deployment": _Waited("deployment_get", "name", ("running", "healthy", "removed"), _deployment),
        "invocation": _Waited("trigger_invocation_get", "invocation_id", ("ended", "succeeded"), _invocation),
        "job": _Waited("job_get", "name", ("running", "healthy", "ended"), _job),
    }
)


def span(text: str) -> float:
    """Seconds of what is typed as 90, 60s, 5m or 1h. Raises InvalidParams."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise errors.InvalidParams(f"{errors.shorten(text, 40)} is no span of time.", hint="Write it as 30s, 5m or 1h.")
    return float(found[1]) * _UNITS[found[2]]


async def wait(
    kind: Kind,
    name: str,
    /,
    *,
    for_: Annotated[State | None, Parameter(name="--for", show_default=False)] = None,
    within: Annotated[str, Parameter(name="--timeout")] = "60s",
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Wait until a deployment, a run of a trigger or a job is as you want it.

    Parameters
    ----------
    kind
        What is waited for.
    name
        Its name, or the id of the run.
    for_
        How it shall be: a deployment running, healthy or removed; a run ended or succeeded; a job running, healthy or
        ended. The first of these when left out.
    within
        How long: 30s, 5m, 1h. What is not so by then ends with 7, and says how it is.
    """
    waited, seconds = KINDS[kind], span(within)
    wanted = for_ or waited.states[0]
    if wanted not in waited.states:
        raise errors.InvalidParams(
            f"Nobody can wait for a {kind} to be {wanted}.", hint=f"Choose from {', '.join(waited.states)}."
        )
    async with connect.engine(common, follows=True) as engine:
        connect.note(f"Waiting up to {seconds:g} s for {kind} {name} to be {wanted}.")
        standing = await until(engine, kind, name, wanted, seconds)
    if common.json:
        render.json({"name": name, "for": wanted, "met": standing.met, "found": standing.told})
    elif standing.met:
        render.text(f"{kind} {name} is {wanted}: {standing.told}")
    if standing.met:
        return codes.OK
    how = "cannot be any more" if standing.hopeless else f"was not within {seconds:g} s"
    connect.note(f"{kind} {name} {how} {wanted}: {standing.told}")
    return codes.FAILED if standing.hopeless else codes.UNFINISHED


async def until(engine: connect.Client, kind: str, name: str, wanted: str, within: float) -> Standing:
    """How it stands when it is as `wanted`, when it cannot be any more, or when so many seconds are over."""
    waited = KINDS[kind]
    deadline = clock.monotonic() + within
    with news.heard(engine) as change:
        while True:
            standing = await _standing(engine, waited, name, wanted)
            left = deadline - clock.monotonic()
            if standing.met or standing.hopeless or left <= 0:
                return standing
            await change(min(news.LOOK_SECONDS, left))


async def _standing(engine: connect.Client, waited: _Waited, name: str, wanted: str) -> Standing:
    try:
        return waited.judge(await engine.call(waited.operation, **{waited.argument: name}), wanted)
    except errors.NotFound:
        if wanted != "removed":
            raise
        return Standing(True, "there is none")
