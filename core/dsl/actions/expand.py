"""The actions that make several events out of one: expand-events for arrays, expand for separated texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from core.dsl.actions.copies import copier
from core.dsl.actions.csv import Csv, CsvOptions
from core.dsl.actions.key_value import KeyValue, Pairs
from core.dsl.actions.parsing import RAW
from core.dsl.component import REGISTRY, Config, Env, Event, Run
from core.dsl.events import select, values
from core.dsl.events.codegen import Builder, Warn
from core.dsl.events.select import MISSING, Selector
from core.dsl.language.action import Action, Each


class Elements(Config):
    """What becomes of each element."""

    output_field: Selector | None = None
    """The field for the element. Left out: the input field."""
    index_field: Selector | None = None
    """A field for the place of the element, from 0."""
    merge: bool = False
    """An element that is an object: its keys become fields of the event and replace equal ones, instead of the element
    going to one field."""
    keep_fields: bool = True
    """Give every new event the other fields of the event. Without: an event is the element and its place alone."""


@REGISTRY.register("expand-events")
class ExpandEvents(Elements, Action):
    """Make one event of each element of an array; the other fields are copied to each, without the array.

    An empty array gives no event. A field that is missing or no array leaves the event as it is, with a warning.
    More than 1,000,000 elements, or copies that would take more than 256 MiB, refuse the event: it is dropped and
    counted.
    """

    splits: ClassVar[bool] = True
    example: ClassVar[str] = """
name: items
input: {echo: {event: '{"order": 7, "items": [{"sku": "tea"}, {"sku": "milk"}]}', json: true}}
actions:
  - expand-events: {input-field: items, merge: true, index-field: line}
output: {print: STDOUT}
"""

    input_field: Selector
    """The field that holds the array."""

    def each(self, env: Env, warn: Warn) -> Each:
        path = select.parse(self.input_field)
        get, take, field = select.getter(path), select.remover(path), self.input_field
        spread = _spreader(self, self.input_field)

        def expand(event: Event, run: Run) -> Any:
            found = get(event)
            if type(found) is not list:
                told = "missing" if found is MISSING else f"a {values.kind(found)} and not an array"
                warn(f"{field} is {told}")
                return event
            take(event)
            return spread(event, found)

        return expand


@REGISTRY.register("expand")
class Expand(Action):
    """Take a separated text apart: into several events, or into fields with `csv` or `key-value`.

    With none of the three, or with `events`, each part of the text becomes an event (`names: "ada,bob"` becomes two);
    parts are freed of white space around them and empty ones are skipped. `csv` and `key-value` do what the actions of
    these names do, with the `input-field`, `delim` and `remove` of this one. A field that is missing or no text leaves
    the event as it is, with a warning; the limits are those of expand-events.
    """

    splits: ClassVar[bool] = True
    example: ClassVar[str] = """
name: members
input: {echo: {event: '{"team": "core", "members": "ada, bob"}', json: true}}
actions:
  - expand: {input-field: members, events: {output-field: member}, remove: true}
output: {print: STDOUT}
"""

    input_field: Selector = RAW
    """The field that holds the text."""
    delim: str | None = Field(default=None, min_length=1, max_length=16)
    """What stands between the parts. Left out: a comma, and for `key-value` a blank."""
    remove: bool = False
    """Remove the input field when it was taken apart."""
    events: Elements | None = None
    """One event for each part."""
    csv: CsvOptions | None = None
    """The parts are the cells of a row."""
    key_value: Pairs | None = None
    """The parts are pairs of a key and a value."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [way for way in (self.events, self.csv, self.key_value) if way is not None]
        if len(given) > 1:
            raise ValueError("give one of events, csv and key-value")
        if self.csv is not None or self.key_value is not None:
            self._inner()
        return self

    def _inner(self) -> Csv | KeyValue:
        """The action that does it."""
        keys: dict[str, Any] = {"input-field": self.input_field, "remove": self.remove}
        if self.delim is not None:
            keys["delim"] = self.delim
        if self.csv is not None:
            return Csv.model_validate(keys | self.csv.model_dump(by_alias=True))
        assert self.key_value is not None
        return KeyValue.model_validate(keys | self.key_value.model_dump(by_alias=True))

    def emit(self, code: Builder) -> None:
        if self.csv is not None or self.key_value is not None:
            self._inner().emit(code)
        else:
            super().emit(code)

    def each(self, env: Env, warn: Warn) -> Each:
        path = select.parse(self.input_field)
        get, take, field = select.getter(path), select.remover(path), self.input_field
        delim, remove = self.delim or ",", self.remove
        spread = _spreader(self.events or Elements(), self.input_field)

        def expand(event: Event, run: Run) -> Any:
            text = get(event)
            if type(text) is not str:
                warn(f"{field} is {'missing' if text is MISSING else f'a {values.kind(text)} and not a text'}")
                return event
            parts = [part for piece in text.split(delim) if (part := piece.strip())]
            if remove:
                take(event)
            return spread(event, parts)

        return expand


def _spreader(config: Elements, source: str) -> Callable[[Event, list[Any]], list[Event]]:
    """A function that makes the events of the elements."""
    target = select.parse(config.output_field or source)
    store = select.setter(target)
    place = select.setter(select.parse(config.index_field)) if config.index_field is not None else None
    merge, keep = config.merge, config.keep_fields

    def spread(event: Event, elements: list[Any]) -> list[Event]:
        copy = copier(event if keep else {}, len(elements))
        out = []
        for index, element in enumerate(elements):
            made = copy()
            if merge and type(element) is dict:
                made.update(element)
            else:
                store(made, element)
            if place is not None:
                place(made, index)
            out.append(made)
        return out

    return spread
