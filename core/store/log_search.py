"""Lines that are looked for in the file of the logs: the newest first, or from a place on; for a bounded time."""

from __future__ import annotations

import functools
import heapq
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import re2
import structlog

from core import clock, errors
from core.model.log_line import LogLine
from core.model.log_lines import Bundle
from core.store import log_chunks, log_rows
from core.store.log_chunks import Opened
from core.store.log_rows import Range

log = structlog.get_logger("core.store")

Owned = tuple[str, LogLine]
"""(workload, line)"""
Held = tuple[str, Bundle]
"""(workload, lines that are in memory)"""


class Pattern:
    """What the text of a line has to hold. A plain text is found in whatever case."""

    def __init__(self, text: str, *, regex: bool = False) -> None:
        """Raises InvalidParams for a regular expression that is none."""
        options = re2.Options()
        options.log_errors = False
        options.case_sensitive = regex
        try:
            # `^` and `$` are the ends of each line in a text, and so those of each text in a chunk.
            self._one = re2.compile(f"(?m){text}" if regex else re2.escape(text), options)
            # Flags, and the ends of a whole text, mean another thing where many texts stand together.
            alone = regex and any(part in text for part in ("(?", "\\A", "\\z"))
            self._all = None if alone else self._one
            self._in_one = not regex and "\n" not in text  # what it is found in cannot be two lines
        except re2.error as error:
            raise errors.InvalidParams(
                f"This is no regular expression: {errors.shorten(str(error), 200)}.",
                hint="The syntax is that of RE2: https://github.com/google/re2/wiki/Syntax.",
            ) from error

    def matches(self, text: bytes) -> bool:
        return self._one.search(text) is not None

    def numbers(self, opened: Opened) -> Iterator[int]:
        """Which lines of a chunk match."""
        if self._all is None:
            yield from (number for number in range(len(opened)) if self.matches(opened.text_at(number)))
            return
        place, size = 0, opened.size
        while place < size and (found := self._all.search(opened.raw, place, size)) is not None:
            if found.start() >= size:
                return
            number = opened.at(found.start())
            if self._in_one or self.matches(opened.text_at(number)):  # and not only together with the next line
                yield number
            place = opened.ends[number]


class Found(NamedTuple):
    lines: list[Owned]
    """In the order in which they were looked for."""
    complete: bool
    """Whether there are no more."""
    edge: int
    """Where to go on: `before` (newest first) or `after`; 0 when there are no more."""
    gone: bool = False
    """Whether lines after the place from which was looked are kept no more (oldest first)."""


def search(
    db: sqlite3.Connection | None,
    within: Range,
    pattern: Pattern | None,
    limit: int,
    held: Iterable[Held],
    seconds: float,
    *,
    newest_first: bool,
) -> Found:
    """The first `limit` lines, those that are not in the file yet (`held`, of the right workloads) included.

    When the time is over, the answer has every line up to where it came. Raises sqlite3.Error.
    """
    sign = -1 if newest_first else 1
    found: dict[int, Owned] = {}
    deadline = clock.monotonic() + seconds
    reached: int | None = None
    first: int | None = None
    enough = False
    for part in _parts(db, within, held, newest_first=newest_first):
        first = part.at if first is None else first
        if len(found) >= limit and sorted(found)[limit - 1] < part.at:
            enough = True
            break
        if part.at > first and clock.monotonic() > deadline:
            reached = part.at  # of what is behind it, nothing is known
            break
        try:
            opened = part.open()
            for number in _chosen(opened, within, pattern, limit, newest_first=newest_first):
                line = opened.line(number)
                found[sign * line.seq] = (part.workload, line)
        except ValueError as error:  # the disk has changed it, or a worker sent it so: told, and the others are read
            log.error("log_lines_unreadable", workload=part.workload, error=str(error))
        if len(found) > 2 * limit:
            found = {key: found[key] for key in sorted(found)[: limit + 1]}
    keys = [key for key in sorted(found) if reached is None or key < reached]
    lines = [found[key] for key in keys[:limit]]
    gone = db is not None and bool(within.after) and log_rows.has_gone(db, within)
    if enough or len(keys) > limit:
        return Found(lines, False, abs(keys[limit - 1]), gone)
    if reached is not None:
        return Found(lines, False, abs(reached - 1), gone)
    return Found(lines, True, 0, gone)


class _Part(NamedTuple):
    """Some lines of one workload that can be among those that are looked for."""

    at: int
    """The key of the first of them in the order in which they are looked for."""
    workload: str
    open: Callable[[], Opened]
    """Raises ValueError."""


def _parts(
    db: sqlite3.Connection | None, within: Range, held: Iterable[Held], *, newest_first: bool
) -> Iterator[_Part]:
    """By `at`."""

    def at(first: int, last: int) -> int:
        if newest_first:
            return -(min(last, within.before - 1) if within.before else last)
        return max(first, within.after + 1)

    waiting = [
        _Part(at(one.first_seq, one.last_seq), workload, functools.partial(log_chunks.of_bundle, one))
        for workload, one in held
        if one.last_seq > within.after and (not within.before or one.first_seq < within.before)
    ]
    waiting.sort(key=lambda part: part.at)
    chunks = log_rows.chunks(db, within, newest_first=newest_first) if db is not None else ()
    written = (
        _Part(at(one.first_seq, one.last_seq), one.source.workload, functools.partial(log_chunks.of_body, one.body))
        for one in chunks
    )
    return heapq.merge(waiting, written, key=lambda part: part.at)


def _chosen(opened: Opened, within: Range, pattern: Pattern | None, limit: int, *, newest_first: bool) -> Sequence[int]:
    """Which lines can be among the first `limit` ones of what is looked for, and one more."""
    if (within.run or within.invocation) and not opened.written_in(within.run, within.invocation):
        return ()  # before a pattern is looked for, and the head read
    numbers: Sequence[int] = range(len(opened)) if pattern is None else list(pattern.numbers(opened))
    if not numbers:
        return ()
    fitting = within.fitting(opened, numbers)
    return fitting[-limit - 1 :] if newest_first else fitting[: limit + 1]
