"""The print output: events as lines in the log of the job, never on the standard output of a process."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.dsl.component import REGISTRY, Batch, Env, Event, Output, Run
from core.dsl.events.select import Selector
from core.dsl.outputs import content


@REGISTRY.register("print")
class Print(Output):
    """Write each event as one line to the log of the job."""

    scalar = "target"
    example: ClassVar[str] = """
name: hello
input: {echo: {event: hello}}
output: {print: STDOUT}
"""

    target: Literal["STDOUT", "STDERR"] = "STDOUT"
    """The stream that the line is marked with in the log."""
    input_field: Selector | None = None
    """Write only this field; an event without it is counted as an error."""
    prefix: str = ""
    """Text in front of every line."""

    def open(self, env: Env) -> PrintSink:
        return PrintSink(self, env)


class PrintSink:
    """A line is delivered when the log has it."""

    def __init__(self, config: Print, env: Env) -> None:
        self._target = config.target
        self._prefix = config.prefix
        self._env = env
        self._encode = content.encoder(config.input_field, env, "print")

    def write_now(self, events: list[Event], run: Run) -> None:
        for data in self._encode(events, run):
            run.bytes_out += len(data)
            self._env.log("print", self._prefix + data.decode(), target=self._target)

    async def write(self, batch: Batch, run: Run) -> None:
        self.write_now(batch.events, run)
        batch.settle(None)

    async def flush(self, run: Run) -> None:
        pass

    async def close(self) -> None:
        pass
