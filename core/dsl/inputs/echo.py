"""The echo input: a fixed text as events, once or each time its trigger fires."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

from core.dsl.component import REGISTRY, Batch, Env, Event, Run
from core.dsl.inputs import lines


@REGISTRY.register("echo")
class Echo(lines.TextInput):
    """Emit a fixed text: one event for each line. Without a trigger it does so once and the job ends."""

    example: ClassVar[str] = """
name: hello
input:
  echo: {event: '{"hello": "world"}', json: true}
output: {print: STDOUT}
"""

    event: str
    """The text. Several lines are several events unless ignore-linebreaks is set."""

    def open(self, env: Env) -> EchoSource:
        return EchoSource(self, env)


class EchoSource:
    """Makes fresh events at each firing, because actions change events in place."""

    def __init__(self, config: Echo, env: Env) -> None:
        self._config = config
        self._env = env
        self._data = config.event.encode(errors="surrogateescape")

    def events(self, run: Run) -> list[Event]:
        config = self._config
        return lines.from_text(self._data, config.json_, config.ignore_linebreaks, self._env, run, "echo")

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        yield Batch(self.events(run), document_end=True)

    async def close(self) -> None:
        pass
