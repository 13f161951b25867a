"""What the actions that read one text field have in common: json, xml and key-value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from core.dsl.component import Env, Event, Run
from core.dsl.events import select, values
from core.dsl.events.codegen import Warn
from core.dsl.events.select import MISSING, Selector
from core.dsl.language.action import Action, Each

RAW = "_raw"


class Parser(Action):
    """Base of the actions that parse a text field and put what they find into the event."""

    noun: ClassVar[str] = ""  # what the field should be, for warnings

    input_field: Selector = RAW
    """The field that holds the text."""
    output_field: Selector | None = None
    """Put what was found there, as one value, instead of making its keys fields of the event."""
    remove: bool = False
    """Remove the input field when it was parsed."""
    drop: bool = False
    """Drop events whose field is missing or cannot be parsed, without a warning."""

    def parser(self, warn: Warn) -> Callable[[str], Any]:
        """A function from the text to its value. It raises ValueError that says what is wrong with the text."""
        raise NotImplementedError

    def value_of(self, value: Any) -> Any:
        """What a field that is not text stands for. Raises ValueError."""
        raise ValueError(f"is {'missing' if value is MISSING else f'a {values.kind(value)} and not a text'}")

    def each(self, env: Env, warn: Warn) -> Each:
        path = select.parse(self.input_field)
        get, take = select.getter(path), select.remover(path)
        store = select.setter(select.parse(self.output_field)) if self.output_field is not None else None
        remove, drop, field, noun = self.remove, self.drop, self.input_field, self.noun
        parse, value_of = self.parser(warn), self.value_of

        def problem(event: Event, text: str) -> Event | None:
            if drop:
                return None
            warn(f"{field} {text}")
            return event

        def promote(event: Event, run: Run) -> Event | None:
            value = get(event)
            if type(value) is str:
                try:
                    value = parse(value)
                except ValueError as error:
                    return problem(event, f"is not {noun}: {error}")
            else:
                try:
                    value = value_of(value)
                except ValueError as error:
                    return problem(event, str(error))
            if store is None and type(value) is not dict:
                return problem(event, f"is {noun} but not an object; give output-field to keep it")
            if remove:
                take(event)
            if store is not None:
                store(event, value)
            else:
                event.update(value)
            return event

        return promote
