"""The dispatch output: events spread over several worker channels, by copies, by turns or by a field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from pydantic import Field, model_validator

from core.dsl.component import REGISTRY, Batch, Channel, Env, Event, Output, Run
from core.dsl.events import fan_out, select
from core.dsl.events.select import Selector
from core.errors import shorten
from core.model.letter import Code

ChannelName = Annotated[str, Field(min_length=1, max_length=256)]
OutputName = Annotated[str, Field(min_length=1, max_length=63)]
Choose = Callable[[list[Event], Run], dict[str, list[Event]]]
"""The events of each output; an output without events may be left out."""


@REGISTRY.register("dispatch")
class DispatchOutput(Output):
    """Spread the events over named outputs, each a channel of this worker.

    A batch counts as delivered when every output has accepted its part. Waits while one of the channels is full: the
    slowest job sets the pace.
    """

    example: ClassVar[str] = """
name: by-level
input: {echo: {event: '{"level": "error"}', json: true}}
output:
  dispatch:
    mode: conditional
    outputs: {errors: error-lines, rest: other-lines}
    field: level
    routes: {error: errors, fatal: errors}
    default: rest
"""

    mode: Literal["clone", "round-robin", "conditional"] = "clone"
    """`clone`: every output gets a copy. `round-robin`: the outputs take turns, event by event. `conditional`: the
    value of a field decides."""
    outputs: dict[OutputName, ChannelName] = Field(min_length=1, max_length=1000)
    """Name of the output -> channel."""
    field: Selector | None = None
    """The field that decides (conditional)."""
    routes: dict[str, OutputName] = Field(default_factory=dict, max_length=10_000)
    """Value of the field -> name of the output (conditional). Numbers and booleans are written as in JSON: 200, true;
    200 and 200.0 are the same."""
    default: OutputName | None = None
    """The output for every other value, and for events without the field (conditional). Without one such events are
    refused: counted as errors and told in the log."""
    copies: tuple[ChannelName, ...] = ()
    """Channels that get a copy of every event, whatever the mode decides."""

    @model_validator(mode="after")
    def _fits_its_mode(self) -> Self:
        if self.mode != "conditional":
            if self.field is not None or self.routes or self.default is not None:
                raise ValueError(f"field, routes and default belong to mode: conditional, not to {self.mode}")
            return self
        if self.field is None:
            raise ValueError("mode: conditional needs the field that decides")
        for name in (*self.routes.values(), self.default):
            if name is not None and name not in self.outputs:
                raise ValueError(f"there is no output {shorten(name, 63)}; outputs: {', '.join(self.outputs)}")
        return self

    def open(self, env: Env) -> DispatchSink:
        return DispatchSink(self, env)


class DispatchSink:
    """The consumers settle the parts of a batch."""

    def __init__(self, config: DispatchOutput, env: Env) -> None:
        self._outputs = {name: env.channel(channel) for name, channel in config.outputs.items()}
        self._copies = [env.channel(channel) for channel in config.copies]
        self._choose = _choose(config, env)

    async def write(self, batch: Batch, run: Run) -> None:
        events = batch.events
        parts: list[tuple[Channel, list[Event]]] = []
        if events or batch.document_end:
            # The end of a document is for everyone, also for an output that gets nothing of it.
            parts = [(channel, [fan_out.copy(event) for event in events]) for channel in self._copies]
            chosen = self._choose(events, run)
            parts += [
                (channel, chosen.get(name, []))
                for name, channel in self._outputs.items()
                if chosen.get(name) or batch.document_end
            ]
        if not parts:
            batch.settle(None)
            return
        settle = fan_out.when_all(len(parts), batch.settle)
        for channel, part in parts:
            await channel.put(Batch(part, settle, batch.document_end))

    async def flush(self, run: Run) -> None:
        pass

    async def close(self) -> None:
        pass


def _choose(config: DispatchOutput, env: Env) -> Choose:
    names = list(config.outputs)
    match config.mode:
        case "clone":
            return lambda events, run: {
                # The last one may have the originals: nobody else holds them.
                name: events if name == names[-1] else [fan_out.copy(event) for event in events]
                for name in names
            }
        case "round-robin":
            return _Turns(names)
        case "conditional":
            return _Routes(config, env)


class _Turns:
    """Goes on where the batch before ended."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._next = 0

    def __call__(self, events: list[Event], run: Run) -> dict[str, list[Event]]:
        count, first = len(self._names), self._next
        self._next = (first + len(events)) % count
        return {name: events[(index - first) % count :: count] for index, name in enumerate(self._names)}


def channels(config: DispatchOutput, event: Event, turn: int) -> list[str]:
    """Where one event goes, the `turn`-th that comes (from 0); by `conditional` to the copies alone when it has no
    route."""
    outputs = list(config.outputs)
    match config.mode:
        case "clone":
            chosen = outputs
        case "round-robin":
            chosen = [outputs[turn % len(outputs)]]
        case "conditional":
            table = _Table(config)
            name = table.output(table.value(event))
            chosen = [] if name is None else [name]
    return [*config.copies, *(config.outputs[name] for name in chosen)]


class _Table:
    """The routes: by texts, and by other values as JSON writes them."""

    def __init__(self, config: DispatchOutput) -> None:
        assert config.field is not None
        self.value = select.getter(select.parse(config.field))
        self._texts = dict(config.routes)
        self._values = {key: output for text, output in config.routes.items() if (key := _key(_as_json(text)))}
        self._default = config.default

    def output(self, value: Any) -> str | None:
        """The name of the output for a value of the field."""
        if type(value) is str:
            return self._texts.get(value, self._default)
        return self._values.get(_key(value), self._default)


class _Routes:
    def __init__(self, config: DispatchOutput, env: Env) -> None:
        self._table = _Table(config)
        self._field = config.field
        self._env = env

    def __call__(self, events: list[Event], run: Run) -> dict[str, list[Event]]:
        out: dict[str, list[Event]] = {}
        value_of, output = self._table.value, self._table.output
        for event in events:
            value = value_of(event)
            name = output(value)
            if name is not None:
                out.setdefault(name, []).append(event)
            elif value is select.MISSING:
                why = f"dispatch: an event has no field {self._field}, and no output is the default"
                run.leave_out(self._env, Code.NO_ROUTE, why, event)
            else:
                said = shorten(value if type(value) is str else _key(value) or type(value).__name__, 60)
                why = f"dispatch: no route for {self._field}: {said}, and no output is the default"
                run.leave_out(self._env, Code.NO_ROUTE, why, event)
        return out


def _as_json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _key(value: Any) -> str:
    """How a value other than a text is written in `routes`; empty for what has no such form (objects, lists)."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if value is None or type(value) in (bool, int, float):
        return orjson.dumps(value).decode() if type(value) is not int else str(value)
    return ""
