"""Records of Kafka to events: what the keys of the kafka input say of values, keys and headers."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from core import clock
from core.dsl.component import Env, Event, Run
from core.dsl.events import select
from core.dsl.inputs import lines
from core.model.letter import Code

if TYPE_CHECKING:
    from core.dsl.inputs.kafka import KafkaInput


class Records:
    """Records to events, as a document says."""

    def __init__(self, config: KafkaInput, env: Env) -> None:
        self._env = env
        self._json = config.json_
        self._most = env.limits.max_line_bytes
        self._puts = [
            (select.setter(select.parse(field)), read)
            for field, read in (
                (config.key_field, _key),
                (config.headers_field, _headers),
                (config.metadata_field, _metadata),
            )
            if field is not None
        ]

    def __call__(self, records: Sequence[Any], run: Run) -> list[Event]:
        run.bytes_in += sum(len(record.value or b"") + len(record.key or b"") for record in records)
        if not self._puts and max(len(record.value or b"") for record in records) <= self._most:
            with contextlib.suppress(orjson.JSONDecodeError, UnicodeDecodeError):
                events = [self._quick(record.value) for record in records]
                if set(map(type, events)) == {dict}:
                    return events
        return [event for record in records if (event := self._one(record, run)) is not None]

    def _quick(self, value: bytes | None) -> Any:
        if value is None:
            return {}
        return orjson.loads(value) if self._json else {lines.RAW: value.decode()}

    def _one(self, record: Any, run: Run) -> Event | None:
        """The event of a record; None for one that is none: it is counted and becomes a letter."""
        where = f"kafka: record {record.offset} of partition {record.partition} of {record.topic}"
        value = record.value or b""
        event: Any = {}
        if len(value) > self._most:
            self._refuse(record, f"{where} has {len(value)} bytes, more than an event may", run, Code.TOO_LARGE)
            return None
        if record.value is not None:
            if not self._json:
                event = {lines.RAW: lines.decode_text(value, self._env, run, where)}
            else:
                try:
                    event = orjson.loads(value)
                    fault = "" if type(event) is dict else "is JSON, but not an object"
                except orjson.JSONDecodeError as error:
                    fault = f"is not JSON ({error.msg})"
                if fault:
                    self._refuse(record, f"{where} {fault}", run)
                    return None
        for put, read in self._puts:
            try:
                put(event, read(record))
            except ValueError as error:
                run.refuse(self._env, f"{where}: {error}")
        made: Event = event
        return made

    def _refuse(self, record: Any, why: str, run: Run, code: Code = Code.UNREADABLE) -> None:
        what = place(record.topic, record.partition, record.offset)
        raw = (record.value or b"")[: self._most]
        run.skip(self._env, why, {**what, "key": _key(record), lines.RAW: raw.decode(errors="replace")}, code)


def place(topic: str, partition: int, offset: int) -> Event:
    """Where a record is, for letters and events."""
    return {"topic": topic, "partition": partition, "offset": offset}


def _text(data: bytes | None) -> str | None:
    """Bytes as text; those that are none in base64, with a word in front that says so."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(data).decode()}"


def _key(record: Any) -> str | None:
    data: bytes | None = record.key
    return _text(data)


def _headers(record: Any) -> Event:
    found: dict[str, Any] = {}
    headers: Iterable[tuple[str, bytes | None]] = record.headers
    for name, data in headers:
        value = _text(data)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def _metadata(record: Any) -> Event:
    at = clock.iso(record.timestamp * 1_000_000) if record.timestamp and record.timestamp > 0 else None
    return {**place(record.topic, record.partition, record.offset), "timestamp": at}
