"""A list as a table that fits its terminal: which columns it has, and what stands in each cell.

Pure: rows, the columns in order of weight and a width come in, lines come out. An id or a name is never cut, for it is
there to be copied; a column for which those before it leave no room goes whole, and is named. Only prose is cut.
Without a width nothing is: that is for pipes and for `-o wide`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

GAP = 2
SHORTEST = 12
"""What prose is cut to at most before a column has to go."""
KEPT = "!"
"""Behind the name of a column that goes last, wherever it stands."""
PROSE = frozenset(
    "reason message title display_name description does hint summary found value values text params after before"
    " defaults error expected observed message_data last".split()
)
_TIMES = frozenset({"at", "since", "next", "until", "last_scheduled", "last_heartbeat_at"})
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

Cell = Callable[[str, Any], str]
Paint = Callable[[str, Any, str], str]
"""(name of the column, value, padded text) -> the text with its colour."""


class Table(NamedTuple):
    """The lines of a table, and the columns that had no room."""

    lines: list[str]
    dropped: list[str]


class _Column(NamedTuple):
    name: str
    head: str
    cells: list[str]
    kept: bool

    @property
    def whole(self) -> int:
        return max(map(cells_of, (self.head, *self.cells)))

    @property
    def least(self) -> int:
        return min(self.whole, max(SHORTEST, len(self.head))) if self.name in PROSE else self.whole


def lay(
    items: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    cell: Cell,
    *,
    width: int | None = None,
    now_ns: int = 0,
    paint: Paint = lambda name, value, text: text,
) -> Table:
    """The table of the columns that any of the items has, at most `width` wide when that can be.

    `now_ns` is what ages are counted from; times are told as ages only where there is a width.
    """
    short = width is not None
    found = []
    for column in columns:
        name = column.removesuffix(KEPT)
        if any(item.get(name) not in (None, "", [], {}) for item in items):
            texts = [" ".join(cell(name, item.get(name)).split("\n")) for item in items]
            if short:
                texts = [shortened(name, text, now_ns) for text in texts]
            found.append(_Column(name, _head(name, short=short), texts, column.endswith(KEPT)))
    kept, dropped = _fitting(found, width) if width is not None else (found, [])
    widths = _widths(kept, width)
    lines = [_line([(padded(one.head, width)) for one, width in zip(kept, widths, strict=True)])]
    for number, item in enumerate(items):
        cells = [
            paint(one.name, item.get(one.name), padded(cut(one.cells[number], width), width))
            for one, width in zip(kept, widths, strict=True)
        ]
        lines.append(_line(cells))
    return Table(lines, [one.head.lower() for one in dropped])


def _fitting(columns: list[_Column], width: int) -> tuple[list[_Column], list[_Column]]:
    """The columns that fit beside each other, and those that go. The first is what a row is called, and stays; where
    nothing fits beside it, so does the next, since names alone tell nothing."""
    left = width - columns[0].least
    kept = [0]
    for index in sorted(range(1, len(columns)), key=lambda one: not columns[one].kept):
        if columns[index].least + GAP <= left:
            left -= columns[index].least + GAP
            kept.append(index)
    if len(kept) == 1 < len(columns):
        kept.append(1)
    return [columns[index] for index in sorted(kept)], [one for n, one in enumerate(columns) if n not in kept]


def _widths(columns: list[_Column], width: int | None) -> list[int]:
    if width is None:
        return [one.whole for one in columns]
    widths = [one.least for one in columns]
    spare = width - sum(widths) - GAP * (len(widths) - 1)
    for index, one in enumerate(columns):
        more = max(0, min(spare, one.whole - widths[index]))
        widths[index] += more
        spare -= more
    return widths


def _line(cells: Sequence[str]) -> str:
    return (" " * GAP).join(cells).rstrip()


def _head(name: str, *, short: bool) -> str:
    name = name.removesuffix("_ns")
    if short:
        name = "age" if name == "at" else name.removesuffix("_at")
    return name.replace("_", " ").upper()


def cells_of(text: str) -> int:
    """How many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def padded(text: str, width: int) -> str:
    """The text with spaces behind it."""
    return text + " " * (width - cells_of(text))


def cut(text: str, width: int) -> str:
    """The text, or its beginning with a mark that there is more."""
    if cells_of(text) <= width:
        return text
    while text and cells_of(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def shortened(name: str, text: str, now_ns: int) -> str:
    """What a terminal shows of a value: the age of a time, a source without the kind that nearly all have."""
    if name in _TIMES or name.endswith(("_at", "_ns")):
        return age(text, now_ns)
    return text.removeprefix("workflow:") if name == "source" else text


def age(text: str, now_ns: int) -> str:
    """How long ago a time of ISO 8601 was, or in how long it will be; any other text is itself."""
    if not _ISO.fullmatch(text):
        return text
    seconds = int(now_ns / 1e9 - datetime.fromisoformat(text).timestamp())
    return f"in {lasting(-seconds)}" if seconds < 0 else lasting(seconds)


def lasting(seconds: int) -> str:
    """A span in one unit, of which there are at least two."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
