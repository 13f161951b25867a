"""Where the readers of a step stand, set by hand: which jobs can be told, and their documents with it. Pure.

A reset is part of the wish: it stays in the documents, is carried out once by whoever runs them, also later and on
another worker, and shows in the plan like any other change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from core import clock, errors
from core.documents import canonical
from core.dsl.component import REGISTRY
from core.dsl.inputs import rewind
from core.errors import Problem
from core.model.deployment import Job, Reset, State
from core.model.plan import Finding
from core.near import did_you_mean

BEGINNING, END = rewind.BEGINNING, "end"


def point(text: str, moment: Callable[[str], int], now_ns: int) -> str:
    """What a text names: beginning, end, or a time, in ISO 8601; `moment` reads times. Raises InvalidParams."""
    if text in (BEGINNING, END):
        return text
    try:
        at = moment(text)
    except errors.InvalidParams as error:
        raise errors.InvalidParams(
            f"{errors.shorten(text, 40)} is no point to read from.",
            hint=f"Write beginning, end, or a time. {error.hint}",
            errors=[Problem("/to", "must be beginning, end, or a time")],
        ) from None
    if at > now_ns:
        raise errors.InvalidParams(
            f"{errors.shorten(text, 40)} has not come yet.",
            hint="To pass over all that is there now, write end.",
            errors=[Problem("/to", "must not be ahead of now")],
        )
    return clock.iso(at)


def of_step(state: State, step: str, to: str, marker: str) -> dict[str, Reset]:
    """The resets of the jobs that read for a step, or for the steps of a module.

    Raises InvalidParams when there is no such step, or nothing of it that remembers where it stands.
    """
    ours = [job for job in state.jobs.values() if job.step == step or job.step.startswith(f"{step}.")]
    if not ours:
        steps = sorted({job.step for job in state.jobs.values()})
        raise errors.InvalidParams(
            f"There is no step {errors.shorten(step, 60)}{did_you_mean(step, steps)}.",
            hint=f"Steps: {', '.join(steps) or 'none'}.",
            errors=[Problem("/step", "is no step of this deployment")],
        )
    found = {job.name: Reset(to, marker, _own(job, state.resets)) for job in ours if _can_be_told(job, to)}
    if not found:
        inputs = sorted({_input(job.document)[0] for job in ours})
        timeless = " for that point" if to not in (BEGINNING, END) else ""
        raise errors.InvalidParams(
            f"Nothing of step {step} remembers where it stands{timeless}: it reads by {', '.join(inputs)}.",
            hint="Inputs with the key replay do, those of objects with fingerprinting: true (docs/files.md).",
            errors=[Problem("/step", "reads nothing that can be reset")],
        )
    return found


def onto(document: dict[str, Any], reset: Reset) -> dict[str, Any] | None:
    """A job document with a reset; None where it does not count: the document says another `replay` itself by now, or
    reads by something else."""
    name, config = _input(document)
    if not _has_replay(name) or config.get("replay") != reset.over:
        return None
    return {**document, "input": {name: {**config, "replay": _replay(reset)}}}


def carried(wish: State, current: State) -> State:
    """An earlier wish with the resets of the present one: nothing that was carried out is undone, or done again."""
    kept: dict[str, Reset] = {}

    def now(job: Job, document: dict[str, Any]) -> dict[str, Any]:
        name, config = _input(document)
        if job.name in wish.resets and "replay" in config:
            own = {key: value for key, value in config.items() if key != "replay"}
            over = wish.resets[job.name].over
            document = {**document, "input": {name: own if over is None else {**own, "replay": over}}}
        reset = current.resets.get(job.name)
        again = onto(document, reset) if reset is not None else None
        if reset is None or again is None:
            return document
        kept[job.name] = reset
        return again

    jobs = {}
    for job in wish.jobs.values():
        document, variants = now(job, job.document), {at: now(job, one) for at, one in job.variants.items()}
        if document != job.document or variants != job.variants:
            digest = canonical.digest([document, variants] if variants else document)
            job = dataclasses.replace(job, document=document, variants=variants, digest=digest)
        jobs[job.name] = job
    return dataclasses.replace(wish, jobs=jobs, resets=kept)


def meaning(resets: Mapping[str, Reset]) -> Iterable[Finding]:
    """What a reset means for the events: some come again, or never."""
    for job, reset in resets.items():
        if reset.to == END:
            yield Finding("leaves_out", f"Job {job} never reads what is there now and was not read yet.")
        elif reset.to == BEGINNING:
            yield Finding("reads_again", f"Job {job} reads all that is still there once more, and delivers it again.")
        else:
            what = f"reads what is there since {reset.to} once more, delivers it again, and never reads what is older"
            yield Finding("reads_again", f"Job {job} {what}.")


def goes_on(deployment: str, found: Iterable[Job]) -> Iterable[Finding]:
    """Of jobs that find what an earlier one of their name remembered."""
    for job in found:
        message = f"Job {job.name} reads on from where an earlier one of this name stood; its state was kept."
        again = f"sluice deployment reset {deployment} {job.step} --to beginning"
        yield Finding("reads_on", message, f"Once it is applied, have it read all again: {again}.")


def _replay(reset: Reset) -> dict[str, Any]:
    if reset.to == END:
        return {"from": rewind.NOW, "marker": reset.marker, "skip-unread": True}
    if reset.to == BEGINNING:
        return {"from": rewind.BEGINNING, "marker": reset.marker}
    return {"from": reset.to, "marker": reset.marker, "skip-unread": True}


def remembers(job: Job) -> bool:
    """Whether a job reads something of which it remembers how far it has come."""
    name, config = _input(job.document)
    return _has_replay(name) and ("fingerprinting" not in _fields(name) or config.get("fingerprinting") is True)


def _can_be_told(job: Job, to: str) -> bool:
    return remembers(job) and (to in (BEGINNING, END) or _input(job.document)[1].get("timestamp-mode") != "none")


def _own(job: Job, resets: Mapping[str, Reset]) -> Any:
    config = _input(job.document)[1]
    if job.name in resets and config.get("replay") == _replay(resets[job.name]):
        return resets[job.name].over
    return config.get("replay")


def _input(document: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The input of a job: its name and its keys; empty of what is no job."""
    ends = document.get("input")
    if not isinstance(ends, dict) or len(ends) != 1:
        return "", {}
    [(name, config)] = ends.items()
    if isinstance(config, dict):
        return name, config
    component = REGISTRY.get("input", name)
    scalar = (component.scalar or component.listed) if component is not None else ""
    return name, {scalar: config} if scalar and config is not None else {}


def _fields(name: str) -> Mapping[str, Any]:
    component = REGISTRY.get("input", name)
    return component.model_fields if component is not None else {}


def _has_replay(name: str) -> bool:
    return "replay" in _fields(name)
