"""Where the engine sends its reader, for each door to say in its own words.

Hints name operations, as `operation` or `operation(argument=value)`, and `next` of an answer has calls with all their
arguments. A command line says commands (cli/wording.py), HTTP routes (http/wording.py), MCP the tools that the session
has (steps.py). This module finds what they say it of; it imports next to nothing, since commands start with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from typing import Any

from core import errors

Say = Callable[[str, Mapping[str, Any]], str | None]
"""(operation, its arguments as far as a hint gives them) -> the words of a door; None where it says what the engine
says."""
Reword = Callable[[str], str]
"""A hint of the engine -> the hint in the words of a door."""

_NAMED = re.compile(r"\b([a-z0-9]+(?:_[a-z0-9]+)+)\b(?:\(([^()]*)\))?")
_HINTED = ("warnings", "blockers", "errors")  # lists of what stands in the way, each with a hint


def reworded(text: str, operations: Container[str], say: Say) -> str:
    """A hint with what `say` says in place of each of the operations that it names; those of one word are words of the
    language as well."""

    def said(found: re.Match[str]) -> str:
        return (found[1] in operations and say(found[1], _given(found[2] or ""))) or found[0]

    return _NAMED.sub(said, text)


def _given(text: str) -> dict[str, str]:
    """The arguments of `name='x', source=portal`; dots, and nothing, stand for what the reader knows."""
    pairs = (part.partition("=") for part in text.split(","))
    given = {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}
    return {name: value for name, value in given.items() if value not in ("", "...", "…")}


def steps(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls of an answer's `next`; none where it has no such list."""
    found = answer.get("next")
    if not isinstance(found, list):
        return []
    return [step for step in found if isinstance(step, dict) and operation(step)]


def operation(step: Mapping[str, Any]) -> str:
    """The operation that a step of `next` is a call of."""
    return str(step.get("call") or step.get("operation") or "")


def with_hints(answer: dict[str, Any], reword: Reword) -> dict[str, Any]:
    """An answer whose own hint, and those of what stands in the way, are in the words of a door."""
    if isinstance(answer.get("hint"), str):
        answer = {**answer, "hint": reword(answer["hint"])}
    for key in _HINTED:
        rows = answer.get(key)
        if isinstance(rows, list) and any(isinstance(row, dict) and row.get("hint") for row in rows):
            answer = {**answer, key: [_hinted(row, reword) for row in rows]}
    return answer


def fault(error: errors.SluiceError, reword: Reword) -> errors.SluiceError:
    """A fault with its hint in the words of a door; one may be raised to several callers, so it stays as it is."""
    hint = reword(error.hint)
    if hint == error.hint:
        return error
    return type(error)(error.message, hint=hint, errors=error.errors, details=error.details)


def _hinted(row: Any, reword: Reword) -> Any:
    hint = row.get("hint") if isinstance(row, dict) else None
    return {**row, "hint": reword(hint)} if isinstance(hint, str) else row
