"""The actions that move fields about: add, remove, rename and copy."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import orjson
from pydantic import BeforeValidator, Field, WithJsonSchema

from core.dsl.component import REGISTRY, Config
from core.dsl.events import select, values
from core.dsl.events.codegen import Builder
from core.dsl.events.select import MISSING, Selector
from core.dsl.language import templates
from core.dsl.language.action import Action, EventFault


def _merged(value: Any) -> Any:
    """Bring `[{a: 1}, {b: 2}]` to `{a: 1, b: 2}`."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return value
    return {key: inner for item in value for key, inner in item.items()}


_OUTPUT_FIELDS = {
    "anyOf": [
        {"type": "object", "minProperties": 1},
        {"type": "array", "minItems": 1, "items": {"type": "object"}},
    ]
}


@REGISTRY.register("add")
class Add(Action):
    """Add fields to the event. A field that is already there (also: as null) stays as it is unless `overwrite` is set.

    A field below one that is no object cannot be added: the event is refused (dropped and counted). A template whose
    value is missing writes an empty text, with a warning, unless it has a fallback; one that would make a text of more
    than 64 Ki characters refuses the event.
    """

    example: ClassVar[str] = """
name: label
input: {echo: {event: '{"user": "ada", "n": 1}', json: true}}
actions:
  - add:
      output-fields:
        greeting: "hello ${user}"
        source: {job: "@{job}", note: "${note||none}"}
        level: 3
output: {print: STDOUT}
"""

    output_fields: Annotated[
        dict[Selector, templates.Structure],
        BeforeValidator(_merged),
        Field(min_length=1),
        WithJsonSchema(_OUTPUT_FIELDS),
    ]
    """Field to value: any JSON value, with `${...}` filled in inside its texts. A text with `${...}` stays a text; use
    `convert` with `json` to make it a number or an object again."""
    overwrite: bool = False
    """Replace fields that are already there."""

    def emit(self, code: Builder) -> None:
        for name, value in self.output_fields.items():
            path = select.parse(name)
            made = templates.emit_structure(value, code)
            if len(path) == 1:
                key, store = code.bind(path[0]), f"event[{code.bind(path[0])}] = {made}"
                test = f"{key} not in event"
            else:
                store = f"{code.bind(select.setter(path))}(event, {made})"
                test = f"{code.bind(select.getter(path))}(event) is {code.bind(MISSING)}"
            if self.overwrite:
                code.line(store)
            else:
                with code.block(f"if {test}"):
                    code.line(store)


@REGISTRY.register("remove")
class Remove(Action):
    """Remove fields from the event. A field that is not there is no fault unless `error-on-missing` is set."""

    example: ClassVar[str] = """
name: trim
input: {echo: {event: '{"keep": 1, "drop": 2, "nested": {"secret": 3, "open": 4}}', json: true}}
actions:
  - remove: {fields: [drop, nested.secret]}
output: {print: STDOUT}
"""

    fields: tuple[Selector, ...] = Field(min_length=1)
    """The fields to remove."""
    error_on_missing: bool = False
    """Refuse an event that lacks one of the fields (it is dropped and counted as an error)."""

    def emit(self, code: Builder) -> None:
        missing = code.bind(MISSING)
        for name in self.fields:
            path = select.parse(name)
            taken = f"{code.bind(select.remover(path))}(event)"
            if len(path) == 1:
                taken = f"event.pop({code.bind(path[0])}, {missing})"
            if self.error_on_missing:
                code.line(f"if {taken} is {missing}: {code.bind(_no_field)}({code.bind(name)})")
            else:
                code.line(taken)


def _no_field(name: str) -> None:
    raise EventFault(f"the event has no field {name}")


class Move(Config):
    """One field and its new name."""

    old: Selector
    """The field as it is."""
    new: Selector
    """The field to write."""


def _moves(value: Any) -> Any:
    """Bring `{a: b}`, `[{a: b}]` and `[{old: a, new: b}]` to the last form."""
    if isinstance(value, dict):
        value = [value] if set(value) == {"old", "new"} else [{old: new} for old, new in value.items()]
    if not isinstance(value, list):
        return value
    out: list[Any] = []
    for item in value:
        pairs = isinstance(item, dict) and set(item) != {"old", "new"}
        if pairs and all(isinstance(new, str) for new in item.values()):
            out += [{"old": old, "new": new} for old, new in item.items()]
        else:
            out.append(item)
    return out


_FIELD = {"type": "string", "minLength": 1, "format": "field"}
_EXPLICIT = {"type": "object", "properties": {"old": _FIELD, "new": _FIELD}, "required": ["old", "new"]}
_PAIRS = {"type": "object", "additionalProperties": _FIELD, "minProperties": 1}
Moves = Annotated[
    tuple[Move, ...],
    BeforeValidator(_moves),
    Field(min_length=1),
    WithJsonSchema(
        {"anyOf": [{"type": "array", "minItems": 1, "items": {"anyOf": [_EXPLICIT, _PAIRS]}}, _EXPLICIT, _PAIRS]}
    ),
]


@REGISTRY.register("rename")
class Rename(Action):
    """Give fields another name or place. A field of the new name is replaced; a missing field is a warning.

    A new place below something that is no object refuses the event (it is dropped and counted).
    """

    example: ClassVar[str] = """
name: tidy
input: {echo: {event: '{"msg": "hi", "usr": {"id": 7}}', json: true}}
actions:
  - rename: {fields: [{msg: message}, {usr.id: user_id}]}
output: {print: STDOUT}
"""

    fields: Moves
    """Pairs `{old: new}` (or `{old: a, new: b}`), done in this order."""

    def emit(self, code: Builder) -> None:
        for move in self.fields:
            _emit_move(move, select.remover(select.parse(move.old)), "event.pop", code)


@REGISTRY.register("copy")
class Copy(Action):
    """Copy fields to other names or places. A field of the new name is replaced; a missing field is a warning.

    A new place below something that is no object refuses the event (it is dropped and counted).
    """

    example: ClassVar[str] = """
name: keep-original
input: {echo: {event: '{"text": "12", "user": {"id": 7}}', json: true}}
actions:
  - copy: {fields: [{text: original.text}, {user: who}]}
output: {print: STDOUT}
"""

    fields: Moves
    """Pairs `{old: new}` (or `{old: a, new: b}`), done in this order."""

    def emit(self, code: Builder) -> None:
        for move in self.fields:
            _emit_move(move, select.getter(select.parse(move.old)), "event.get", code, _fresh)


def _fresh(value: Any) -> Any:
    """A copy that shares nothing, so that a change of one field does not change the other."""
    return orjson.loads(values.to_json(value)) if type(value) is dict or type(value) is list else value


def _emit_move(move: Move, take: Any, method: str, code: Builder, through: Any = None) -> None:
    old, new = select.parse(move.old), select.parse(move.new)
    value, missing, warn = code.local(), code.bind(MISSING), code.bind(code.warn)
    taken = f"{method}({code.bind(old[0])}, {missing})" if len(old) == 1 else f"{code.bind(take)}(event)"
    stored = f"{code.bind(through)}({value})" if through else value
    code.line(f"{value} = {taken}")
    with code.block(f"if {value} is {missing}"):
        code.line(f"{warn}({code.bind(f'the event has no field {move.old}')})")
    with code.block("else"):
        if len(new) == 1:
            code.line(f"event[{code.bind(new[0])}] = {stored}")
        else:
            code.line(f"{code.bind(select.setter(new))}(event, {stored})")
