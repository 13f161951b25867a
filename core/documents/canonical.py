"""The canonical form of JSON values, their digests, and the strict parser for JSON that comes from outside."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import orjson

from core import errors
from core.errors import Problem

MAX_JSON_BYTES = 1024 * 1024
MAX_DEPTH = 64
LARGEST = 2**63


def canonical(data: Any) -> bytes:
    """JSON bytes with sorted keys: equal values give equal bytes."""
    return orjson.dumps(data, option=orjson.OPT_SORT_KEYS)


def digest(data: Any) -> str:
    """SHA-256 of the canonical form, as 64 hexadecimal characters."""
    return hashlib.sha256(canonical(data)).hexdigest()


def params_digest(params: Any) -> bytes:
    """16 bytes that are equal for equal parameters in the sense of RFC 8785: 1 and 1.0 are equal; 1, "1" and true
    are three different values; the order of keys does not matter."""
    return hashlib.blake2b(canonical(_numbers(params)), digest_size=16).digest()


def _numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return value


class _Refused(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Refused(f"the key {errors.shorten(key, 60)!r} stands twice in one object")
            seen.add(key)
    return out


def _constant(name: str) -> Any:
    raise _Refused(f"{name} is not a JSON number")


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (value := int(text)) < 2**63:
        raise _Refused("an integer does not fit in 64 bits; send it as a string")
    return value


def parse_json(raw: bytes, *, max_bytes: int = MAX_JSON_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Parse untrusted JSON strictly: UTF-8, no byte order mark, no duplicate keys, no NaN, 64-bit integers, no lone
    surrogates, bounded size and depth.

    Raises InvalidParams that says what is wrong.
    """
    if len(raw) > max_bytes:
        raise errors.InvalidParams(f"The JSON text takes {len(raw)} bytes; at most {max_bytes} are allowed.")
    try:
        if raw.startswith(b"\xef\xbb\xbf"):
            raise _Refused("it starts with a byte order mark")
        if _nested(raw, max_depth):
            raise _Refused(f"it is nested deeper than {max_depth} levels")
        value = orjson.loads(raw)  # strict about UTF-8, NaN and surrogates; the second pass is for what it accepts
        if not _plain(value, raw):
            value = json.loads(raw, object_pairs_hook=_unique, parse_constant=_constant, parse_int=_integer)
    except orjson.JSONDecodeError as error:
        what = errors.shorten(error.msg, 120)
        raise errors.InvalidParams(
            f"The text is not valid JSON: {what} (line {error.lineno}, column {error.colno}).",
            errors=[Problem("", f"line {error.lineno}, column {error.colno}: {what}")],
        ) from error
    except _Refused as error:
        raise errors.InvalidParams(f"The JSON text is refused: {error}.", errors=[Problem("", str(error))]) from error
    return value


_TEXT = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)  # fits whatever begins with a quote
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


def _nested(raw: bytes, max_depth: int) -> bool:
    """Whether brackets are nested deeper than allowed; braces inside strings only make the answer stricter to check."""
    if raw.count(b"{") + raw.count(b"[") <= max_depth:
        return False
    depth = 0
    for bracket in _TEXT.sub(b"", raw).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"{[" else -1
        if depth > max_depth:
            return True
    return False


_KEY = re.compile(rb'"\s*:')


def _plain(value: Any, raw: bytes) -> bool:
    """Whether the fast parser can be trusted: every key in the text is one in the value, and no integer overflowed.

    Sound because the pattern finds every key, and may find more inside strings, never fewer: so equal counts mean
    that no key was swallowed.
    """
    keys = 0
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is dict:
            keys += len(item)
            stack.extend(item.values())
        elif type(item) is list:
            stack.extend(item)
        elif (type(item) is int and not -LARGEST <= item < LARGEST) or (
            type(item) is float and not -LARGEST < item < LARGEST  # an integer below -2^63 was read as this very float
        ):
            return False
    return len(_KEY.findall(raw)) == keys
