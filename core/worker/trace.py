"""`python -m core.worker.trace`: Run & Trace of one job in a process of its own, without an effect outside of it.

One JSON request on standard input, one JSON answer on standard output. The process has a ceiling on memory and
processor time and ends by itself, so a document that loops or grows costs nobody else anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from core import clock, errors
from core.confinement import sandbox
from core.dsl.component import UNNOTED, Channel, Component, Contact, Event, Limits, Outgoing, Run, Tally
from core.dsl.files import threads
from core.dsl.language import compile as compiler
from core.dsl.language.action import JobAborted
from core.dsl.language.responding import NoAnswer
from core.dsl.language.schedule import Clocks
from core.guard import open_places
from core.guard.filepolicy import FilePolicy
from core.model.kv import Namespace, qualify
from core.worker import preview
from core.worker.kv import NoKV

CPU_SECONDS = 10
MEMORY_BYTES = 1024 * 1024 * 1024
LONGEST_SECONDS = 20
SAMPLE_SECONDS = 5.0  # how long a sample may wait for its events
MOST_EVENTS = 1000
MOST_LEFT = 10_000  # events that splitting actions may make of them
MOST_WARNINGS = 20  # of one step


@dataclass(slots=True)
class Request:
    """What to trace; see `job_trace` for the meaning."""

    document: dict[str, Any]  # staged
    tenant: str
    events: list[Event] | None = None
    message: dict[str, Any] | None = None
    sample: int = 0
    variables: dict[str, str] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    state_dir: str = ""  # empty, and thrown away afterwards
    sandbox: str = "off"
    home: str = ""  # of the engine

    @property
    def allowed(self) -> Limits:
        limits: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in self.limits.items()}
        return Limits(**{**limits, "files": FilePolicy.from_dict(limits["files"])})


@dataclass(slots=True)
class Environment:
    """The Env of a trace: it keeps what the job says and would send, and gives nothing away."""

    job: str
    tenant: str
    limits: Limits
    state_dir: Path
    variables: dict[str, str]
    worker: str = "trace"
    workload: str = "trace"
    lines: list[str] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    step: int | str = "input"
    contact: Contact = UNNOTED
    tally: Tally = field(default_factory=Tally)
    before_events: list[Callable[[], None]] = field(default_factory=list)

    def at(self, component: Component) -> Environment:
        return self

    def log(self, level: str, text: str, **fields: Any) -> None:
        if level == "info":  # what an action would write to the log, do to the KV store, or call
            kind = "kv" if "namespace" in fields else "call" if "url" in fields else "log"
            self.sent.append({"kind": kind, "step": self.step, **fields, "text": text})
        elif len(self.lines) < MOST_WARNINGS:
            self.lines.append(text)

    def publish(self, message: Outgoing) -> asyncio.Future[None]:
        self.sent.append(preview.message(message, self.step))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def channel(self, name: str) -> Channel:
        raise errors.JobFailed("a trace has no worker channels; give events")

    def variable(self, name: str) -> str | None:
        return self.variables.get(name)

    def kv(self, namespace: str) -> Namespace:
        """A namespace to name: the actions that use one are done in their dry form."""
        return Namespace(NoKV(), qualify(self.tenant, namespace))

    def secret(self, source: str, name: str) -> str:
        """A trace is never given a secret, so it can show none."""
        return preview.MASK

    def taken(self) -> list[str]:
        """The lines of the log since the last call."""
        lines, self.lines = self.lines, []
        return lines


async def trace(request: Request) -> dict[str, Any]:
    """The whole answer, not cut to size yet.

    Raises InvalidDocument or InvalidParams with what the caller can mend, JobFailed when the input cannot be read.
    """
    limits = request.allowed
    name = str(request.document["name"])
    env = Environment(name, request.tenant, limits, Path(request.state_dir), request.variables)
    job = compiler.compile_job(request.document, env)
    await threads.each(env.before_events)
    run = Run("trace", request.message, Clocks(clock.now_ns()))
    faults: list[dict[str, Any]] = []
    try:
        events = await _events(request, job, env, run)
    except (errors.JobFailed, OSError) as error:  # what the real input says: a finding like any other
        events, run.errors, run.last_error = [], run.errors + 1, errors.shorten(str(error), 500)
    if run.errors:
        faults.append({"step": "input", "event": None, "message": run.last_error})
    numbered = list(enumerate(copy.deepcopy(events), 1))
    result: dict[str, Any] = {"job": name, "events_in": events, "aborted": None}
    result["input_warnings"] = env.taken()
    steps = result["steps"] = []
    for step in job.steps:
        numbered, shown = _step(step, numbered, env, run, faults)
        steps.append(shown)
        if shown.pop("aborted", None):
            result["aborted"] = faults[-1]["message"]
            numbered = []
            break
    out = [event for _, event in numbered]
    env.step = "output"
    written, refused = preview.output(job.output, env, run, out)
    faults += refused
    run.events_in, run.events_out, run.errors = len(events), len(out) - len(refused), len(faults)
    told = []
    for emit in job.emit if run.events_out else ():
        try:
            message = emit.open(env).message(run)
        except NoAnswer as error:
            faults.append({"step": "emit", "event": None, "message": str(error)})
        else:
            told += [preview.message(message, "emit")] if message is not None else []
    return {**result, "events_out": out, "would_emit": [*env.sent, *written, *told], "errors": faults}


def _step(
    step: compiler.Step, before: list[tuple[int, Event]], env: Environment, run: Run, faults: list[dict[str, Any]]
) -> tuple[list[tuple[int, Event]], dict[str, Any]]:
    """Take events through one action, one at a time, so that each fault is told with its event."""
    env.step = step.index
    shown: dict[str, Any] = {"index": step.index, "action": step.name, "description": step.description}
    shown["before"] = copy.deepcopy([event for _, event in before])
    after: list[tuple[int, Event]] = []
    dropped = 0
    for place, (number, event) in enumerate(before):
        own = Run(run.id, run.msg, run.time, run.stat, events_in=number - 1)
        try:
            left = step.process([event], own)
        except JobAborted as error:
            faults.append({"step": step.index, "event": place, "message": error.message})
            shown["aborted"] = True
            break
        if own.errors:
            faults.append({"step": step.index, "event": place, "message": own.last_error})
        dropped += not left
        after += [(number, one) for one in left]
        if len(after) > MOST_LEFT:
            raise errors.JobFailed(f"action {step.index} makes more than {MOST_LEFT} events; trace fewer")
    shown["after"] = copy.deepcopy([event for _, event in after])
    shown["dropped"] = dropped
    told = {fault["message"] for fault in faults}
    shown["warnings"] = [line for line in env.taken() if line not in told]
    return after, shown


async def _events(request: Request, job: compiler.CompiledJob, env: Environment, run: Run) -> list[Event]:
    """The events to begin with: given, or read from the input without telling it that they have arrived."""
    if request.events is not None:
        return request.events
    wanted = request.sample
    if not wanted:
        if job.input.name != "echo":
            raise errors.InvalidParams(
                f"A trace of a job with the input {job.input.name} needs events.",
                hint="Give events[], or sample to read a few from the real input.",
                errors=[errors.Problem("/events", "is missing")],
            )
        wanted = MOST_EVENTS
    effect = job.input.effect_of_reading()
    if effect:
        raise errors.InvalidParams(
            f"A trace takes no sample from the input {job.input.name}: {effect}.",
            hint="Give events[] instead.",
            errors=[errors.Problem("/sample", effect)],
        )
    source = job.input.open(env)
    found: list[Event] = []
    try:
        with contextlib.suppress(TimeoutError):  # an input that waits for more has given what there is now
            async with asyncio.timeout(SAMPLE_SECONDS):
                batches: AsyncIterator[Any] = source.batches(run)
                async with contextlib.aclosing(batches) as reading:  # type: ignore[type-var]
                    async for batch in reading:
                        found += batch.events  # and never batch.settle: nothing is acknowledged or remembered
                        if len(found) >= wanted:
                            break
    finally:
        await source.close()
    return found[:wanted]


def _limit() -> None:
    """Bound what this process may take; what it starts inherits the bounds."""
    os.umask(0o077)
    signal.alarm(LONGEST_SECONDS + 1)
    for kind, most in (("RLIMIT_CPU", CPU_SECONDS), ("RLIMIT_AS", MEMORY_BYTES), ("RLIMIT_CORE", 0)):
        number = getattr(resource, kind, None)
        if number is not None:
            with contextlib.suppress(ValueError, OSError):  # a lower ceiling that holds already
                resource.setrlimit(number, (most, most))


def main() -> int:
    """Answer one request."""
    _limit()
    answer: dict[str, Any]
    try:
        request = Request(**orjson.loads(sys.stdin.buffer.read()))
        place = Path(request.state_dir)
        limits = request.allowed
        places = open_places.of(
            limits.files, [str(place)], programs=limits.allow_exec, home=request.home, tenant=request.tenant
        )
        sandbox.enter(request.sandbox, places, place / "own")
        answer = {"result": preview.fit(asyncio.run(trace(request)))}
    except errors.SluiceError as error:
        answer = {"error": error.to_dict()}
    except MemoryError:
        answer = {"error": errors.JobFailed("the trace needs more memory than it may have").to_dict()}
    except Exception as error:  # the boundary of the process: the fault is told as the answer
        answer = {"error": errors.JobFailed(f"{type(error).__name__}: {errors.shorten(str(error))}").to_dict()}
    sys.stdout.buffer.write(orjson.dumps(answer, default=str))
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
