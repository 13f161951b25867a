"""The json action: parse a text field and promote what is in it."""

from __future__ import annotations

from typing import Any, ClassVar

from core.dsl import select, values
from core.dsl.action import Action, Each
from core.dsl.codegen import Warn
from core.dsl.component import REGISTRY, Env, Event, Run
from core.dsl.select import Selector


@REGISTRY.register("json")
class Json(Action):
    """Parse a field that holds JSON text. The keys of an object become fields of the event and replace equal ones.

    Integers keep all their digits. A field that is not JSON leaves the event as it is, with a warning, unless `drop`
    is set.
    """

    example: ClassVar[str] = """
name: parse
input: {echo: {event: '{"user": "ada", "at": 1739370000000000001}'}}
actions:
  - json: {remove: true}
output: {print: STDOUT}
"""

    input_field: Selector = "_raw"
    """The field that holds the JSON text; a field that is an object already is promoted as it is."""
    output_field: Selector | None = None
    """Put the value there instead of promoting its keys; then it need not be an object."""
    remove: bool = False
    """Remove the input field when it was parsed."""
    drop: bool = False
    """Drop events whose field is not JSON."""

    def each(self, env: Env, warn: Warn) -> Each:
        path = select.parse(self.input_field)
        get, take = select.getter(path), select.remover(path)
        store = select.setter(select.parse(self.output_field)) if self.output_field is not None else None
        remove, drop, field, parse = self.remove, self.drop, self.input_field, values.from_json

        def problem(event: Event, text: str) -> Event | None:
            if drop:
                return None
            warn(f"{field} {text}")
            return event

        def promote(event: Event, run: Run) -> Event | None:
            value: Any = get(event)
            if type(value) is str:
                try:
                    value = parse(value)
                except ValueError as error:
                    return problem(event, f"is not JSON: {error}")
            elif value is select.MISSING:
                return problem(event, "is missing")
            if store is None and type(value) is not dict:
                return problem(event, "is JSON but not an object; give output-field to keep it")
            if remove:
                take(event)
            if store is not None:
                store(event, value)
            else:
                event.update(value)
            return event

        return promote
