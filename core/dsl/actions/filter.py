"""The filter action: which events go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from core.dsl.component import REGISTRY, Config, Event
from core.dsl.events import patterns, select
from core.dsl.events.codegen import Builder
from core.dsl.events.patterns import Regex
from core.dsl.events.select import MISSING, Selector
from core.dsl.language.action import Action
from core.dsl.language.templates import text_of


class FieldPattern(Config):
    """One field and what its text must match."""

    field: Selector
    """The field."""
    pattern: Regex
    """The regular expression (RE2 syntax)."""


def _pairs(value: Any) -> Any:
    """Bring `{field: pattern}` and `[{field: pattern}]` to a list of both."""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return value
    explicit = [set(item) == {"field", "pattern"} for item in value]
    return [
        pair
        for item, whole in zip(value, explicit, strict=True)
        for pair in ([item] if whole else [{"field": name, "pattern": text} for name, text in item.items()])
    ]


_PAIRS = {"type": "object", "additionalProperties": {"type": "string", "format": "regex"}, "minProperties": 1}
Patterns = Annotated[
    tuple[FieldPattern, ...],
    BeforeValidator(_pairs),
    WithJsonSchema({"anyOf": [_PAIRS, {"type": "array", "items": _PAIRS}]}),
]


def _matches(test: FieldPattern) -> Callable[[Event], bool]:
    get, matches = select.getter(select.parse(test.field)), patterns.compile(test.pattern).matches

    def holds(event: Event) -> bool:
        value = get(event)
        return value is not MISSING and matches(value if type(value) is str else text_of(value))

    return holds


@REGISTRY.register("filter")
class Filter(Action):
    """Keep the events for which the condition is true, or whose field fits; drop the others.

    Unlike in other actions, `condition` is not asked whether to run: it is the test itself. A condition that cannot be
    worked out (comparing a missing field with a number) does not hold, and is counted: `conditions_failed`. When
    several tests are given, all must pass. A field that is missing passes no test; numbers, objects and the like meet a
    pattern as their JSON text.
    """

    guards: ClassVar[bool] = True
    example: ClassVar[str] = """
name: errors-only
input:
  echo:
    json: true
    event: |
      {"level": "error", "path": "/api/x"}
      {"level": "info", "path": "/api/y"}
actions:
  - filter: {condition: 'level == "error"'}
  - filter: {field: path, pattern: "^/api/"}
output: {print: STDOUT}
"""

    field: Selector | None = None
    """The field that `pattern` or `values` look at; an event without it does not pass."""
    pattern: Regex | None = None
    """A regular expression (RE2 syntax) that the text of the field must match somewhere."""
    values: tuple[str | int | float | bool, ...] | None = Field(default=None, min_length=1)
    """The values that the field may have."""
    patterns: Patterns = ()
    """Field to regular expression; each of the fields must match its own."""
    exclude: bool = False
    """Turn the answer round: drop the events that pass and keep the others."""

    @model_validator(mode="after")
    def _has_a_test(self) -> Self:
        if self.field is None and (self.pattern is not None or self.values is not None):
            raise ValueError("pattern and values need field: the field that they look at")
        if self.field is not None and self.pattern is None and self.values is None:
            raise ValueError("field needs pattern or values")
        if self.field is None and self.condition is None and not self.patterns:
            raise ValueError("a filter needs a condition, patterns, or field with pattern or values")
        return self

    def emit(self, code: Builder) -> None:
        self.emit_guarded(code, "True")

    def emit_guarded(self, code: Builder, holds: str) -> None:
        tests = [] if holds == "True" else [holds]
        if self.field is not None:
            tests.append(f"{code.bind(self._field_test())}(event)")
        tests += [f"{code.bind(_matches(test))}(event)" for test in self.patterns]
        passes = " and ".join(tests) or "True"
        code.line(f"if {passes}: continue" if self.exclude else f"if not ({passes}): continue")

    def _field_test(self) -> Any:
        get = select.getter(select.parse(str(self.field)))
        matches = patterns.compile(self.pattern).matches if self.pattern is not None else None
        # The type is part of the comparison: in Python true equals 1, in JSON it does not.
        allowed = {(type(v) is bool, v) for v in self.values} if self.values is not None else None

        def test(event: dict[str, Any]) -> bool:
            value = get(event)
            if value is MISSING:
                return False
            if allowed is not None and (isinstance(value, dict | list) or (type(value) is bool, value) not in allowed):
                return False
            return matches is None or matches(text_of(value))

        return test
