"""The enrich action: fields from a lookup table."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

import orjson
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from core.dsl.actions.lookup import Format, Index, Row, Table, key_text
from core.dsl.component import REGISTRY, Config, Event
from core.dsl.events import select, values
from core.dsl.events.codegen import Builder
from core.dsl.events.select import MISSING, Selector
from core.dsl.language import places
from core.dsl.language.action import Action
from core.errors import shorten
from core.guard.file_access import FileAccess


class Pair(Config):
    """One field of the event and the field of the table that belongs to it."""

    event_field: Selector
    """The field of the event."""
    lookup_field: Selector
    """The column of the file, or the field of its objects."""


def _pairs(value: Any) -> Any:
    """Bring `a`, `[a]`, `{a: b}` and `[{a: b}]` (event field: lookup field) to a list of both."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, dict):
        value = [value] if "event-field" in value else [{event: lookup} for event, lookup in value.items()]
    if not isinstance(value, list):
        return value
    out: list[Any] = []
    for item in value:
        if isinstance(item, str):
            out.append({"event-field": item, "lookup-field": item})
        elif isinstance(item, dict) and not {"event-field", "lookup-field"} & set(item):
            out += [{"event-field": event, "lookup-field": lookup} for event, lookup in item.items()]
        else:
            out.append(item)
    return out


_FIELD = {"type": "string", "minLength": 1, "format": "field"}
_EXPLICIT = {
    "type": "object",
    "properties": {"event-field": _FIELD, "lookup-field": _FIELD},
    "required": ["event-field", "lookup-field"],
    "additionalProperties": False,
}
_MAP = {"type": "object", "additionalProperties": _FIELD, "minProperties": 1}
_PAIRS = {"anyOf": [_FIELD, _MAP, {"type": "array", "items": {"anyOf": [_FIELD, _EXPLICIT, _MAP]}}]}
Pairs = Annotated[tuple[Pair, ...], BeforeValidator(_pairs), WithJsonSchema(_PAIRS)]


@REGISTRY.register("enrich")
class Enrich(Action):
    """Look the event up in a CSV or JSON file and add what is found there.

    The file is read when the job starts and again within a second after it has changed; it may have 64 MiB and
    1,000,000 rows. Values are compared as texts, so 7 finds the cell `7`; of several rows with the same values the
    first counts. An event without one of the `match` fields, or for which there is no row, gets the `default` and goes
    on; without a default that is a warning. A file that is missing or broken when the job starts fails the job; one
    that becomes so later leaves the rows as they were, with a warning.
    """

    spellings: ClassVar[dict[str, str]] = {"file": "lookup-file"}
    example: ClassVar[str] = """
name: owners
input: {echo: {event: '{"host": "db1"}', json: true}}
actions:
  - enrich:
      lookup-file: hosts.csv
      match: {host: name}
      add: [owner, {place: site}]
      default: {owner: unknown}
output: {print: STDOUT}
"""

    lookup_file: Annotated[str, places.READ] = Field(min_length=1)
    """The file on the worker: CSV with a header line, a JSON array of objects, or a JSON object of objects, whose names
    then are the field `key` (and values that are no objects the field `value`)."""
    format: Format | None = None
    """`csv` or `json`. Left out: by the ending of the file name, json for .json and csv for others."""
    delim: str = Field(default=",", min_length=1, max_length=1)
    """The character between the cells of a CSV file."""
    match: Annotated[Pairs, Field(min_length=1)]
    """Which fields must be equal: a name for both, or event field to lookup field. All must."""
    add: Pairs = ()
    """Which fields to add, likewise. Left out: all of the row but those of `match`, under their names."""
    overwrite: bool = False
    """Replace fields that are already there."""
    default: dict[Selector, Any] = Field(default_factory=dict)
    """Field to value for events without a row."""
    case_sensitive: bool = True
    """Whether texts in upper and lower case differ."""

    @model_validator(mode="after")
    def _plain(self) -> Self:
        if self.delim in '"\r\n':
            raise ValueError("delim cannot be a quote or a line break")
        return self

    def emit(self, code: Builder) -> None:
        form: Format = self.format or ("json" if self.lookup_file.lower().endswith(".json") else "csv")
        paths = tuple(select.parse(pair.lookup_field) for pair in self.match)
        fold = not self.case_sensitive
        access = FileAccess(code.env.limits.files, code.env.tenant)
        table = Table(self.lookup_file, form, self.delim, paths, fold, access, code.warn)
        index = code.hoist(f"{code.bind(lambda run: table.index())}(run)")
        code.line(f"{code.bind(self._adder(code))}(event, {index})")

    def _adder(self, code: Builder) -> Any:
        gets = [select.getter(select.parse(pair.event_field)) for pair in self.match]
        names = ", ".join(pair.event_field for pair in self.match)
        fold, warn, overwrite = not self.case_sensitive, code.warn, self.overwrite
        matched = {pair.lookup_field for pair in self.match}
        chosen = [_mover(pair, overwrite) for pair in self.add]
        defaults = [(_putter(field, overwrite), value) for field, value in self.default.items()]

        def add(event: Event, index: Index) -> None:
            key = tuple([key_text(get(event), fold) for get in gets])
            row = index.get(key)  # type: ignore[arg-type]
            if row is None:
                if not defaults:
                    shown = ", ".join(shorten(text, 60) if text is not None else "nothing" for text in key)
                    warn(f"there is no row for {names}: {shown}")
                for put, value in defaults:
                    put(event, value)
            elif chosen:
                for move in chosen:
                    move(event, row)
            else:
                for name, value in row.items():
                    if name not in matched and (overwrite or name not in event):
                        event[name] = _fresh(value)

        return add


def _putter(field: str, overwrite: bool) -> Any:
    path = select.parse(field)
    get, store = select.getter(path), select.setter(path)

    def put(event: Event, value: Any) -> None:
        if overwrite or get(event) is MISSING:
            store(event, _fresh(value))

    return put


def _mover(pair: Pair, overwrite: bool) -> Any:
    source, put = select.parse(pair.lookup_field), _putter(pair.event_field, overwrite)

    def move(event: Event, row: Row) -> None:
        if (value := select.find(row, source)) is not MISSING:
            put(event, value)

    return move


def _fresh(value: Any) -> Any:
    """A copy, so that later actions do not change the table."""
    return orjson.loads(values.to_json(value)) if type(value) is dict or type(value) is list else value
