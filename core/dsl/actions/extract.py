"""The extract action: fields out of a text with a regular expression."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from core.dsl import patterns, select
from core.dsl.action import Action, Each
from core.dsl.codegen import Warn
from core.dsl.component import REGISTRY, Env, Event, Run
from core.dsl.select import Selector


@REGISTRY.register("extract")
class Extract(Action):
    """Match a text field against a regular expression and write its groups to fields, as texts.

    Patterns are in RE2 syntax: they run in linear time and have no look-around and no back-references. An event that
    does not match goes on unchanged with a warning, unless `drop` is set.
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
    """Fields for the groups in their order. Left out: groups with a name, `(?P<name>...)`, go to that field."""
    remove: bool = False
    """Remove the input field after a match."""
    drop: bool = False
    """Drop events that do not match."""

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        names = patterns.compile(self.pattern).names
        if self.output_fields and len(self.output_fields) != len(names):
            raise ValueError(f"the pattern has {len(names)} groups and output-fields has {len(self.output_fields)}")
        if not self.output_fields and not any(names):
            raise ValueError("give output-fields, or name the groups: (?P<name>...)")
        return self

    def each(self, env: Env, warn: Warn) -> Each:
        pattern = patterns.compile(self.pattern)
        get, take = select.getter(select.parse(self.input_field)), select.remover(select.parse(self.input_field))
        names = self.output_fields or pattern.names
        stores = [(n, select.setter(select.parse(name))) for n, name in enumerate(names) if name is not None]
        groups, remove, drop, field = pattern.groups, self.remove, self.drop, self.input_field

        def extract(event: Event, run: Run) -> Event | None:
            text = get(event)
            found = groups(text) if type(text) is str else None
            if found is None:
                if drop:
                    return None
                warn(f"{field} does not match the pattern" if type(text) is str else f"{field} is not a text")
                return event
            if remove:
                take(event)
            for n, store in stores:
                if (value := found[n]) is not None:
                    store(event, value)
            return event

        return extract
