"""Durations as people write them: `500ms`, `30s`, `1h 30m`, `2d`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from core.errors import shorten

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h|d|w)"
_WHOLE = re.compile(rf"\s*(?:{_PART}\s*)+")
_EACH = re.compile(_PART)


def parse(text: str) -> float:
    """Seconds in a written duration.

    Raises ValueError for anything but one or more `number unit` pairs.
    """
    if len(text) > 64 or not _WHOLE.fullmatch(text):
        raise ValueError(
            f"{shorten(text, 40)} is not a duration; write a number and a unit, as in 500ms, 30s, 5m, 2h, 1d"
        )
    return sum(float(number) * SECONDS[unit] for number, unit in _EACH.findall(text))


def _from_document(value: Any) -> Any:
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, dict) and set(value) == {"value"}:  # the form that the exec input documents
        return _from_document(value["value"])
    if isinstance(value, float) and value >= 0:
        return value  # a parsed value that is validated again
    raise ValueError(f"{shorten(value, 40)} is not a duration; write it as text with a unit, as in 30s")


_TEXT = {
    "type": "string",
    "pattern": r"^\s*(\d+(\.\d+)?\s*(ns|us|ms|s|m|h|d|w)\s*)+$",
    "examples": ["30s", "5m", "1h 30m"],
}
Duration = Annotated[
    float,
    BeforeValidator(_from_document),
    Field(ge=0),
    WithJsonSchema(
        {
            "anyOf": [
                _TEXT,
                {
                    "type": "object",
                    "properties": {"value": _TEXT},
                    "required": ["value"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
