"""Regular expressions whose matching time is bounded: RE2 decides what is a pattern, `re` only speeds up tame ones.

RE2 runs in linear time and has no look-around and no back-references. Python's `re` is several times faster on
short texts but can take exponential time, so it is used only where the pattern cannot backtrack far (tame): every
repeat is over single characters and ends at something that the repeat itself cannot match.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import re2
from pydantic import AfterValidator, WithJsonSchema

from core import clock
from core.dsl.events.tame import tame
from core.errors import shorten

MAX_PATTERN = 8192  # characters
MAX_PROGRAM_BYTES = 1 << 20  # of a compiled RE2
MAX_SEARCH_SECONDS = 1.0  # for all matches of one pattern in one text
TAME_TEXT = 2048  # characters up to which a tame pattern goes to `re`: an unanchored search is quadratic

Groups = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern. `groups` and `matches` search anywhere in the text, like grep."""

    text: str
    groups: Callable[[str], Groups | None]
    """The captured groups in order (the whole match when the pattern captures nothing), or None."""
    matches: Callable[[str], bool]
    names: tuple[str | None, ...]
    """The name of each group, None where it has none; one entry at least."""
    tame: bool
    size: int
    """Of its program: a text takes at most this many steps for each character."""


@lru_cache(maxsize=512)
def compile(text: str) -> Pattern:
    """Compile a pattern in RE2's syntax.

    Raises ValueError that says what is wrong with it.
    """
    if len(text) > MAX_PATTERN:
        raise ValueError(f"a pattern has at most {MAX_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PROGRAM_BYTES
    try:
        linear = re2.compile(text, options)
    except re2.error as error:
        raise ValueError(_explain(text, error)) from None
    by_number = {number: name for name, number in linear.groupindex.items()}
    names = tuple(by_number.get(number) for number in range(1, linear.groups + 1)) or (None,)
    whole = linear.groups == 0
    fast = tame(text)

    def find_linear(subject: str) -> Groups | None:
        found = linear.search(subject)
        if found is None:
            return None
        return (found.group(0),) if whole else tuple(found.groups())

    def matches_linear(subject: str) -> bool:
        return linear.search(subject) is not None

    if fast is None:
        return Pattern(text, find_linear, matches_linear, names, False, linear.programsize)
    search = fast.search

    def find(subject: str) -> Groups | None:
        # A final newline is where `$` of the two engines differs, and a vertical tab where `\s` does.
        if len(subject) > TAME_TEXT or subject[-1:] == "\n" or "\v" in subject:
            return find_linear(subject)
        found = search(subject)
        if found is None:
            return None
        return (found[0],) if whole else found.groups()

    def matches(subject: str) -> bool:
        if len(subject) > TAME_TEXT or subject[-1:] == "\n" or "\v" in subject:
            return matches_linear(subject)
        return search(subject) is not None

    return Pattern(text, find, matches, names, True, linear.programsize)


def finder(text: str) -> Callable[[str], list[str]]:
    """A function that lists what a pattern matches one after another: its first group, or all of it without groups.

    Each match takes linear time, but a pattern can look far ahead for every short match; so the function raises
    ValueError when the work on one text takes more than a second.
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PROGRAM_BYTES
    expression = re2.compile(text, options)
    group = min(expression.groups, 1)
    fast = tame(text)

    def find(subject: str) -> list[str]:
        if fast is not None and len(subject) <= TAME_TEXT and subject[-1:] != "\n" and "\v" not in subject:
            return [found for match in fast.finditer(subject) if (found := match[group])]
        out: list[str] = []
        until = clock.monotonic() + MAX_SEARCH_SECONDS
        for number, match in enumerate(expression.finditer(subject), 1):
            if found := match.group(group):
                out.append(found)
            if number & 63 == 0 and clock.monotonic() > until:
                raise ValueError(
                    f"the pattern {shorten(text, 60)!r} takes too long on a text of {len(subject)} characters"
                )
        return out

    return find


def _explain(text: str, error: Exception) -> str:
    reason = error.args[0] if error.args else error
    reason = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    if re.search(r"\(\?<?[=!]", text):
        return "look-ahead and look-behind are not available: patterns run in linear time (RE2 syntax)"
    if re.search(r"\\[1-9]|\(\?P=", text):
        return "back-references are not available: patterns run in linear time (RE2 syntax)"
    return f"not a regular expression in RE2 syntax: {shorten(reason, 120)}"


def _check(text: str) -> str:
    compile(text)
    return text


Regex = Annotated[str, AfterValidator(_check), WithJsonSchema({"type": "string", "format": "regex"})]
"""A document key that holds a regular expression."""
