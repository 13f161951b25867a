"""The message output: events as messages of the bus, or as new values of a dynamic variable."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar

import orjson

from core.dsl.component import REGISTRY, Batch, Env, Event, Outgoing, Output, Run
from core.dsl.events import select
from core.dsl.events.select import Selector
from core.dsl.language import templates
from core.dsl.outputs import content
from core.model.letter import Code
from core.model.message import Kind, Type

IN_FLIGHT = 256  # messages of one batch that wait for the engine at the same time


@REGISTRY.register("message")
class MessageOutput(Output):
    """Send each event as a `user-generated` message; its payload is found under `job_event`."""

    example: ClassVar[str] = """
name: notify
input: {echo: {event: '{"step": "done"}', json: true}}
output: {message: {tag: stage1-done}}
"""

    tag: templates.Text = ""
    """The tag that listeners filter by; `${field}` and `@{job}` are filled in. An event without a value for it is an
    error and not sent, unless the placeholder has a default (`${field||text}`)."""
    input_field: Selector | None = None
    """Send only this field; an event without it is counted as an error. Left out: the whole event."""
    set_variable_name: str = ""
    """Set this dynamic variable, readable as `${dyn|NAME}`, instead of sending a message."""

    def open(self, env: Env) -> MessageSink:
        return MessageSink(self, env)


class MessageSink:
    """A batch is settled when the engine has made every message of it durable."""

    def __init__(self, config: MessageOutput, env: Env) -> None:
        self._config = config
        self._env = env
        self._tag = (
            templates.template(config.tag, env, required=True) if templates.parse(config.tag) != [config.tag] else None
        )
        self._get = select.getter(select.parse(config.input_field)) if config.input_field else None

    def write_now(self, events: list[Event], run: Run) -> None:
        """Hand the messages to the bus without waiting: they leave in order with what is published after them."""
        for message in self._messages(events, run):
            future = self._env.publish(message)
            if not future.done() or future.exception() is not None:
                future.add_done_callback(self._report)

    async def write(self, batch: Batch, run: Run) -> None:
        messages = self._messages(batch.events, run)
        while futures := [self._env.publish(message) for message in islice(messages, IN_FLIGHT)]:
            await asyncio.gather(*futures)
        batch.settle(None)

    def _messages(self, events: list[Event], run: Run) -> Iterator[Outgoing]:
        tag, variable, get = self._config.tag, self._config.set_variable_name, self._get
        fill = self._tag if tag else None
        for event in events:
            value: Any = event if get is None else get(event)
            if value is select.MISSING:
                why = f"message: the event has no field {self._config.input_field}"
                run.leave_out(self._env, Code.NO_FIELD, why, event)
            elif variable:
                text = value if isinstance(value, str) else orjson.dumps(value).decode()
                yield Outgoing(Kind.USER, Type.USER_GENERATED, "", {"value": text}, variable)
            else:
                if fill is not None:
                    made = content.filled(fill, event, self._env, run, "message: tag")
                    if made is None:
                        continue
                    tag = made
                yield Outgoing(Kind.USER, Type.USER_GENERATED, tag, {"job_event": value})

    def _report(self, future: asyncio.Future[None]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            self._env.log("error", "message: the bus did not take a message", error=str(error))

    async def flush(self, run: Run) -> None:
        pass

    async def close(self) -> None:
        pass
