"""Texts to values without losing anything: exact integers, strict numbers, JSON."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

_LONG = re.compile(r"\d{19}")
_LIMIT = 2**63


def _integer(text: str) -> int:
    return _fitting(int(text) if len(text) <= 20 else _LIMIT)


def _fitting(value: int) -> int:
    if not -_LIMIT <= value < _LIMIT:
        raise ValueError("an integer does not fit in 64 bits")
    return value


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


_EXACT = json.JSONDecoder(parse_int=_integer, parse_constant=_refuse)


def from_json(text: str) -> Any:
    """The value of a JSON text; integers of up to 64 bits stay exact.

    Raises ValueError.
    """
    value = orjson.loads(text)
    if type(value) is int:
        return _fitting(value)
    if len(text) > 18 and _LONG.search(text) is not None:  # orjson makes a float of an integer that is too long
        try:
            value = _EXACT.decode(text)
        except RecursionError:
            raise ValueError("it is nested too deep") from None
    return value


def to_json(value: Any) -> bytes:
    """The JSON of a value.

    Raises ValueError: for one that is nested more than 254 deep, or a text that is not Unicode.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        told = "it is nested too deep" if "ecursion" in str(error) else str(error)
        raise ValueError(f"cannot be written as JSON: {told}") from None


def kind(value: Any) -> str:
    """What a value is, in the words of messages."""
    names = {dict: "object", list: "array", str: "text", bool: "truth value", type(None): "null"}
    return names.get(type(value), "number")


def number(text: str) -> int | float:
    """The number that a text writes, an integer when it can be one of 64 bits.

    Raises ValueError.
    """
    if "_" in text:
        raise ValueError(f"{text[:40]!r} is not a number")
    try:
        whole = int(text)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is not a number") from None
        if not math.isfinite(value):
            raise ValueError(f"{text[:40]!r} is not a finite number") from None
        return value
    return whole if -_LIMIT <= whole < _LIMIT else float(whole)


_TRUE = frozenset(("true", "yes", "on", "1", "t", "y"))
_FALSE = frozenset(("false", "no", "off", "0", "f", "n"))


def boolean(text: str) -> bool:
    """The truth value that a text writes: true/false, yes/no, on/off, 1/0 in any case.

    Raises ValueError.
    """
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"{text[:40]!r} is neither true nor false")


_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)


def guess(text: str) -> Any:
    """What a text most likely means: a number as JSON writes it, true, false, null, a JSON object or array, or text.

    A text like 007 or +49 stays text: such things are names more often than numbers.
    """
    first = text[:1]
    if first in "{[" and first:
        try:
            return from_json(text)
        except ValueError:
            return text
    if text in ("true", "false"):
        return text == "true"
    if text == "null":
        return None
    if first in "-0123456789" and len(text) <= 40 and _NUMBER.fullmatch(text):
        try:
            return number(text)
        except ValueError:
            return text
    return text
