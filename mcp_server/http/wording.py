"""A call or a hint in the words of the HTTP door: as routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from core import errors
from core.model.operation import Operation, Registry
from mcp_server import directions

_PLACE = re.compile(r"\{(\w+)\}")


def route(operation: Operation, given: Mapping[str, Any]) -> str:
    """A call as "METHOD /path?query"; what neither path nor query takes goes in the body. Placeholders stay where their
    value is not given; an operation without a route is named as it is."""
    if not operation.http:
        return operation.name
    method, _, path = operation.http.partition(" ")
    rest = {name: value for name, value in given.items() if value is not None}

    def place(found: re.Match[str]) -> str:
        return quote(str(rest.pop(found[1])), safe="") if found[1] in rest else found[0]

    path = _PLACE.sub(place, path)
    query = urlencode({name: _texts(value) for name, value in rest.items()}, doseq=True) if method == "GET" else ""
    return f"{method} {path}?{query}" if query else f"{method} {path}"


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one if isinstance(one, str) else orjson.dumps(one, default=str).decode() for one in values]


class Wording:
    """The directions of an engine with these operations, as routes."""

    def __init__(self, operations: Registry) -> None:
        self._operations = {operation.name: operation for operation in operations}

    def hint(self, text: str) -> str:
        """A hint with routes in place of operations."""
        return directions.reworded(text, self._operations, lambda name, given: route(self._operations[name], given))

    def answer(self, answer: dict[str, Any]) -> dict[str, Any]:
        """An answer whose hints are in routes, and whose steps have the `route` of their call beside it."""
        answer = directions.with_hints(answer, self.hint)
        if not directions.steps(answer):
            return answer
        return {**answer, "next": [self._step(step) for step in answer["next"]]}

    def _step(self, step: dict[str, Any]) -> dict[str, Any]:
        operation = self._operations.get(directions.operation(step))
        if operation is None:
            return step
        return {**step, "why": self.hint(step["why"]), "route": route(operation, step["arguments"])}

    def fault(self, error: errors.SluiceError) -> errors.SluiceError:
        """The fault with its hint in routes."""
        return directions.fault(error, self.hint)
