"""The extract action: fields out of a text with a regular expression."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar, Self

from pydantic import Field, model_validator

from core.dsl.component import REGISTRY, Env, Event, Run
from core.dsl.events import patterns, select, values
from core.dsl.events.codegen import Warn
from core.dsl.events.select import MISSING, Selector
from core.dsl.language.action import Action, Each
from core.errors import shorten

_REFERENCE = re.compile(r"\$(?:(?P<number>\d+)|(?P<word>\w+)|\{(?P<braced>\w+)\}|\$)", re.ASCII)


@REGISTRY.register("extract")
class Extract(Action):
    """Match a text field against a regular expression and write its groups to fields, as texts.

    Patterns are in RE2 syntax: they run in linear time and have no look-around and no back-references. An event that
    does not match, or whose field is missing or no text, goes on unchanged with a warning, unless `drop` is set. A
    group that took no part in the match writes nothing.
    """

    example: ClassVar[str] = """
name: access-log
input: {echo: {event: '10.0.0.1 GET /index.html 200'}}
actions:
  - extract:
      pattern: '^(\\S+) (\\S+) (\\S+) (\\d+)$'
      output-fields: [ip, method, path, status]
      remove: true
output: {print: STDOUT}
"""

    input_field: Selector = "_raw"
    """The field to match; it must hold text."""
    pattern: patterns.Regex
    """The regular expression; it may match anywhere unless it is anchored with ^ and $."""
    output_fields: tuple[Selector, ...] = ()
    """Fields for the groups in their order: one for each group, or one for each group without a name. A group with a
    name, `(?P<name>...)`, goes to the field of its name unless it is among those."""
    output_pattern: str | None = Field(default=None, max_length=patterns.MAX_PATTERN)
    """Make one text of the groups instead, as in `$2-$1`, `${1}` or `${name}` ($$ is a dollar sign), and write it to
    the one field in `output-fields`, or over the input field."""
    remove: bool = False
    """Remove the input field after a match."""
    drop: bool = False
    """Drop events that do not match, without a warning."""
    warnings: bool = Field(default=True, json_schema_extra={"deprecated": True})
    """An older way to write `suppress-warnings`, the other way round."""

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        names = patterns.compile(self.pattern).names
        if self.output_pattern is None:
            _targets(names, self.output_fields)
            return self
        _pieces(self.output_pattern, names)
        if len(self.output_fields) > 1:
            raise ValueError("output-pattern makes one text: give at most one field in output-fields")
        return self

    def each(self, env: Env, warn: Warn) -> Each:
        pattern = patterns.compile(self.pattern)
        get, take = select.getter(select.parse(self.input_field)), select.remover(select.parse(self.input_field))
        groups, remove, drop, quiet, field = pattern.groups, self.remove, self.drop, not self.warnings, self.input_field
        write = self._writer(pattern.names)

        def extract(event: Event, run: Run) -> Event | None:
            text = get(event)
            found = groups(text) if type(text) is str else None
            if found is None:
                if drop:
                    return None
                if not quiet:
                    warn(f"{field} {_problem(text)}")
                return event
            if remove:
                take(event)
            write(event, found)
            return event

        return extract

    def _writer(self, names: patterns.Groups) -> Callable[[Event, patterns.Groups], None]:
        if self.output_pattern is not None:
            pieces = _pieces(self.output_pattern, names)
            put = select.setter(select.parse(self.output_fields[0] if self.output_fields else self.input_field))
            return lambda event, found: put(event, "".join([p if type(p) is str else found[p] or "" for p in pieces]))  # type: ignore[index]
        stores = [(n, select.setter(select.parse(name))) for n, name in _targets(names, self.output_fields)]

        def write(event: Event, found: patterns.Groups) -> None:
            for n, store in stores:
                if (value := found[n]) is not None:
                    store(event, value)

        return write


def _problem(value: object) -> str:
    if type(value) is str:
        return "does not match the pattern"
    return "is missing" if value is MISSING else f"is a {values.kind(value)} and not a text"


def _targets(names: patterns.Groups, fields: tuple[str, ...]) -> list[tuple[int, str]]:
    """Which group goes to which field. Raises ValueError when they do not fit."""
    if len(fields) == len(names):
        return list(enumerate(fields))
    unnamed = [n for n, name in enumerate(names) if name is None]
    if fields and len(fields) != len(unnamed):
        groups = f"{len(names)} group{'' if len(names) == 1 else 's'}"
        raise ValueError(f"the pattern has {groups} and output-fields has {len(fields)}; they must be as many")
    if not fields and not any(names):
        raise ValueError("give output-fields, or name the groups: (?P<name>...)")
    named = [(n, name) for n, name in enumerate(names) if name is not None]
    return sorted(named + list(zip(unnamed, fields, strict=False)))


def _pieces(text: str, names: patterns.Groups) -> list[str | int]:
    """An output pattern as texts and indexes of groups. Raises ValueError for a group that is not there."""
    pieces: list[str | int] = []
    at = 0
    for match in _REFERENCE.finditer(text):
        pieces.append(text[at : match.start()])
        at = match.end()
        name = match["number"] or match["word"] or match["braced"]
        if name is None:
            pieces.append("$")
        elif name.isdecimal() and 1 <= int(name) <= len(names):
            pieces.append(int(name) - 1)
        elif name in names:
            pieces.append(names.index(name))
        else:
            raise ValueError(f"output-pattern: the pattern has no group {shorten(name, 40)}")
    return [*pieces, text[at:]]
