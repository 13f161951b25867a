"""The json action: parse a text field and promote what is in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from core.dsl.actions.parsing import Parser
from core.dsl.component import REGISTRY
from core.dsl.events import values
from core.dsl.events.codegen import Warn
from core.dsl.events.select import MISSING


@REGISTRY.register("json")
class Json(Parser):
    """Parse a field that holds JSON text. The keys of an object become fields of the event and replace equal ones.

    Integers keep all their digits. A field that is an object already is promoted as it is. An array, or any other
    value that is no object, needs `output-field`. A field that is missing or not JSON (also: nested more than 1,024
    deep, or with an integer of more than 64 bits) leaves the event as it is, with a warning, unless `drop` is set.
    """

    noun: ClassVar[str] = "JSON"
    example: ClassVar[str] = """
name: parse
input: {echo: {event: '{"user": "ada", "at": 1739370000000000001}'}}
actions:
  - json: {remove: true}
output: {print: STDOUT}
"""

    def parser(self, warn: Warn) -> Callable[[str], Any]:
        return values.from_json

    def value_of(self, value: Any) -> Any:
        return super().value_of(value) if value is MISSING else value
