"""The time action: read a time in one form and write it in another."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from core import clock
from core.dsl.component import REGISTRY, Env, Event, Run
from core.dsl.events import select
from core.dsl.events.codegen import Warn
from core.dsl.events.select import Selector
from core.dsl.language.action import Action, Each, EventFault
from core.errors import shorten

EPOCHS = {"epoch_secs": 10**9, "epoch_msecs": 10**6, "epoch_usecs": 10**3, "epoch_nsecs": 1, "epoch_frac_secs": 10**9}
MAX_LENGTH = 100  # characters of a text that can be a time
_DECIMAL = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{shorten(name, 60)!r} is not a time zone; write UTC or a name like Europe/Berlin") from None
    return name


def _format(text: str) -> str:
    if "%" not in text:
        text = text.replace("-", "_")  # both spellings are met
    if text == "default_iso" or text in EPOCHS:
        return text
    if "%" not in text:
        allowed = ", ".join(["default_iso", *EPOCHS])
        raise ValueError(f"must be one of {allowed}, or a format like %Y-%m-%d %H:%M:%S")
    return text


def _readable(text: str) -> str:
    try:
        datetime.strptime("", text)
    except re.error:
        raise ValueError(f"{shorten(text, 60)!r} has a directive twice or one that is not known") from None
    except ValueError as error:
        if "directive" in str(error) or "stray" in str(error):
            raise ValueError(f"{shorten(text, 60)!r}: {error}") from None
    return text


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Zone = Annotated[str, AfterValidator(_zone)]
Format = Annotated[str, AfterValidator(_format)]
InputFormat = Annotated[Format, AfterValidator(_readable)]
_FORMATS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}


@REGISTRY.register("time")
class Time(Action):
    """Parse a time and write it in another format or zone; without an input field, write the present time.

    Formats: `default_iso` (2026-05-25T10:00:00.000Z), `epoch_secs`, `epoch_msecs`, `epoch_usecs`, `epoch_nsecs` (whole
    numbers), `epoch_frac_secs` (seconds with a fraction), or strftime directives. Texts are read to the microsecond.
    When clocks are set back, a time without a zone that comes twice means the first; one that is skipped when they are
    set forward is read with the offset from before. A field that is missing or cannot be read leaves the event as it
    is, with a warning; with `drop` the event is refused (dropped and counted).
    """

    spellings: ClassVar[dict[str, str]] = {"input-format": "input-formats"}
    example: ClassVar[str] = """
name: stamp
input: {echo: {event: '{"when": "2026-05-25 12:00:00"}', json: true}}
actions:
  - time:
      input-field: when
      input-formats: ["%Y-%m-%d %H:%M:%S"]
      input-timezone: UTC
      output-field: at_ns
      output-format: epoch_nsecs
  - time: {output-field: seen_at}
output: {print: STDOUT}
"""

    input_field: Selector | None = None
    """The field to read. Left out: the present time."""
    input_formats: Annotated[
        tuple[InputFormat, ...], BeforeValidator(_list), Field(min_length=1), WithJsonSchema(_FORMATS)
    ] = ("default_iso",)
    """Formats to try, in this order; one alone need not be a list. `default_iso` reads ISO 8601, with or
    without a zone."""
    input_timezone: Zone = "UTC"
    """The zone of times that do not name one."""
    output_field: Selector | None = None
    """The field to write. Left out: the input field, or `time`."""
    output_format: Format = "default_iso"
    """How to write it."""
    output_timezone: Zone = "UTC"
    """The zone to write it in."""
    drop: bool = False
    """Refuse events whose field cannot be read."""

    def each(self, env: Env, warn: Warn) -> Each:
        store = select.setter(select.parse(self.output_field or self.input_field or "time"))
        write = writer(self.output_format, zoneinfo.ZoneInfo(self.output_timezone))
        if self.input_field is None:

            def stamp(event: Event, run: Run) -> Event:
                store(event, write(clock.now_ns()))
                return event

            return stamp
        field, drop, get = self.input_field, self.drop, select.getter(select.parse(self.input_field))
        read = reader(self.input_formats, zoneinfo.ZoneInfo(self.input_timezone))

        def convert(event: Event, run: Run) -> Event:
            value = get(event)
            try:
                written = write(read(value))
            except (ValueError, OverflowError) as error:
                told = "is missing" if value is select.MISSING else f"is not a time: {error}"
                if drop:
                    raise EventFault(f"{field} {told}") from None
                warn(f"{field} {told}")
                return event
            store(event, written)
            return event

        return convert


def reader(formats: tuple[str, ...], zone: tzinfo) -> Callable[[Any], int]:
    """A function from a value to nanoseconds since the epoch; it raises ValueError."""

    def read(value: Any) -> int:
        for form in formats:
            if form in EPOCHS:
                if type(value) is int:
                    return value * EPOCHS[form]
                if type(value) is float:
                    return round(value * EPOCHS[form])
                if type(value) is str and len(value) <= MAX_LENGTH and _DECIMAL.fullmatch(value):
                    return round(Fraction(value) * EPOCHS[form])
                continue
            if type(value) is not str or len(value) > MAX_LENGTH:
                continue
            try:
                moment = datetime.fromisoformat(value) if form == "default_iso" else datetime.strptime(value, form)
            except ValueError:
                continue
            return _nanoseconds(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone))
        raise ValueError(f"{shorten(value, 60)!r} fits none of the formats {', '.join(formats)}")

    return read


def _nanoseconds(moment: datetime) -> int:
    since = moment - _EPOCH
    return ((since.days * 86400 + since.seconds) * 10**6 + since.microseconds) * 1000


def writer(form: str, zone: tzinfo) -> Callable[[int], Any]:
    """A function from nanoseconds since the epoch to the written form; it raises ValueError or OverflowError."""
    if form == "epoch_frac_secs":
        return lambda ns: ns / EPOCHS[form]
    if form in EPOCHS:
        divisor = EPOCHS[form]
        return lambda ns: ns // divisor

    def write(ns: int) -> str:
        moment = (_EPOCH + timedelta(microseconds=ns // 1000)).astimezone(zone)
        if form != "default_iso":
            return moment.strftime(form)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    return write
