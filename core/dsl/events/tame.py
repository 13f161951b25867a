"""Whether Python's `re` may match a pattern: it must read it as RE2 does, and cannot backtrack far in it.

A scan of the syntax that most patterns are written in. What it does not know for certain is not tame, so it may be
wrong only in one direction, and RE2 answers for the rest. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_BRANCHES = 12  # alternatives in the whole pattern that `re` may try

Characters = frozenset[int]  # codes in ASCII, and 128 for every other character
_ALL: Characters = frozenset(range(129))
_DIGIT: Characters = frozenset(range(48, 58))
_WORD: Characters = frozenset([*range(48, 58), *range(65, 91), 95, *range(97, 123)])
_SPACE: Characters = frozenset({9, 10, 11, 12, 13, 32})  # 11 is one for `re` alone, which makes this the safe side
_CLASSES = {"d": _DIGIT, "w": _WORD, "s": _SPACE, "D": _ALL - _DIGIT, "W": _ALL - _WORD, "S": _ALL - _SPACE}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "a": 7}
# Spellings that both engines accept and read differently.
_DIFFERENT = re.compile(r"\[\[?:|\{,|\(\?[a-zA-Z]|\\[QCzZvpPxN0-9]|&&|--|\|\||~~|\[\[")
_COUNT = re.compile(r"\{([0-9]+)(,?)([0-9]*)\}")
_GROUP = re.compile(r"\((?:\?:|\?P<\w+>|(?!\?))")


@dataclass(frozen=True, slots=True)
class _Piece:
    """One of these characters, again and again when it is repeated."""

    characters: Characters
    optional: bool = False
    repeats: bool = False  # more or less often
    single: bool = True  # without any repeat


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A place in the text; `end` when nothing can follow."""

    end: bool = False


@dataclass(frozen=True, slots=True)
class _Choice:
    """One of several sequences of single characters."""

    branches: tuple[tuple[_Piece, ...], ...]


_Item = _Piece | _Anchor | _Choice


class _Unknown(Exception):
    """The scan cannot tell what this means."""


def tame(text: str) -> re.Pattern[str] | None:
    """The same pattern for `re`, or None when it might differ from RE2 or might backtrack far."""
    if _DIFFERENT.search(text.replace("(?P<", "")) or not text.isascii():
        return None
    try:
        return re.compile(text, re.ASCII) if _ends_soon(_Scan(text).items()) else None
    except (_Unknown, re.error, RecursionError, OverflowError):
        return None


def _ends_soon(items: Sequence[_Item]) -> bool:
    """Whether each repeat stops before what follows it, and there are few alternatives.

    Then giving back characters never leads anywhere: the next item fails at once on each, so one attempt costs time
    in proportion to the text.
    """
    if sum(len(item.branches) for item in items if isinstance(item, _Choice)) > MAX_BRANCHES:
        return False
    return all(
        _stops(item.characters, items[at + 1 :])
        for at, item in enumerate(items)
        if isinstance(item, _Piece) and item.repeats
    )


def _stops(characters: Characters, rest: Sequence[_Item]) -> bool:
    """Whether what follows a repeat of these characters begins with something that is not among them."""
    for item in rest:
        if isinstance(item, _Choice):
            return all(branch and not characters & branch[0].characters for branch in item.branches)
        if isinstance(item, _Anchor):
            if item.end:
                return True
        elif characters & item.characters:
            return False
        elif not item.optional:
            return True
    return True


class _Scan:
    """Reads a pattern once, from left to right. Raises _Unknown at whatever it does not know."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def items(self) -> list[_Item]:
        """The pattern as one sequence, without its groups."""
        found = list(self._alternatives())
        if self._at < len(self._text):  # a bracket that closes nothing
            raise _Unknown
        return found

    def _take(self, expected: str) -> bool:
        if self._text.startswith(expected, self._at):
            self._at += len(expected)
            return True
        return False

    def _next(self) -> str:
        if self._at == len(self._text):
            raise _Unknown
        self._at += 1
        return self._text[self._at - 1]

    def _alternatives(self) -> Iterator[_Item]:
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        if len(branches) == 1:
            yield from branches[0]
            return
        plain = [tuple(item for item in branch if isinstance(item, _Piece) and item.single) for branch in branches]
        if any(len(kept) < len(branch) for kept, branch in zip(plain, branches, strict=True)):
            raise _Unknown
        if all(len(branch) == 1 for branch in plain):
            yield _Piece(frozenset().union(*(branch[0].characters for branch in plain)))
        else:
            yield _Choice(tuple(plain))

    def _sequence(self) -> list[_Item]:
        items: list[_Item] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            if self._text[self._at] == "(":
                items += self._group()
            else:
                item = self._item()
                items.append(self._repeated(item) if isinstance(item, _Piece) else item)
            if self._count() is not None:  # of a group, of an anchor or of what is repeated already
                raise _Unknown
        return items

    def _group(self) -> list[_Item]:
        opening = _GROUP.match(self._text, self._at)
        if opening is None:
            raise _Unknown
        self._at = opening.end()
        items = list(self._alternatives())
        if not self._take(")"):
            raise _Unknown
        return items

    def _item(self) -> _Piece | _Anchor:
        match self._next():
            case ".":
                return _Piece(_ALL)
            case "^":
                return _Anchor()
            case "$":
                return _Anchor(end=True)
            case "[":
                return _Piece(self._set())
            case "\\":
                if self._take("b") or self._take("B") or self._take("A"):
                    return _Anchor()
                return _Piece(self._escaped())
            case "*" | "+" | "?":
                raise _Unknown
            case "{" if _COUNT.match(self._text, self._at - 1):
                raise _Unknown
            case character:
                return _Piece(frozenset({ord(character)}))

    def _escaped(self) -> Characters:
        """What stands behind a backslash."""
        character = self._next()
        if character in _CLASSES:
            return _CLASSES[character]
        if character in _CONTROLS:
            return frozenset({_CONTROLS[character]})
        if character.isalnum():
            raise _Unknown
        return frozenset({ord(character)})

    def _set(self) -> Characters:
        """What stands behind `[`, with the bracket that closes it."""
        negated = self._take("^")
        found: set[int] = set()
        first = True
        while first or not self._take("]"):
            first = False
            low = self._member()
            if self._text[self._at : self._at + 1] == "-" and self._text[self._at + 1 : self._at + 2] != "]":
                self._at += 1
                high = self._member()
                if len(low) > 1 or len(high) > 1:
                    raise _Unknown
                found.update(range(min(low), min(high) + 1))
            else:
                found |= low
        return _ALL - found if negated else frozenset(found)

    def _member(self) -> Characters:
        character = self._next()
        return self._escaped() if character == "\\" else frozenset({ord(character)})

    def _repeated(self, piece: _Piece) -> _Piece:
        """The piece with the repeat behind it, if there is one."""
        count = self._count()
        if count is None:
            return piece
        low, high = count
        self._take("?")  # as few as possible: the same characters, tried the other way round
        return _Piece(piece.characters, optional=low == 0, repeats=low != high, single=False)

    def _count(self) -> tuple[int, int | None] | None:
        """The repeat that stands here: the least and the most."""
        for sign, low, high in (("*", 0, None), ("+", 1, None), ("?", 0, 1)):
            if self._take(sign):
                return low, high
        found = _COUNT.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        low, most = int(found[1]), found[3]
        return low, int(most) if most else None if found[2] else low
