"""What a tool call answers: structured content and the same facts as short text, cleaned and bounded in size.

Pure: results and errors of the engine in, CallToolResult in its wire form out.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from core import errors

STRUCTURED_BYTES = 16_000
TEXT_CHARACTERS = 6_000
"""Together about 5,600 tokens: no answer is above 6,000."""

_STEPS = ((4000, 100), (1500, 50), (500, 25), (200, 12), (80, 6), (40, 2))
"""How a large answer is shrunk, gently first: (characters of a string, entries of an array or object)."""


# What no reader sees and a model does: control characters, escape sequences of terminals, marks that turn the direction
# of writing, zero-width marks, and the tag characters in which whole sentences can be hidden.
_UNSEEN = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
# Joiners and variation selectors belong to emoji and to several scripts, where each of them follows something that is
# seen; one behind the other they carry hidden bytes.
_JOINERS, _SELECTORS = "\u200c\u200d", "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_UNSEEN_TEXT = re.compile(
    f"[{_UNSEEN}]|(?<=[{_SELECTORS}])[{_SELECTORS}]|(?<=[{_JOINERS}])[{_JOINERS}{_SELECTORS}]",
)
_UNSEEN_ASCII = (b"\\u00", b"\\b", b"\\f", b"\x7f")  # as JSON writes them; may find too much (an escaped backslash)


def success(result: dict[str, Any]) -> dict[str, Any]:
    """The result of an operation."""
    structured = sound(result, STRUCTURED_BYTES)
    return {
        "resultType": "complete",
        "content": [{"type": "text", "text": as_text(structured, TEXT_CHARACTERS)}],
        "structuredContent": structured,
        "isError": False,
    }


def failure(error: errors.SluiceError) -> dict[str, Any]:
    """A fault that the model can see and mend: what is wrong, where, and what to do next."""
    return {
        "resultType": "complete",
        "content": [{"type": "text", "text": _shortened(visible(str(error)), TEXT_CHARACTERS)}],
        "structuredContent": sound({"error": error.to_dict()}, STRUCTURED_BYTES),
        "isError": True,
    }


def visible(text: str) -> str:
    """The text with a replacement character for everything that a reader would not see."""
    return _UNSEEN_TEXT.sub("\ufffd", text)


def sound(result: dict[str, Any], limit: int) -> dict[str, Any]:
    """The result, cleaned and bounded; most are both as they come, which is seen by writing them once."""
    raw = _dumps(result)
    return result if len(raw) <= limit and not _has_unseen(raw) else bounded(cleaned(result), limit)


def cleaned(result: dict[str, Any]) -> dict[str, Any]:
    """The result with every string visible; what jobs, callers and portals wrote is data, and must look like it."""
    if not _has_unseen(_dumps(result)):
        return result

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return visible(value)
        if isinstance(value, dict):
            return {visible(key) if isinstance(key, str) else key: clean(inner) for key, inner in value.items()}
        return [clean(inner) for inner in value] if isinstance(value, list) else value

    return {key: clean(value) for key, value in result.items()}


def _has_unseen(raw: bytes) -> bool:
    if any(mark in raw for mark in _UNSEEN_ASCII):
        return True
    return not raw.isascii() and _UNSEEN_TEXT.search(raw.decode()) is not None


def bounded(result: dict[str, Any], limit: int) -> dict[str, Any]:
    """The result if it fits into `limit` bytes of JSON, else a copy with long strings and lists cut.

    What was cut is told under `truncated` (pointer, kept, of) with a `hint`; the types of all values stay, so that
    a cut result still fits the tool's outputSchema.
    """
    if len(_dumps(result)) <= limit:
        return result
    for characters, entries in _STEPS:
        cuts: list[dict[str, Any]] = []
        shrunk = {key: _shrink(value, f"/{key}", characters, entries, cuts) for key, value in result.items()}
        shrunk["truncated"] = cuts[:20]
        shrunk["hint"] = "The answer was too large and was cut. Ask for less: smaller limit, detail=concise, a filter."
        if len(_dumps(shrunk)) <= limit:
            return shrunk
    # Only a result with very many small parts comes here: what is left is its shape, which a schema may demand.
    empty = {key: type(value)() for key, value in shrunk.items() if isinstance(value, dict | list)}
    return {**shrunk, **empty, "truncated": cuts[:20]}


def _shrink(value: Any, pointer: str, characters: int, entries: int, cuts: list[dict[str, Any]]) -> Any:
    if isinstance(value, str):
        if len(value) <= characters:
            return value
        cuts.append({"pointer": pointer, "kept": characters, "of": len(value)})
        return value[:characters] + "…"
    if isinstance(value, dict | list) and len(value) > entries:
        cuts.append({"pointer": pointer, "kept": entries, "of": len(value)})
        value = dict(list(value.items())[:entries]) if isinstance(value, dict) else value[:entries]
    if isinstance(value, dict):
        return {k: _shrink(v, f"{pointer}/{k}", characters, entries, cuts) for k, v in value.items()}
    if isinstance(value, list):
        return [_shrink(v, f"{pointer}/{i}", characters, entries, cuts) for i, v in enumerate(value)]
    return value


def as_text(result: dict[str, Any], limit: int) -> str:
    """The facts of a result in lines: `key: value`, and a line for each entry of a list.

    A result that brings its own `text` (a plan does) is shown as that text.
    """
    own = result.get("text")
    if isinstance(own, str):
        return _shortened(own, limit)
    lines: list[str] = []
    for key, value in result.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(f"{key}: {len(value)}")
            lines += [f"- {_one_line(entry)}" for entry in value]
        else:
            lines.append(f"{key}: {_scalar(value)}")
    return _shortened("\n".join(lines), limit)


def _one_line(entry: Any) -> str:
    if not isinstance(entry, dict):
        return _scalar(entry)
    return ", ".join(f"{key}={_scalar(value)}" for key, value in entry.items() if value not in (None, "", [], {}))


def _scalar(value: Any) -> str:
    # A line break within a value would let it write lines of its own.
    return value if isinstance(value, str) and not {"\n", "\r"} & set(value) else _dumps(value).decode()


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 30] + "\n… (see the structured content)"


def _dumps(value: Any) -> bytes:
    # What the engine returns came out of JSON or goes into it; `str` covers a path or a time that slipped in.
    return orjson.dumps(value, default=str)
