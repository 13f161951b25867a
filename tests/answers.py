"""Every answer that a test gets out of an engine fits the type of its operation, and has no key besides."""

from __future__ import annotations

import functools
from typing import Any

import jsonschema_rs
import orjson

from core.engine import Engine
from core.model.operation import Operation, schema_problems
from core.model.principal import Caller

WRONG: list[str] = []
"""What did not fit; conftest.py fails the test that saw it."""


def closed(node: Any) -> Any:
    """A schema that admits no key which it does not name."""
    if isinstance(node, list):
        return [closed(one) for one in node]
    if not isinstance(node, dict):
        return node
    shut = {} if "properties" not in node else {"additionalProperties": False}
    return {**shut, **{key: closed(value) for key, value in node.items()}}


@functools.cache
def _validators(operation: Operation) -> list[Any]:
    """One for each of the types that an answer may be of."""
    schema = operation.result_schema
    shapes = [{**one, "$defs": schema["$defs"]} for one in schema.get("anyOf", [schema])]
    return [jsonschema_rs.Draft202012Validator(closed(one), offline=True) for one in shapes]


def check(operation: Operation, answer: Any) -> None:
    """Note what of an answer does not fit. Rows that were cut because they were too large have lost some of it."""
    told = orjson.loads(orjson.dumps(answer))
    if isinstance(told, dict) and isinstance(told.get("items"), list):
        told["items"] = [one for one in told["items"] if not (isinstance(one, dict) and one.get("cut") is True)]
    if not any(one.is_valid(told) for one in _validators(operation)):
        faults = min((schema_problems(one, told) for one in _validators(operation)), key=len)
        text = "; ".join(f"{one.pointer or '/'}: {one.message}" for one in faults)
        WRONG.append(f"{operation.name} answered with what its type does not say: {text}")


def watch() -> None:
    """Have every engine of this process checked."""
    call = Engine.call

    @functools.wraps(call)
    async def checked(self: Engine, name: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
        answer = await call(self, name, arguments, caller)
        check(self.operations[name], answer)
        return answer

    Engine.call = checked  # type: ignore[method-assign]
