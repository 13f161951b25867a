"""The flatten action: nested objects to fields with dotted names."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from core.dsl.component import REGISTRY, Env, Event, Run
from core.dsl.events import select, values
from core.dsl.events.codegen import Warn
from core.dsl.events.select import Selector
from core.dsl.language.action import Action, Each, EventFault

MAX_CHARACTERS = 16 * 1024 * 1024  # of all prefixes: one long name above many fields is written many times


@REGISTRY.register("flatten")
class Flatten(Action):
    """Turn nested objects into fields of one level: `{"a": {"b": 1}}` becomes `{"a.b": 1}`.

    Arrays and empty objects stay as they are, and of two fields that get the same name the later one stays. Name such
    a field `/a.b` in a selector, since `a.b` looks inside `a`. With `input-field`, a field that is missing or no object
    leaves the event as it is, with a warning. Names that would take more than 16 Mi characters in all refuse the event.
    """

    example: ClassVar[str] = """
name: flat
input: {echo: {event: '{"a": {"b": 1, "c": {"d": 2}}, "list": [1]}', json: true}}
actions:
  - flatten: {}
output: {print: STDOUT}
"""

    input_field: Selector | None = None
    """Flatten only the object in this field, in place. Left out: the whole event."""
    separator: str = Field(default=".", min_length=1, max_length=8)
    """What stands between the names."""

    def each(self, env: Env, warn: Warn) -> Each:
        separator, field = self.separator, self.input_field
        if field is None:

            def flatten(event: Event, run: Run) -> Event:
                return _flat(event, separator) if dict in set(map(type, event.values())) else event

            return flatten
        path = select.parse(field)
        get, store = select.getter(path), select.setter(path)

        def flatten_field(event: Event, run: Run) -> Event:
            value = get(event)
            if type(value) is dict:
                store(event, _flat(value, separator))
            else:
                told = "missing" if value is select.MISSING else f"a {values.kind(value)} and not an object"
                warn(f"{field} is {told}")
            return event

        return flatten_field


def _flat(value: dict[str, Any], separator: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    characters = 0
    stack = [("", iter(value.items()))]
    while stack:
        prefix, items = stack[-1]
        for key, inner in items:
            if type(inner) is dict and inner:
                stack.append((f"{prefix}{key}{separator}", iter(inner.items())))
                break
            characters += len(prefix)
            if characters > MAX_CHARACTERS:
                raise EventFault(f"the names of the fields would have more than {MAX_CHARACTERS} characters")
            out[prefix + key] = inner
        else:
            stack.pop()
    return out
