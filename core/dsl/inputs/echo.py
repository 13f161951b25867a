"""The echo input: a fixed text as events, once or each time its trigger fires."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import ClassVar, Self

import orjson
from pydantic import model_validator

from core.dsl.component import REGISTRY, Batch, Env, Event, Run
from core.dsl.inputs import lines
from core.dsl.language import templates


@REGISTRY.register("echo")
class Echo(lines.TextInput):
    """Emit a fixed text: one event for each line. Without a trigger it does so once and the job ends."""

    example: ClassVar[str] = """
name: hello
input:
  echo: {event: '{"hello": "world"}', json: true}
output: {print: STDOUT}
"""

    event: templates.Text
    """The text. Several lines are several events unless ignore-linebreaks is set; `${msg|…}` and the like are
    filled in, with json inside the strings of the object only, so a value cannot change its structure."""

    @model_validator(mode="after")
    def _is_json(self) -> Self:
        if self.json_ and "{{" not in self.event:  # a text that is not staged yet may hold anything
            for number, line in enumerate([self.event] if self.ignore_linebreaks else self.event.splitlines(), 1):
                try:
                    fits = not line.strip() or type(orjson.loads(line)) is dict
                except orjson.JSONDecodeError as error:
                    raise ValueError(f"line {number} of the event is not JSON: {error}") from error
                if not fits:
                    raise ValueError(f"line {number} of the event is JSON, but not an object")
        return self

    def effect_of_reading(self) -> str:
        return ""

    def open(self, env: Env) -> EchoSource:
        return EchoSource(self, env)


class EchoSource:
    """Makes fresh events at each firing, because actions change events in place."""

    def __init__(self, config: Echo, env: Env) -> None:
        self._config = config
        self._env = env
        self._data = config.event.encode(errors="replace")
        # The usual handler of a message has one small object: its bytes are parsed anew for every run.
        single = config.json_ and (config.ignore_linebreaks or len(self._data.splitlines()) == 1)
        self._object = self._data if single and self._data.strip() else None
        self._templates: list[Callable[[Event, Run], Event]] | None = None
        if templates.parse(config.event) != [config.event]:
            self._templates = [templates.structure(event, env) for event in self._plain(Run())]

    def _plain(self, run: Run) -> list[Event]:
        if self._object is not None:
            return [orjson.loads(self._object)]
        config = self._config
        return lines.from_text(self._data, config.json_, config.ignore_linebreaks, self._env, run, "echo")

    def events(self, run: Run) -> list[Event]:
        if self._templates is None:
            return self._plain(run)
        return [fill({}, run) for fill in self._templates]

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        yield Batch(self.events(run), document_end=True)

    async def close(self) -> None:
        pass
