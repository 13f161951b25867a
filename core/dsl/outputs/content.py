"""What an output writes for an event: the whole event as JSON, or one field of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import orjson

from core.dsl.component import Env, Event, Run
from core.dsl.events import select
from core.dsl.language import templates
from core.model.letter import Code

T = TypeVar("T")
Encode = Callable[[list[Event], Run], list[bytes]]
Pairs = Callable[[list[Event], Run], list[tuple[Event, bytes]]]


def encoder(input_field: str | None, env: Env, where: str) -> Encode:
    """A function from events to their bytes, one for each event and without line ends.

    Without a field: compact JSON. With one: text as it is, anything else as JSON; an event whose field is missing,
    null or empty has no content: it is left out, counted as an error and logged.
    """
    if input_field is None:
        dumps = orjson.dumps

        def encode_events(events: list[Event], run: Run) -> list[bytes]:
            try:
                return [dumps(event) for event in events]
            except TypeError:
                return [data for event in events if (data := to_json(event, event, env, run, where)) is not None]

        return encode_events

    get = select.getter(select.parse(input_field))

    def encode_field(events: list[Event], run: Run) -> list[bytes]:
        out = []
        for event in events:
            value = get(event)
            if value is select.MISSING or value is None or value == "":
                run.leave_out(env, Code.NO_FIELD, f"{where}: the event has no field {input_field}", event)
            elif type(value) is str:
                out.append(value.encode(errors="replace"))
            elif (data := to_json(value, event, env, run, where)) is not None:
                out.append(data)
        return out

    return encode_field


def pairs(input_field: str | None, env: Env, where: str) -> Pairs:
    """Like `encoder`, with the event of each of the bytes."""
    encode = encoder(input_field, env, where)

    def encode_pairs(events: list[Event], run: Run) -> list[tuple[Event, bytes]]:
        if input_field is None:
            try:
                return [(event, orjson.dumps(event)) for event in events]
            except TypeError:
                pass  # the encoder tells of which event
        return [(event, data) for event in events for data in encode([event], run)]

    return encode_pairs


def filled(fill: Callable[[Event, Run], T], event: Event, env: Env, run: Run, where: str) -> T | None:
    """What templates make of an event, or None for one whose values they cannot hold: then the event is left out."""
    try:
        return fill(event, run)
    except templates.TextTooLong as error:
        run.leave_out(env, Code.TOO_LARGE, f"{where}: {error}", event)
    except templates.NoValue as error:
        run.leave_out(env, Code.EMPTY_PLACEHOLDER, f"{where}: {error}", event)
    return None


def to_json(value: object, event: Event, env: Env, run: Run, where: str) -> bytes | None:
    """Compact JSON of a value of an event, or None for one that has no JSON form: then the event is left out."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        run.leave_out(env, Code.NOT_JSON, f"{where}: the event cannot be written as JSON: {error}", event)
        return None
