"""The respond output: ends the invocation that started the run with a trigger_response (docs/triggers.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import ClassVar

from core.dsl.component import REGISTRY, Batch, Env, Event, Outgoing, Output, Run
from core.dsl.language import templates
from core.dsl.language.responding import UNHEARD, Answers, NoAnswer, Response
from core.model.letter import Code

ANSWERED = "the run has answered already; only its first event is the answer"


@REGISTRY.register("respond")
class Respond(Response, Output):
    """Answer the trigger that started the run: writes the whole `trigger_response`, so that the invocation ends.

    Tenant, invocation and response slot are those of the message. The first event of a run is the answer; further ones
    are refused and counted. A run that fails, or of which no event comes through, answers with the outcome `failed` and
    `error_code` `run_failed` or `no_answer` unless `on-error` says otherwise. When there is nobody to answer (the
    message is no invocation, or its job fired without one) the event is refused with that reason; when the trigger has
    no response slot, the log says so. A response of more than 256 KiB is refused.
    """

    example: ClassVar[str] = """
name: smoke_trigger_handler
input:
  echo:
    trigger: {message: {filter-kind: user, filter-type: [user-generated], filter-tag: smoke.invoke}}
    event: "{}"
    json: true
output: {respond: {result: {ok: true, env: "${msg|job_event.params.env}"}}}
"""

    def open(self, env: Env) -> RespondSink:
        return RespondSink(self, env)


class RespondSink:
    """A batch is settled when the engine has made the response durable."""

    def __init__(self, declared: Respond, env: Env) -> None:
        self._answers = Answers(declared, env)
        self._env = env

    def write_now(self, events: list[Event], run: Run) -> None:
        """Hand the response to the bus without waiting: it leaves before the acknowledgement of the message."""
        for message in self._messages(events, run):
            self._publish(message)

    async def write(self, batch: Batch, run: Run) -> None:
        for message in self._messages(batch.events, run):
            await self._env.publish(message)
        batch.settle(None)

    def conclude(self, run: Run, reason: str) -> None:
        """Answer in the place of a run that has not."""
        message = self._answers.of_ended(run, reason)
        if message is not None:
            run.answered = True
            self._publish(message)

    def _messages(self, events: list[Event], run: Run) -> Iterator[Outgoing]:
        for event in events:
            if run.answered:
                run.leave_out(self._env, Code.NO_ANSWER, f"respond: {ANSWERED}", event)
                continue
            try:
                message = self._answers.of(event, run)
            except (NoAnswer, templates.TextTooLong) as fault:
                run.leave_out(self._env, Code.NO_ANSWER, f"respond: {fault}", event)
                continue
            if message is None:
                self._env.log("warning", f"respond: {UNHEARD}")
                continue
            yield message
            run.answered = run.msg is not None

    def _publish(self, message: Outgoing) -> None:
        future = self._env.publish(message)
        if not future.done() or future.exception() is not None:
            future.add_done_callback(self._report)

    def _report(self, future: asyncio.Future[None]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            self._env.log("error", "respond: the bus did not take the response", error=str(error))

    async def flush(self, run: Run) -> None:
        pass

    async def close(self) -> None:
        pass
