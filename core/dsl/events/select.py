"""Field selectors: the three ways a document names a field of an event, compiled to get, set and delete.

`a.b` is a dotted path, `/a/b` a JSON Pointer (RFC 6901, so `/a.b` is one field with a dot in its name), `a/b` a
path with slashes, and `$.a.b` or `$['a'][0]` the part of JSONPath that names exactly one field. A step that is
a number selects an element when it meets an array.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import AfterValidator, WithJsonSchema

from core import pointers
from core.dsl.component import Event

Path = tuple[str, ...]

MAX_LENGTH = 1024
MAX_STEPS = 32


class _Missing:
    """The answer for a field that is not there; different from null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()

_JSONPATH_STEP = re.compile(r"""\.([^.\[\]'"*?@]+)|\[(\d+)\]|\['([^']*)'\]|\["([^"]*)"\]""")


def parse(text: str) -> Path:
    """The steps of a selector.

    Raises ValueError that says what a selector looks like.
    """
    if not text or text.isspace():
        raise ValueError("a field selector cannot be empty; write a.b, /a/b or a/b")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a field selector has at most {MAX_LENGTH} characters")
    if text.startswith("$.") or text.startswith("$["):
        steps = _jsonpath(text)
    elif text.startswith("/"):
        steps = tuple(pointers.split(text))
    else:
        steps = tuple(text.split("/" if "/" in text else "."))
        if "" in steps:
            raise ValueError(f"{text!r} has an empty step; write a field with a dot in its name as /a.b")
    if len(steps) > MAX_STEPS:
        raise ValueError(f"a field selector has at most {MAX_STEPS} steps")
    return steps


def _jsonpath(text: str) -> Path:
    steps: list[str] = []
    at = 1
    while at < len(text):
        match = _JSONPATH_STEP.match(text, at)
        if match is None:
            raise ValueError(f"{text!r} must name exactly one field, like $.a.b or $['a'][0]")
        steps.append(next(group for group in match.groups() if group is not None))
        at = match.end()
    return tuple(steps)


def pointer(path: Path) -> str:
    """The JSON Pointer of a path, for messages."""
    return pointers.join(path)


def _index(step: str, length: int) -> int | None:
    if step.isascii() and step.isdigit() and len(step) < 10 and (index := int(step)) < length:
        return index
    return None


def find(value: Any, path: Path) -> Any:
    """The value at a path inside any JSON value, or MISSING."""
    for step in path:
        if type(value) is dict:
            value = value.get(step, MISSING)
            if value is MISSING:
                return MISSING
        elif type(value) is list:
            index = _index(step, len(value))
            if index is None:
                return MISSING
            value = value[index]
        else:
            return MISSING
    return value


def getter(path: Path) -> Callable[[Event], Any]:
    """A function that returns the field of an event, or MISSING."""
    if len(path) == 1:
        (only,) = path
        return lambda event: event.get(only, MISSING)
    if len(path) == 2:
        first, second = path

        def get_two(event: Event) -> Any:
            inner = event.get(first)
            if type(inner) is dict:
                return inner.get(second, MISSING)
            return find(inner, (second,))

        return get_two
    return lambda event: find(event, path)


def setter(path: Path) -> Callable[[Event, Any], None]:
    """A function that sets the field of an event, making the objects on the way.

    It raises ValueError when something on the way is neither an object nor an array element that exists.
    """
    if len(path) == 1:
        (only,) = path

        def set_one(event: Event, value: Any) -> None:
            event[only] = value

        return set_one
    *way, last = path

    def set_deep(event: Event, value: Any) -> None:
        at: Any = event
        for step in way:
            if type(at) is dict:
                inner = at.get(step)
                if inner is None:
                    inner = at[step] = {}
                at = inner
            elif type(at) is list and (index := _index(step, len(at))) is not None:
                at = at[index]
            else:
                at = None
                break
        if type(at) is dict:
            at[last] = value
        elif type(at) is list and (index := _index(last, len(at))) is not None:
            at[index] = value
        else:
            raise ValueError(f"cannot set {pointer(path)}: what is above it is not an object")

    return set_deep


def remover(path: Path) -> Callable[[Event], Any]:
    """A function that takes the field out of an event and returns it, or MISSING."""
    if len(path) == 1:
        (only,) = path
        return lambda event: event.pop(only, MISSING)
    *way, last = path
    above = tuple(way)

    def remove_deep(event: Event) -> Any:
        at = find(event, above)
        if type(at) is dict:
            return at.pop(last, MISSING)
        if type(at) is list and (index := _index(last, len(at))) is not None:
            return at.pop(index)
        return MISSING

    return remove_deep


def _check(text: str) -> str:
    parse(text)
    return text


Selector = Annotated[
    str,
    AfterValidator(_check),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_LENGTH, "format": "field"}),
]
"""A document key that names a field."""
