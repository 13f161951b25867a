"""Regular expressions whose matching time is bounded: RE2 decides what is a pattern, `re` only speeds up tame ones.

RE2 runs in linear time and has no look-around and no back-references. Python's `re` is several times faster on
short texts but can take exponential time, so it is used only where the pattern cannot backtrack far: every repeat
is over single characters and ends at something that the repeat itself cannot match.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Annotated, Any

import re2
from pydantic import AfterValidator, WithJsonSchema

from core import clock
from core.errors import shorten

MAX_PATTERN = 8192  # characters
MAX_PROGRAM_BYTES = 1 << 20  # of a compiled RE2
MAX_SEARCH_SECONDS = 1.0  # for all matches of one pattern in one text
TAME_TEXT = 2048  # characters up to which a tame pattern goes to `re`: an unanchored search is quadratic

MAX_BRANCHES = 12  # alternatives in the whole pattern that `re` may try

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
    fast = _tame(text)

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
        # A final newline is where `$` of the two engines differs.
        if len(subject) > TAME_TEXT or subject[-1:] == "\n":
            return find_linear(subject)
        found = search(subject)
        if found is None:
            return None
        return (found[0],) if whole else found.groups()

    def matches(subject: str) -> bool:
        if len(subject) > TAME_TEXT or subject[-1:] == "\n":
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
    fast = _tame(text)

    def find(subject: str) -> list[str]:
        if fast is not None and len(subject) <= TAME_TEXT and subject[-1:] != "\n":
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


# Spellings that both engines accept and read differently.
_DIFFERENT = re.compile(r"\[\[?:|\{,|\(\?[a-zA-Z]|\\[QCzZvpPxN0-9]|&&|--|\|\||~~|\[\[")


def _tame(text: str) -> re.Pattern[str] | None:
    """The same pattern for `re`, or None when it might differ from RE2 or might backtrack far."""
    if _DIFFERENT.search(text.replace("(?P<", "")) or not text.isascii():
        return None
    try:
        tree = _parser.parse(text, re.ASCII)
        return re.compile(text, re.ASCII) if _is_tame(list(tree)) else None
    except (re.error, RecursionError, OverflowError):
        return None


def _is_tame(items: list[tuple[Any, Any]]) -> bool:
    """Whether each repeat is over one character and stops before what follows it.

    Then giving back characters never leads anywhere: the next item fails at once on each, so one attempt costs time
    in proportion to the text.
    """
    branches = 0
    flat = _flatten(items)
    if flat is None:
        return False
    for at, (kind, value) in enumerate(flat):
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            low, high, inner = value
            single = list(inner)
            if len(single) != 1 or single[0][0] not in (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY):
                return False
            if high != low and not _stops(_characters(single[0]), flat[at + 1 :]):
                return False
        elif kind is op.BRANCH:
            branches += len(value[1])
            if branches > MAX_BRANCHES:
                return False
            for branch in value[1]:
                if any(k not in (op.LITERAL, op.IN, op.ANY, op.NOT_LITERAL) for k, _ in branch):
                    return False
        elif kind not in (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY, op.AT):
            return False
    return True


def _flatten(items: list[tuple[Any, Any]]) -> list[tuple[Any, Any]] | None:
    """The sequence without its groups; None when a group changes flags."""
    flat: list[tuple[Any, Any]] = []
    for kind, value in items:
        if kind is op.SUBPATTERN:
            _, add, remove, inner = value
            if add or remove:
                return None
            nested = _flatten(list(inner))
            if nested is None:
                return None
            flat.extend(nested)
        else:
            flat.append((kind, value))
    return flat


def _stops(chars: frozenset[int], rest: list[tuple[Any, Any]]) -> bool:
    """Whether what follows a repeat of `chars` begins with something that is not among them."""
    for kind, value in rest:
        if kind is op.AT:
            if value in (op.AT_END, op.AT_END_STRING):
                return True
            continue
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            low, _, inner = value
            if chars & _characters(next(iter(inner))):
                return False
            if low > 0:
                return True
            continue
        if kind in (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY):
            return not chars & _characters((kind, value))
        return False
    return True


_ALL = frozenset(range(129))  # ASCII, and 128 for every other character
_CATEGORIES = {
    op.CATEGORY_DIGIT: frozenset(range(48, 58)),
    op.CATEGORY_SPACE: frozenset({9, 10, 11, 12, 13, 32}),
    op.CATEGORY_WORD: frozenset([*range(48, 58), *range(65, 91), 95, *range(97, 123)]),
}
_NEGATED = {
    op.CATEGORY_NOT_DIGIT: op.CATEGORY_DIGIT,
    op.CATEGORY_NOT_SPACE: op.CATEGORY_SPACE,
    op.CATEGORY_NOT_WORD: op.CATEGORY_WORD,
}


def _characters(item: tuple[Any, Any]) -> frozenset[int]:
    """The characters that a one-character item may match."""
    kind, value = item
    if kind is op.LITERAL:
        return frozenset({min(value, 128)})
    if kind is op.NOT_LITERAL:
        return _ALL - {value}
    if kind is not op.IN:
        return _ALL
    out: set[int] = set()
    negated = False
    for inner, argument in value:
        if inner is op.NEGATE:
            negated = True
        elif inner is op.LITERAL:
            out.add(min(argument, 128))
        elif inner is op.RANGE:
            out.update(range(min(argument[0], 128), min(argument[1], 128) + 1))
        elif inner is op.CATEGORY:
            out |= _CATEGORIES[argument] if argument in _CATEGORIES else _ALL - _CATEGORIES[_NEGATED[argument]]
    return frozenset(_ALL - out) if negated else frozenset(out)


def _check(text: str) -> str:
    compile(text)
    return text


Regex = Annotated[str, AfterValidator(_check), WithJsonSchema({"type": "string", "format": "regex"})]
"""A document key that holds a regular expression."""
