"""The single values in which two JSON values differ, each with its path and both sides, and as lines for people. Pure.

What stands in documents is data of others: in lines it is bounded, printable, and masked where it is a credential.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.documents import canonical

if TYPE_CHECKING:
    from core.model.results import basics

SHOWN = 160  # characters of one value
AROUND = 24  # of them before the place where two long values part
TEXT_LINES = 12  # of one value of several lines
MASK = "***"
_ALIGNED = 200  # entries of a list up to which what came between is sought
_ALIGNED_LINES = 2_000


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()
"""Where one side has no such value."""

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_CREDENTIAL = re.compile(
    r"secret|passw(?:or)?d|credential|cookie|authorization|token|api-?key|(?:access|master|private|account)-?key", re.I
)
_REFERENCE = re.compile(r"\s*(?:[A-Za-z]+\s+)?(?:\$\{[^{}]*\}\s*)+")
_IN_ADDRESS = re.compile(r"(?<=://)([^/@\s:\"]*:)[^/@\s\"]+(?=@)")


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not the same: `steps[2].with.path`, and what it is on both sides (or ABSENT)."""

    path: str
    before: Any
    after: Any

    def to_dict(self) -> basics.Difference:
        """Without the side that has no such value."""
        said: basics.Difference = {"path": self.path}
        if self.before is not ABSENT:
            said["old"] = self.before
        if self.after is not ABSENT:
            said["new"] = self.after
        return said

    def lines(self) -> list[str]:
        """`path: "old" -> "new"`; texts of several lines as the lines that go (-) and come (+)."""
        texts = [side for side in (self.before, self.after) if isinstance(side, str)]
        if len(texts) == 2 and any("\n" in text for text in texts):
            changed = list(_text_lines(*texts))
            if changed:
                more = [f"  ... and {len(changed) - TEXT_LINES} more lines"] if len(changed) > TEXT_LINES else []
                return [f"{self.path}:", *(f"  {line}" for line in changed[:TEXT_LINES]), *more]
        old, new = pair(self.before, self.after)
        return [f"{self.path}: {old} -> {new}" + (" (differs in what is masked)" if old == new else "")]


def between(before: Any, after: Any, path: str = "") -> Iterator[Difference]:
    """The smallest parts that differ, in the order of the new value; credentials are masked on both sides."""
    yield from _between(before, after, path, secret=False)


def _between(before: Any, after: Any, path: str, *, secret: bool) -> Iterator[Difference]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*after, *before)):
            inner = joined(path, str(key))
            hidden = secret or is_credential(str(key))
            yield from _between(before.get(key, ABSENT), after.get(key, ABSENT), inner, secret=hidden)
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
        for old, new in _pairs(before, after):
            place = new if new is not None else old
            sides = (ABSENT if old is None else before[old], ABSENT if new is None else after[new])
            yield from _between(*sides, f"{path}[{place}]", secret=secret)
    elif not same(before, after):
        yield Difference(path, *((masked(side, secret=True) if secret else masked(side)) for side in (before, after)))


def same(before: Any, after: Any) -> bool:
    """Whether two JSON values are equal; 1, 1.0 and true are three values."""
    if before is ABSENT or after is ABSENT:
        return before is after
    return canonical.canonical(before) == canonical.canonical(after)


def _pairs(before: Sequence[Any], after: Sequence[Any]) -> Iterator[tuple[int | None, int | None]]:
    """The entries of two lists that belong to each other, as indexes: those that stayed, and those in the same place
    between them."""
    if len(before) == len(after) or max(len(before), len(after)) > _ALIGNED:
        every = max(len(before), len(after))
        yield from ((n if n < len(before) else None, n if n < len(after) else None) for n in range(every))
        return
    old, new = ([canonical.canonical(one) for one in side] for side in (before, after))
    for what, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what != "equal":
            every = max(b - a, d - c)
            yield from ((a + n if a + n < b else None, c + n if c + n < d else None) for n in range(every))


def joined(path: str, key: str) -> str:
    """The path of a key; one that is no plain name is quoted."""
    name = key if _PLAIN.fullmatch(key) else quoted(key, 80)
    return f"{path}.{name}" if path else name


def is_credential(key: str) -> bool:
    """Whether a key of a document holds a credential, by its name."""
    return _CREDENTIAL.search(key.replace("_", "-")) is not None


def masked(value: Any, *, secret: bool = False) -> Any:
    """The value with every credential in it masked: what has the name of one, and passwords in addresses.

    A reference such as ${secret|name} is none, and stays.
    """
    if isinstance(value, Mapping):
        return {key: masked(inner, secret=secret or is_credential(str(key))) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner, secret=secret) for inner in value]
    if isinstance(value, str):
        if secret and value and not _REFERENCE.fullmatch(value):
            return MASK
        return _IN_ADDRESS.sub(rf"\1{MASK}", value) if "://" in value else value
    return MASK if secret and isinstance(value, int | float) and not isinstance(value, bool) else value


def quoted(value: Any, limit: int = SHOWN) -> str:
    """A value as JSON in one printable line of bounded length."""
    return "nothing" if value is ABSENT else cut(_json(value), limit)


def pair(before: Any, after: Any) -> tuple[str, str]:
    """Both sides of a difference; of long ones the part in which they differ."""
    return _apart(*("nothing" if side is ABSENT else _json(side) for side in (before, after)))


def _apart(old: str, new: str) -> tuple[str, str]:
    """Two texts, or of long ones the beginning, or what comes after the place where they part."""
    start = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    if max(len(old), len(new)) <= SHOWN or start <= SHOWN // 2:
        return cut(old), cut(new)
    return cut(f"…{old[start - AROUND :]}"), cut(f"…{new[start - AROUND :]}")


def printable(text: str) -> str:
    """The text in one line, with what is not seen in it written as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _json(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False, default=str))


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1]


def cut(text: str, limit: int = SHOWN) -> str:
    """The text, or its beginning with a mark."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _text_lines(before: str, after: str) -> Iterator[str]:
    """The lines that go and come; none when the texts are too long to align, or differ in other things than lines."""
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) > _ALIGNED_LINES:
        return
    for what, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal":
            continue
        both = min(b - a, d - c)
        for n in range(both):
            gone, came = _apart(printable(old[a + n]), printable(new[c + n]))
            yield f"- {gone}"
            yield f"+ {came}"
        yield from (f"- {cut(printable(line))}" for line in old[a + both : b])
        yield from (f"+ {cut(printable(line))}" for line in new[c + both : d])
