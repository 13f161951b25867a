"""The csv action: lines of comma-separated values to fields."""

from __future__ import annotations

import csv
import hashlib
import io
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from core.dsl.actions.convert import CHANGES, KIND_SCHEMA, Kind
from core.dsl.actions.copies import copier
from core.dsl.actions.headers import Headers, Stream
from core.dsl.actions.parsing import RAW
from core.dsl.component import REGISTRY, Config, Event
from core.dsl.events import select, values
from core.dsl.events.codegen import Builder, Warn
from core.dsl.events.select import MISSING, Selector
from core.dsl.language.action import Action
from core.errors import shorten

Row = list[str]
Header = tuple[str, ...]

MOST_WIDTHS = 32  # tables of generated names that are kept, by the number of their columns
csv.field_size_limit(2**31 - 1)  # the inputs bound the size of an event; the module's own bound is 128 KiB

_NAMED_DELIMITERS = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|"}


def _types(value: Any) -> Any:
    """Bring `[name, ...]` and `[{name: type}, ...]` to `{name: type}`."""
    if not isinstance(value, list):
        return value
    out: dict[Any, Any] = {}
    for item in value:
        out.update(item if isinstance(item, dict) else {item: "str"})
    return out


_FIELDS = {
    "anyOf": [
        {"type": "object", "additionalProperties": KIND_SCHEMA},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object"}]}},
    ]
}


class CsvOptions(Config):
    """How the text is made."""

    header: bool = False
    """The first line names the fields; it is no event. See above for what is a first line."""
    quote: str = Field(default='"', max_length=1)
    """The character around a value that holds the delimiter or line breaks; doubled it stands for itself. Empty:
    quotes mean nothing."""
    fields: Annotated[dict[str, Kind], BeforeValidator(_types), WithJsonSchema(_FIELDS)] = Field(default_factory=dict)
    """Field to type (num, str, bool, json, split). With `header` it gives types to the columns of these names; without
    it, it names the columns in their order. A list of names stands for texts."""
    autoconvert: bool = False
    """Turn cells without a type in `fields` that clearly are a number, true, false, null or JSON into that."""


@REGISTRY.register("csv")
class Csv(CsvOptions, Action):
    """Parse a text field that holds comma-separated values (RFC 4180); each cell becomes a field of the event.

    A text of one line is a row of a stream: with `header` the first one of each run and of each document names the
    fields, and a line that says the same again is skipped. A text of several lines (an input with `ignore-linebreaks`)
    is a document of its own, with its own header, and becomes one event for each row. A quoted value may hold line
    breaks, within one text. Without `header` and `fields`, fields are called column1, column2 and so on.

    A row with too few cells leaves the last fields out, one with too many goes on with columnN, both with a warning;
    a cell that does not fit its type stays text, with a warning, and an empty one is null. A field that is missing,
    empty, no text, or no valid CSV (a quote that is not closed) leaves the event as it is, with a warning. Files that
    are read side by side have a header each, which is remembered: a job that resumes in the middle of a file knows it.
    Where nobody has read it (`start-at: end`) the rows stay as they are, with a warning: name the `fields` there.
    """

    splits: ClassVar[bool] = True
    spellings: ClassVar[dict[str, str]] = {"auto-convert": "autoconvert"}
    example: ClassVar[str] = """
name: ports
input:
  echo:
    event: |
      host,port,note
      db1,5432,"primary, writes"
      web1,443,
actions:
  - csv: {header: true, fields: {port: num}, remove: true}
output: {print: STDOUT}
"""

    input_field: Selector = RAW
    """The field that holds the text."""
    output_field: Selector | None = None
    """Put the row there as one object instead of making its cells fields of the event."""
    delim: str = ","
    """The character between the cells; also tab, comma, semicolon, space or pipe."""
    remove: bool = False
    """Remove the input field when it was parsed."""

    @field_validator("delim")
    @classmethod
    def _one_character(cls, value: str) -> str:
        value = _NAMED_DELIMITERS.get(value, value)
        if len(value) != 1 or value in "\r\n":
            raise ValueError(f"must be one character, or one of {', '.join(list(_NAMED_DELIMITERS)[1:])}")
        return value

    @model_validator(mode="after")
    def _two_characters(self) -> Self:
        if self.quote and (self.quote == self.delim or self.quote in "\r\n"):
            raise ValueError("quote and delim must differ, and quote cannot be a line break")
        return self

    def emit(self, code: Builder) -> None:
        # The same declaration finds its headers again, also when a new version of the job has other actions before it.
        own = hashlib.blake2b(f"{self.input_field}\n{self.condition}".encode(), digest_size=8).hexdigest()
        headers: Headers[_Table] = Headers(code.env.state_dir / f"csv-{own}")
        parse = _Parse(self, headers, code.warn)
        stream = code.hoist(f"{code.bind(headers.of)}(run)")
        code.line(f"event = {code.bind(parse)}(event, {stream})")
        code.line("if event is None: continue")


class _Table:
    """The names and the types of the columns of one header."""

    def __init__(self, names: Header, config: CsvOptions, warn: Warn) -> None:
        self.names = names
        self._auto = config.autoconvert
        self._warn = warn
        kinds = [(name, config.fields.get(name, "str")) for name in names]
        self._typed = [(name, CHANGES[kind], kind) for name, kind in kinds if kind != "str"]
        self._guessed = [name for name in names if self._auto and name not in config.fields]

    def record(self, cells: Row) -> Event:
        names = self.names
        record: Event = dict(zip(names, cells, strict=False))
        if len(cells) != len(names):
            self._warn(f"a row has {len(cells)} cells and not {len(names)}")
            for number, cell in enumerate(cells[len(names) :], len(names) + 1):
                record[f"column{number}"] = values.guess(cell) if self._auto else cell
        for name in self._guessed:
            if name in record:
                record[name] = values.guess(record[name])
        for name, change, kind in self._typed:
            if name in record:
                try:
                    record[name] = change(record[name]) if record[name] else None
                except ValueError as error:
                    self._warn(f"{name} cannot be converted to {kind}: {error}")
        return record


class _Parse:
    """One event to one, several or none."""

    def __init__(self, config: Csv, headers: Headers[_Table], warn: Warn) -> None:
        self._config = config
        self._headers = headers
        self._warn = warn
        path = select.parse(config.input_field)
        self._get, self._take = select.getter(path), select.remover(path)
        self._store = select.setter(select.parse(config.output_field)) if config.output_field is not None else None
        self._tables: dict[int, _Table] = {}  # of generated names, by the number of cells
        self._named = _Table(tuple(config.fields), config, warn) if config.fields and not config.header else None

    def __call__(self, event: Event, stream: Stream[_Table]) -> Event | list[Event] | None:
        text = self._get(event)
        if type(text) is not str or not text:
            told = "empty" if text == "" else "missing" if text is MISSING else f"a {values.kind(text)} and not a text"
            self._warn(f"{self._config.input_field} is {told}")
            return event
        quote, delim = self._config.quote, self._config.delim
        line = text.rstrip("\r\n")
        if (quote and quote in line) or "\n" in line or "\r" in line or not line:
            try:
                rows = self._rows(text)
            except csv.Error as error:
                self._warn(f"{self._config.input_field} is not CSV: {error}")
                return event
            if len(rows) != 1:
                return self._document(event, rows)
            cells = rows[0]
        else:
            cells = line.split(delim)
        if not self._config.header:
            return self._put(event, (self._named or self._generated(len(cells))).record(cells))
        if stream.table is None:
            if stream.lost:
                self._warn(
                    "the header of the file was read before and is not known any more; name its columns in `fields`"
                )
                return event
            if stream.line is None:
                self._headers.learn(stream, line, self._header(cells))
                return None
            stream.table = self._header(self._rows(stream.line)[0])
        return self._put(event, stream.table.record(cells)) if line != stream.line else None

    def _rows(self, text: str) -> list[Row]:
        lines, delim = io.StringIO(text, newline=""), self._config.delim
        if self._config.quote:
            reader = csv.reader(lines, delimiter=delim, quotechar=self._config.quote, strict=True)
        else:
            reader = csv.reader(lines, delimiter=delim, quoting=csv.QUOTE_NONE)
        return [row for row in reader if row]

    def _document(self, event: Event, rows: list[Row]) -> list[Event] | Event:
        """The rows of a text of several lines."""
        if not rows:
            self._warn(f"{self._config.input_field} is empty")
            return event
        table = self._named
        if self._config.header:
            table, rows = self._header(rows[0]), rows[1:]
        if self._config.remove:
            self._take(event)
        copy = copier(event, len(rows))
        return [self._stored(copy(), (table or self._generated(len(row))).record(row)) for row in rows]

    def _put(self, event: Event, record: Event) -> Event:
        if self._config.remove:
            self._take(event)
        return self._stored(event, record)

    def _stored(self, event: Event, record: Event) -> Event:
        if self._store is None:
            event.update(record)
        else:
            self._store(event, record)
        return event

    def _header(self, cells: Row) -> _Table:
        cells[0] = cells[0].removeprefix("\ufeff")
        names: list[str] = []
        seen: set[str] = set()
        for number, cell in enumerate(cells, 1):
            name = cell.strip() or f"column{number}"
            if name in seen:
                self._warn(f"the header has two columns {shorten(name, 60)!r}; the second is called column{number}")
                name = f"column{number}"
            seen.add(name)
            names.append(name)
        if lacks := [name for name in self._config.fields if name not in seen]:
            self._warn(f"the header has no column {', '.join(shorten(name, 60) for name in lacks)}")
        return _Table(tuple(names), self._config, self._warn)

    def _generated(self, count: int) -> _Table:
        table = self._tables.get(count)
        if table is None:
            table = _Table(tuple(f"column{number}" for number in range(1, count + 1)), self._config, self._warn)
            if len(self._tables) < MOST_WIDTHS:
                self._tables[count] = table
        return table
