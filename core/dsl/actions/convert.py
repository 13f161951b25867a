"""The convert action: texts to numbers, truth values, lists and objects, and one unit to another."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema, model_validator

from core.dsl.component import REGISTRY, Config, Event
from core.dsl.events import select, values
from core.dsl.events.codegen import Builder, Warn
from core.dsl.events.select import MISSING, Selector
from core.dsl.language.action import Action, EventFault
from core.dsl.language.templates import text_of
from core.errors import shorten

Kind = Literal["num", "str", "bool", "json", "split"]
Preprocess = Literal[
    "trim", "strip-whitespace", "remove-currency-literal", "remove-percent-literal", "remove-thousands-separator"
]

_SIZES = {"B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_TIMES = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}


def _unit(name: str) -> str:
    if name not in _SIZES and name not in _TIMES:
        raise ValueError(f"{shorten(name, 20)!r} is not a unit; allowed: {', '.join([*_SIZES, *_TIMES])}")
    return name


Unit = Annotated[str, AfterValidator(_unit)]


class Conversion(Config):
    """One field and what it becomes."""

    field: Selector
    """The field, converted in place."""
    conversion: Kind
    """`num`: integer or decimal; `str`: text (JSON for anything that is not text); `bool`: true/false, yes/no, on/off,
    1/0; `json`: whatever the JSON text says, integers exact; `split`: text to a list at commas and white space."""


class UnitChange(Config):
    """One number and its change of unit."""

    field: Selector
    """The field, a number or a text that writes one, also with its unit (`512K`, `1.5 ms`), which then counts."""
    from_: Unit
    """The unit it is in: B, K/KiB, M/MiB, G/GiB, T/TiB (1024), KB, MB, GB, TB (1000), or ns, us, ms, s, m, h, d."""
    to: Unit
    """The unit it should be in, of the same sort."""

    @model_validator(mode="after")
    def _same_sort(self) -> Self:
        if (self.from_ in _SIZES) != (self.to in _SIZES):
            raise ValueError(f"{self.from_} and {self.to} do not measure the same thing")
        return self


def _pairs(value: Any) -> Any:
    """Bring the older `[{field: num}]` and `{field: num}` to `[{field: ..., conversion: ...}]`."""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return value
    out: list[Any] = []
    for item in value:
        if isinstance(item, dict) and not {"field", "conversion"} & set(item):
            out += [{"field": field, "conversion": conversion} for field, conversion in item.items()]
        else:
            out.append(item)
    return out


KIND_SCHEMA = {"enum": ["num", "str", "bool", "json", "split"]}
_EXPLICIT = {
    "type": "object",
    "properties": {"field": {"type": "string", "minLength": 1, "format": "field"}, "conversion": KIND_SCHEMA},
    "required": ["field", "conversion"],
    "additionalProperties": False,
}
_CONVERSIONS = {
    "anyOf": [
        {"type": "array", "items": {"anyOf": [_EXPLICIT, {"type": "object", "additionalProperties": KIND_SCHEMA}]}},
        {"type": "object", "additionalProperties": KIND_SCHEMA},
    ]
}


@REGISTRY.register("convert")
class Convert(Action):
    """Change the type or the unit of fields in place.

    A value that has the wanted type already stays as it is, and a field that is missing is left alone. What becomes of
    a value that cannot be converted (no number, an integer of more than 64 bits as `json`, an object as `num`) is said
    by `on-error`. A list in the place of the keys stands for `conversions`.
    """

    listed: ClassVar[str] = "conversions"
    spellings: ClassVar[dict[str, str]] = {"null-behavior": "null-behaviour", "fields": "conversions"}
    example: ClassVar[str] = """
name: typed
input:
  echo: {event: '{"n": "12", "ok": "yes", "tags": "a, b", "at": "1739370000000000001", "took": 1500}', json: true}
actions:
  - convert:
      conversions:
        - {field: n, conversion: num}
        - {field: ok, conversion: bool}
        - {field: tags, conversion: split}
        - {field: at, conversion: json}
      units: [{field: took, from: ms, to: s}]
output: {print: STDOUT}
"""

    conversions: Annotated[tuple[Conversion, ...], BeforeValidator(_pairs), WithJsonSchema(_CONVERSIONS)] = ()
    """The fields to convert."""
    units: tuple[UnitChange, ...] = ()
    """Changes of unit, done after the conversions."""
    auto: bool = False
    """Convert every text field of the event that clearly is a number, true, false, null, or a JSON object or array."""
    null_behaviour: Literal["keep", "default"] = "keep"
    """`keep`: null stays null; `default`: null, and a text with nothing in it, become 0, "", false or [] (as `json`:
    null)."""
    format: Literal["plain", "currency", "percent", "comma-number"] = "plain"
    """How texts write numbers, for `num`: `currency` ($1,234.50), `percent` (12 % is 0.12), `comma-number` (1,234)."""
    preprocess: tuple[Preprocess, ...] = ()
    """What to do to a text before it is converted, in this order."""
    on_error: Literal["warn", "default", "drop"] = "warn"
    """When a value cannot be converted: keep it and warn, take the default of the type, or drop the event."""

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.conversions or self.units or self.auto):
            raise ValueError("give conversions, units or auto")
        return self

    def emit(self, code: Builder) -> None:
        if self.auto:
            skip = {select.parse(c.field)[0] for c in self.conversions}
            code.line(f"{code.bind(_auto(self._prepare(), skip))}(event)")
        for conversion in self.conversions:
            plain = conversion.conversion == "num" and self.format == "plain" and not self.preprocess
            convert, done = self._converter(conversion, code.warn), _DONE[conversion.conversion]
            self._emit_field(code, conversion.field, convert, done, plain)
        for unit in self.units:
            self._emit_field(code, unit.field, self._unit_converter(unit, code.warn), None)

    def _emit_field(
        self, code: Builder, field: str, convert: Callable[[Any], Any], done: type | None, decimal: bool = False
    ) -> None:
        """Read, convert and write back one field, unless it is missing or has the wanted type already.

        Texts are converted in place (with `decimal`, short ones of nothing but digits without any call); what is not
        text goes the longer way.
        """
        path = select.parse(field)
        get, store, value = select.getter(path), select.setter(path), code.local()

        def otherwise(event: Event) -> None:
            if (found := get(event)) is not MISSING:
                store(event, convert(found))

        made = f"{code.bind(convert)}({value})"
        if decimal:
            made = f"int({value}) if {value}.isdecimal() and len({value}) < 19 else {made}"
        key = code.bind(path[0])
        if len(path) == 1:
            code.line(f"{value} = event.get({key})")
            code.line(f"if type({value}) is str: event[{key}] = {made}")
        else:
            code.line(f"{value} = {code.bind(get)}(event)")
            code.line(f"if type({value}) is str: {code.bind(store)}(event, {made})")
        done_name = code.bind(done) if done is not None else "str"
        code.line(f"elif type({value}) is not {done_name}: {code.bind(otherwise)}(event)")

    def _prepare(self) -> Callable[[str], str] | None:
        steps = [_PREPROCESS[name] for name in self.preprocess]
        if not steps:
            return None

        def prepare(text: str) -> str:
            for step in steps:
                text = step(text)
            return text

        return prepare

    def _converter(self, conversion: Conversion, warn: Warn) -> Callable[[Any], Any]:
        kind, field = conversion.conversion, conversion.field
        change, prepare = CHANGES[kind], self._prepare()
        if kind == "num" and self.format != "plain":
            change = _FORMATS[self.format]
        keep_null = self.null_behaviour == "keep"

        def convert(value: Any) -> Any:
            if value is None:
                return None if keep_null else _default(kind)
            try:
                if type(value) is not str:
                    return _retype(value, kind)
                text = value if prepare is None else prepare(value)
                if not keep_null and (not text or text.isspace()):
                    return _default(kind)
                return change(text)
            except ValueError as error:
                return self._failed(field, value, kind, error, warn)

        return convert

    def _unit_converter(self, unit: UnitChange, warn: Warn) -> Callable[[Any], Any]:
        table = _SIZES if unit.from_ in _SIZES else _TIMES
        factors = {name: Fraction(size, table[unit.to]).as_integer_ratio() for name, size in table.items()}
        prepare, keep_null = self._prepare(), self.null_behaviour == "keep"

        def scale(value: Any, source: str) -> int | float:
            above, below = factors[source]
            if type(value) is int:
                return value * above // below if value * above % below == 0 else value * above / below
            if type(value) is float:
                return value * above / below
            raise ValueError(f"a {values.kind(value)} has no unit")

        def convert(value: Any) -> Any:
            if value is None:
                return None if keep_null else 0
            try:
                if type(value) is not str:
                    return scale(value, unit.from_)
                text = value if prepare is None else prepare(value)
                if not keep_null and (not text or text.isspace()):
                    return 0
                number, written = _with_unit(text)
                if written and written not in table:
                    raise ValueError(f"{shorten(text, 40)!r} is not in a unit like {unit.from_}")
                return scale(number, written or unit.from_)
            except (ValueError, OverflowError) as error:
                return self._failed(unit.field, value, unit.to, error, warn)

        return convert

    def _failed(self, field: str, value: Any, kind: str, error: Exception, warn: Warn) -> Any:
        if self.on_error == "drop":
            raise EventFault(f"{field} cannot be converted to {kind}: {error}") from None
        if self.on_error == "default":
            return _default(kind)
        warn(f"{field} cannot be converted to {kind}: {error}")
        return value


def _default(kind: str) -> Any:
    return {"str": "", "bool": False, "json": None, "split": []}.get(kind, 0)


_WITH_UNIT = re.compile(r"(.*?[\d.])\s*([A-Za-z]{1,3})", re.DOTALL)


def _with_unit(text: str) -> tuple[int | float, str]:
    """The number and the unit of a text like `512K`; the unit is empty when there is none."""
    if len(text) > 64:
        raise ValueError(f"{shorten(text, 40)!r} is not a number")
    match = _WITH_UNIT.fullmatch(text.strip())
    return (values.number(match[1]), match[2]) if match is not None else (values.number(text), "")


def _retype(value: Any, kind: Kind) -> Any:
    """A value that is not text, in the wanted type."""
    match kind:
        case "json":
            return value
        case "str":
            return text_of(value)
        case "num" if type(value) is bool:
            return int(value)
        case "num" if type(value) is int or type(value) is float:
            return value
        case "bool" if type(value) is bool:
            return value
        case "bool" if value == 0 or value == 1:
            return value == 1
        case "split" if type(value) is list:
            return value
        case "split" if type(value) is not dict:
            return [value]
    raise ValueError(f"it is a {values.kind(value)}")


_SEPARATORS = re.compile(r"\s*,\s*|\s+")


def _split(text: str) -> list[str]:
    stripped = text.strip()
    return _SEPARATORS.split(stripped) if stripped else []


def _currency(text: str) -> int | float:
    cleaned = re.sub(r"[^\d.,()+-]", "", text)
    negative = cleaned.startswith("(") and cleaned.endswith(")")
    value = values.number(cleaned.strip("()").replace(",", ""))
    return -value if negative else value


def _percent(text: str) -> float:
    return values.number(text.strip().removesuffix("%").strip()) / 100


def _comma_number(text: str) -> int | float:
    return values.number(text.replace(",", ""))


CHANGES: dict[str, Callable[[str], Any]] = {
    "num": values.number,
    "str": lambda text: text,
    "bool": values.boolean,
    "json": values.from_json,
    "split": _split,
}
_FORMATS: dict[str, Callable[[str], Any]] = {"currency": _currency, "percent": _percent, "comma-number": _comma_number}
_DONE: dict[str, type | None] = {"num": int, "str": None, "bool": bool, "json": dict, "split": list}
_PREPROCESS: dict[str, Callable[[str], str]] = {
    "trim": str.strip,
    "strip-whitespace": lambda text: "".join(text.split()),
    "remove-currency-literal": lambda text: re.sub(r"[$€£¥₹]|\b[A-Z]{3}\b", "", text).strip(),
    "remove-percent-literal": lambda text: text.replace("%", "").strip(),
    "remove-thousands-separator": lambda text: re.sub(r"(?<=\d)[,'_ ](?=\d{3}(?!\d))", "", text),
}


def _auto(prepare: Callable[[str], str] | None, skip: set[str]) -> Callable[[Event], None]:
    def convert(event: Event) -> None:
        for key, value in event.items():
            if type(value) is str and key not in skip:
                event[key] = values.guess(value if prepare is None else prepare(value))

    return convert
