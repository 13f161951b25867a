"""The key-value action: texts like `level=info msg="all is well"` to fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from core.dsl.actions.parsing import Parser
from core.dsl.component import REGISTRY, Config
from core.dsl.events import values
from core.dsl.events.codegen import Warn
from core.errors import shorten

Pair = tuple[str, str | None]  # a key without a value has None

# Possessive, so that a quote that is never closed costs one pass and no more.
_QUOTED = {'"': re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL), "'": re.compile(r"'((?:[^'\\]++|\\.)*+)'", re.DOTALL)}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Pairs(Config):
    """How the text is made."""

    key_value_delim: str = Field(default="=", min_length=1, max_length=16)
    """What stands between a key and its value; the first one counts, so a value may hold it."""
    quotes: bool = True
    """A key or a value in double or single quotes may hold the delimiters, and quotes after a backslash."""
    autoconvert: bool = False
    """Turn values that clearly are a number, true, false, null, or a JSON object or array into that."""
    multiple: Literal["last", "first", "array"] = "last"
    """What becomes of a key that comes again: keep the last value, the first, or all of them as an array (a key that
    comes once stays a single value)."""


@REGISTRY.register("key-value")
class KeyValue(Pairs, Parser):
    """Parse a text of pairs like `a=1 b="two words"`; each key becomes a field.

    White space around keys and values is left out, unless it is quoted. A part without `key-value-delim` (a bare
    word, say) is left out with a warning. A field that is missing, no text, or holds no pair at all leaves the event
    as it is, with a warning, unless `drop` is set. A quote that is not closed is an ordinary character.
    """

    noun: ClassVar[str] = "a list of pairs"
    example: ClassVar[str] = """
name: logfmt
input: {echo: {event: 'level=info took=12 msg="all is well" tag=a tag=b'}}
actions:
  - key-value: {autoconvert: true, multiple: array, remove: true}
output: {print: STDOUT}
"""

    delim: str = Field(default=" ", min_length=1, max_length=16)
    """What stands between the pairs. Empty parts are skipped, so any number of blanks is one."""

    @model_validator(mode="after")
    def _two_delimiters(self) -> Self:
        if self.delim == self.key_value_delim:
            raise ValueError("delim and key-value-delim must differ")
        return self

    def parser(self, warn: Warn) -> Callable[[str], dict[str, Any]]:
        delim, between = self.delim, self.key_value_delim
        convert = values.guess if self.autoconvert else None
        collect = _COLLECT[self.multiple]
        marks = "\"'" if self.quotes else ""

        def parse(text: str) -> dict[str, Any]:
            if marks and ('"' in text or "'" in text):
                pairs = _quoted_pairs(text, delim, between)
            else:
                pairs = _plain_pairs(text, delim, between)
            found: dict[str, Any] = {}
            bare = collect(pairs, convert, found)
            if not found:
                raise ValueError(f"there is no {between!r} in it")
            if bare is not None:
                warn(f"left out {shorten(bare, 60)!r}, which has no {between!r}")
            return found

        return parse


def _plain_pairs(text: str, delim: str, between: str) -> Iterator[Pair]:
    for part in text.split(delim):
        key, found, value = part.partition(between)
        key = key.strip()
        if found and key:
            yield key, value.strip()
        elif found or key:
            yield part.strip(), None


def _quoted_pairs(text: str, delim: str, between: str) -> Iterator[Pair]:
    at, end = 0, len(text)
    next_delim = next_between = -1
    while at < end:
        at = _skip_blanks(text, at, delim)
        if at >= end:
            return
        if text.startswith(delim, at):
            at += len(delim)
            continue
        key, after = _quoted(text, at)
        if key is not None and text.startswith(between, _skip_blanks(text, after, delim)):
            at = _skip_blanks(text, after, delim) + len(between)
        else:
            # Each is looked for again only when it has been passed: one pass over the text in all.
            if next_delim < at:
                next_delim = _find(text, delim, at)
            if next_between < at:
                next_between = _find(text, between, at)
            if next_between >= next_delim:
                yield text[at:next_delim].strip(), None
                at = next_delim + len(delim)
                continue
            key, begin = text[at:next_between].strip(), at
            at = next_between + len(between)
            if not key:
                at = _find(text, delim, at)
                yield text[begin:at].strip(), None
                continue
        start = _skip_blanks(text, at, delim)
        value, after = _quoted(text, start)
        after = _skip_blanks(text, after, delim)
        if value is not None and (after >= end or text.startswith(delim, after)):
            yield key, value
            at = after + len(delim)
            continue
        stop = _find(text, delim, at)
        yield key, text[at:stop].strip()
        at = stop + len(delim)


def _find(text: str, what: str, at: int) -> int:
    found = text.find(what, at)
    return found if found >= 0 else len(text)


def _skip_blanks(text: str, at: int, delim: str) -> int:
    """The next place that is no white space, or is a delimiter made of white space."""
    while at < len(text) and text[at].isspace() and not text.startswith(delim, at):
        at += 1
    return at


def _quoted(text: str, at: int) -> tuple[str | None, int]:
    """The quoted text that begins here and the place behind it; None when there is none."""
    pattern = _QUOTED.get(text[at : at + 1])
    match = pattern.match(text, at) if pattern is not None else None
    if match is None:
        return None, at
    inner = match[1]
    return _ESCAPE.sub(r"\1", inner) if "\\" in inner else inner, match.end()


def _last(pairs: Iterator[Pair], convert: Callable[[str], Any] | None, found: dict[str, Any]) -> str | None:
    bare = None
    for key, value in pairs:
        if value is None:
            bare = key
        else:
            found[key] = value if convert is None else convert(value)
    return bare


def _first(pairs: Iterator[Pair], convert: Callable[[str], Any] | None, found: dict[str, Any]) -> str | None:
    bare = None
    for key, value in pairs:
        if value is None:
            bare = key
        elif key not in found:
            found[key] = value if convert is None else convert(value)
    return bare


def _array(pairs: Iterator[Pair], convert: Callable[[str], Any] | None, found: dict[str, Any]) -> str | None:
    bare = None
    several: set[str] = set()
    for key, value in pairs:
        if value is None:
            bare = key
            continue
        made = value if convert is None else convert(value)
        if key in several:
            found[key].append(made)
        elif key in found:
            found[key] = [found[key], made]
            several.add(key)
        else:
            found[key] = made
    return bare


_COLLECT = {"last": _last, "first": _first, "array": _array}
