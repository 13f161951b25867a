"""The `emit` key of a job: messages beside the data, sent after the output has accepted what they tell about."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import field_validator, model_validator

from core import clock
from core.dsl.component import Config, Env, Outgoing, Run
from core.dsl.language import templates
from core.dsl.language.duration import Duration
from core.dsl.language.responding import UNHEARD, Answers, NoAnswer, Response
from core.errors import shorten
from core.model.message import Kind, Type


class Emit(Config):
    """Send a `user-generated` message after the output has accepted a run, a batch or a document.

    The events on their way to the output are not changed. Nothing is sent for what the output refused, and nothing
    when it accepted no event.
    """

    scalar: ClassVar[str] = "tag"

    tag: templates.Text = ""
    """The tag that listeners filter by; `@{job}` and the like are filled in."""
    on: Literal["run", "batch", "document"] = "run"
    """`run`: when a run has ended well. `batch`: as batches are accepted. `document`: at the end of each document.
    A continuous job has one run that ends when it is stopped, so it wants `batch`."""
    every: Duration = 1.0
    """With `batch`: the least time between two messages, which tell the newest figures."""
    data: templates.Structure = None
    """The payload, under `job_event`. Templates read `${stat|…}` (events_in, events_out, errors, bytes_in, bytes_out,
    run_id), `${time|…}`, `${msg|…}` and `${dyn|…}`. Left out: job, run_id, events_in, events_out and errors."""
    respond: Response | None = None
    """Answer the trigger that started the run, in the place of a message of one's own; its keys are those of the output
    respond, and without `result` the figures are the result. Also a run that fails is answered. With `on: run` only."""

    @model_validator(mode="after")
    def _one_answer_a_run(self) -> Emit:
        if self.respond is not None and (self.on != "run" or self.tag or self.data is not None):
            raise ValueError(
                "respond answers once, when the run has ended: it goes with no tag, no data and no other on"
            )
        return self

    @field_validator("tag", "data")
    @classmethod
    def _reads_no_event(cls, value: Any) -> Any:
        _refuse_events(value)
        return value

    @field_validator("respond")
    @classmethod
    def _answers_without_an_event(cls, value: Response | None) -> Response | None:
        _refuse_events(value.model_dump() if value is not None else None)
        return value

    def open(self, env: Env) -> Emitter:
        return Emitter(self, env)


def _refuse_events(value: Any) -> None:
    """Raises ValueError for a template that reads a field of an event."""
    for text in _texts(value):
        for part in templates.parse(text):
            if isinstance(part, templates.Lookup) and part.source == "event":
                raise ValueError(
                    f"${{{shorten(part.name, 40)}}} reads an event, and there is none here; "
                    "use ${stat|…}, ${time|…}, ${msg|…} or ${dyn|…}"
                )


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _texts(one)]


class Emitter:
    """One `emit` of a running job."""

    def __init__(self, config: Emit, env: Env) -> None:
        self.on = config.on
        self._every = config.every
        self._env = env
        self._tag = templates.template(config.tag, env)
        self._data = templates.structure(config.data, env) if config.data is not None else None
        self._answers = Answers(config.respond, env) if config.respond is not None else None
        self._sent_at = -math.inf  # the first one never waits, however young the monotonic clock is
        self._owed = False  # a batch was accepted that no message has told of

    def batch(self, run: Run, document_end: bool) -> None:
        """The output accepted a batch, which `run.events_out` counts already."""
        if self.on == "document" and document_end:
            self._send(run)
        elif self.on == "batch":
            now = clock.monotonic()
            self._owed = now - self._sent_at < self._every
            if not self._owed:
                self._sent_at = now
                self._send(run)

    def run(self, run: Run, *, complete: bool) -> None:
        """A run has ended well; `complete` when it was not cut short by a stop."""
        if self._owed or (self.on == "run" and complete):
            self._owed = False
            self._send(run)

    def conclude(self, run: Run, reason: str) -> None:
        """A run that a message started is over; `reason`: why it failed. Never raises."""
        message = self._answers.of_ended(run, reason) if self._answers is not None else None
        if message is not None:
            self._publish(message, run)

    def message(self, run: Run) -> Outgoing | None:
        """What is sent, also for a trace that only shows it; None when the trigger waits for no answer.

        Raises NoAnswer when there is nobody to answer.
        """
        run.stat |= {
            "run_id": run.id,
            "events_in": run.events_in,
            "events_out": run.events_out,
            "errors": run.errors,
            "bytes_in": run.bytes_in,
            "bytes_out": run.bytes_out,
        }
        if self._data is not None:
            data = self._data({}, run)
        else:
            data = {"job": self._env.job, "run_id": run.id, "events_in": run.events_in}
            data |= {"events_out": run.events_out, "errors": run.errors}
        if self._answers is not None:
            return self._answers.of(data, run)
        return Outgoing(Kind.USER, Type.USER_GENERATED, self._tag({}, run), {"job_event": data})

    def _send(self, run: Run) -> None:
        try:
            message = self.message(run)
        except (
            NoAnswer,
            templates.TextTooLong,
        ) as fault:  # the output has done its work: the run is as good as without
            self._env.log("warning", f"{'respond' if self._answers is not None else 'emit'}: {fault}")
            return
        if message is None:
            self._env.log("warning", f"respond: {UNHEARD}")
        else:
            self._publish(message, run)

    def _publish(self, message: Outgoing, run: Run) -> None:
        run.answered = run.answered or self._answers is not None
        future = self._env.publish(message)
        if not future.done() or future.exception() is not None:
            future.add_done_callback(self._report)

    def _report(self, future: asyncio.Future[None]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            self._env.log("error", "emit: the bus did not take a message", error=str(error))


class Emitters:
    """All of one job; most jobs have none, and pay one truth test a batch."""

    def __init__(self, declared: Sequence[Emit], env: Env) -> None:
        self._all = [emit.open(env) for emit in declared]
        self.batches = any(emit.on != "run" for emit in declared)  # whether accepted batches must be told

    def __bool__(self) -> bool:
        return bool(self._all)

    def batch(self, run: Run, document_end: bool) -> None:
        if run.events_out:
            for emitter in self._all:
                emitter.batch(run, document_end)

    def conclude(self, run: Run, reason: str) -> None:
        for emitter in self._all:
            emitter.conclude(run, reason)

    def run(self, run: Run, *, complete: bool) -> None:
        if run.events_out:
            for emitter in self._all:
                emitter.run(run, complete=complete)
