"""The enrich action: fields from a lookup table, or from the KV store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self

import orjson
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from core.dsl.actions.kv_operations import Keyed
from core.dsl.actions.lookup import Format, Index, Row, Table, key_text
from core.dsl.component import REGISTRY, Config, Env, Event, Run
from core.dsl.connections.leases import namespace_of
from core.dsl.events import select, values
from core.dsl.events.codegen import Builder, Warn
from core.dsl.events.select import MISSING, Selector
from core.dsl.language import places
from core.dsl.language.action import Each, Settled, Waiter, WaitingAction
from core.errors import InvalidParams, shorten
from core.guard.file_access import FileAccess
from core.model import kv
from core.model.kv import Namespace, Op, Verb

KEYS_TOGETHER = 256  # of the KV store that are read at once: a value may have 1 MiB


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


class LookupKv(Keyed):
    """Where in the KV store the row of an event is."""

    verb: ClassVar[Verb] = Verb.GET

    namespace: str = Field(min_length=1, max_length=kv.MAX_NAMESPACE_BYTES)
    """The namespace, `tenant:name`; without a tenant it is the job's own, and another tenant's is refused."""


AddRow = Callable[[Event, Row | None, str], None]


@REGISTRY.register("enrich")
class Enrich(WaitingAction):
    """Look the event up in a CSV or JSON file, or in the KV store, and add what is found there.

    In the KV store (`lookup-kv`) the row is the value of one key, as the action `worker-kv` sets it: a JSON object, or
    any other value as the field `value` of a row; up to 256 events are looked up together, as the store is then. A
    store that cannot be read fails the run, and its events come again.

    The file is read when the job starts and again within a second after it has changed; it may have 64 MiB and
    1,000,000 rows. Values are compared as texts, so 7 finds the cell `7`; of several rows with the same values the
    first counts. An event without one of the `match` fields, or for which there is no row, gets the `default` and goes
    on; without a default that is a warning. A file that is missing or broken when the job starts fails the job; one
    that becomes so later leaves the rows as they were, with a warning. A CSV file without the columns of `match` is
    broken, also while another program is writing it anew; a column of `add` that no row has is a warning. What has more
    than 1 MiB is read in the background, while the rows before it stay in use.
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

    lookup_file: Annotated[str | None, places.READ] = Field(default=None, min_length=1)
    """The file on the worker: CSV with a header line, a JSON array of objects, or a JSON object of objects, whose names
    then are the field `key` (and values that are no objects the field `value`)."""
    lookup_kv: LookupKv | None = None
    """A key of the KV store instead of a file."""
    format: Format | None = None
    """`csv` or `json`. Left out: by the ending of the file name, json for .json and csv for others."""
    delim: str = Field(default=",", min_length=1, max_length=1)
    """The character between the cells of a CSV file."""
    match: Pairs = ()
    """Of a file: which fields must be equal, a name for both, or event field to lookup field. All must."""
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
        if (self.lookup_file is None) == (self.lookup_kv is None):
            raise ValueError("enrich has exactly one of lookup-file and lookup-kv")
        if self.lookup_file is not None and not self.match:
            raise ValueError("lookup-file needs match: it says which fields must be equal")
        if self.lookup_kv is not None:
            of_files = self.model_fields_set & {"match", "format", "delim", "case_sensitive"}
            if of_files:
                raise ValueError(
                    f"{min(of_files).replace('_', '-')} is for lookup-file; lookup-kv has key or key-field"
                )
        return self

    @property
    def waits(self) -> bool:
        return self.lookup_kv is not None

    @property
    def most_at_once(self) -> int:
        return KEYS_TOGETHER

    def open(self, env: Env, warn: Warn) -> Waiter:
        assert self.lookup_kv is not None
        return _InStore(self.lookup_kv, self._adder(warn), env, warn)

    def each(self, env: Env, warn: Warn) -> Each:
        """The dry form of a lookup in the KV store: tells what would be looked up."""
        assert self.lookup_kv is not None
        key_of, name = self.lookup_kv.key_of(env, warn), namespace_of(env, self.lookup_kv.namespace).name

        def tell(event: Event, run: Run) -> Event:
            if key := key_of(event, run):
                told = f"would look up {shorten(key, 100)} in {name}; a trace reads no store, so nothing is added"
                env.log("info", told, namespace=name, verb=str(Verb.GET), key=key)
            return event

        return tell

    def emit(self, code: Builder) -> None:
        if self.lookup_file is None:
            super().emit(code)
            return
        form: Format = self.format or ("json" if self.lookup_file.lower().endswith(".json") else "csv")
        paths = tuple(select.parse(pair.lookup_field) for pair in self.match)
        fold = not self.case_sensitive
        access = FileAccess(code.env.limits.files, code.env.tenant)
        wanted = tuple(select.parse(pair.lookup_field) for pair in self.add)
        table = Table(
            self.lookup_file, form, self.delim, paths, wanted, fold, access, code.warn, code.env.before_events
        )
        index = code.hoist(f"{code.bind(lambda run: table.index())}(run)")
        code.line(f"{code.bind(self._in_table(code.warn))}(event, {index})")

    def _in_table(self, warn: Warn) -> Callable[[Event, Index], None]:
        gets = [select.getter(select.parse(pair.event_field)) for pair in self.match]
        names = ", ".join(pair.event_field for pair in self.match)
        fold, add = not self.case_sensitive, self._adder(warn)

        def look_up(event: Event, index: Index) -> None:
            key = tuple([key_text(get(event), fold) for get in gets])
            row = index.get(key)  # type: ignore[arg-type]
            add(event, row, "" if row is not None else f"for {names}: {_texts(key)}")

        return look_up

    def _adder(self, warn: Warn) -> AddRow:
        """A function that adds a row to an event, or the default where there is none; then it says which is missing."""
        overwrite = self.overwrite
        matched = {pair.lookup_field for pair in self.match}
        chosen = [_mover(pair, overwrite) for pair in self.add]
        defaults = [(_putter(field, overwrite), value) for field, value in self.default.items()]

        def add(event: Event, row: Row | None, missing: str) -> None:
            if row is None:
                if not defaults:
                    warn(f"there is no row {missing}")
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


class _InStore:
    """Looks events up in the KV store, those of a batch together."""

    def __init__(self, config: LookupKv, add: AddRow, env: Env, warn: Warn) -> None:
        self._space: Namespace = namespace_of(env, config.namespace)
        self._key_of = config.key_of(env, warn)
        self._add = add
        self._env = env

    async def work(self, events: list[Event], run: Run, on_settled: Callable[[Settled], None]) -> list[Event | None]:
        keys = [self._key_of(event, run) for event in events]
        wanted = list({key for key in keys if key and len(key.encode()) <= kv.MAX_KEY_BYTES})
        rows = await self._values(wanted)
        out: list[Event | None] = list(events)
        for place, (event, key) in enumerate(zip(events, keys, strict=True)):
            try:
                self._add(event, _row(rows.get(key)), f"for the key {shorten(key, 60) or 'nothing'}")
            except ValueError as error:
                out[place] = None
                run.fail(self._env, f"enrich: {error}; the event is refused", event)
        return out

    async def _values(self, keys: list[str]) -> dict[str, str | None]:
        if not keys:
            return {}
        try:
            found = await self._space.apply([Op(Verb.GET, key) for key in keys])
        except InvalidParams:  # their values are more than one answer holds
            if len(keys) == 1:
                raise
            half = len(keys) // 2
            return {**await self._values(keys[:half]), **await self._values(keys[half:])}
        return {key: result.value for key, result in zip(keys, found, strict=True)}

    async def close(self) -> None:
        pass


def _row(text: str | None) -> Row | None:
    """A value of the store as a row; what is no JSON object is its field `value`, and what is no JSON a text."""
    if text is None:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text
    return value if type(value) is dict else {"value": value}


def _texts(key: tuple[str | None, ...]) -> str:
    return ", ".join(shorten(text, 60) if text is not None else "nothing" for text in key)


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
