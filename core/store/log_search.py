"""Lines that are looked for in the file of the logs: the newest first, or from a place on; for a bounded time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import re2
import structlog

from core import clock, errors
from core.model.log_line import LogLine
from core.store import log_rows
from core.store.log_chunks import Opened, text_of
from core.store.log_rows import Range

log = structlog.get_logger("core.store")

Owned = tuple[str, LogLine]
"""(workload, line)"""


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
        place = 0
        while place < len(opened.text) and (found := self._all.search(opened.text, place)) is not None:
            if found.start() >= len(opened.text):
                return
            number = opened.at(found.start())
            if self.matches(opened.text_at(number)):  # and not only together with the next line
                yield number
            place = opened.end(number)


class Found(NamedTuple):
    lines: list[Owned]
    """In the order in which they were looked for."""
    complete: bool
    """Whether there are no more."""
    edge: int
    """Where to go on: `before` (newest first) or `after`; 0 when there are no more."""


def search(
    db: sqlite3.Connection | None,
    within: Range,
    pattern: Pattern | None,
    limit: int,
    held: Iterable[Owned],
    seconds: float,
    *,
    newest_first: bool,
) -> Found:
    """The first `limit` lines, those that are not in the file yet (`held`, of the right workloads) included.

    When the time is over, the answer has every line up to where it came. Raises sqlite3.Error.
    """
    sign = -1 if newest_first else 1
    found = {
        sign * line.seq: (workload, line)
        for workload, line in held
        if within.has(line) and (pattern is None or pattern.matches(text_of(line)))
    }
    deadline = clock.monotonic() + seconds
    reached: int | None = None
    first: int | None = None
    enough = False
    for chunk in log_rows.chunks(db, within, newest_first=newest_first) if db is not None else ():
        at = max(chunk.first_seq, within.after + 1)
        if newest_first:
            at = -(min(chunk.last_seq, within.before - 1) if within.before else chunk.last_seq)
        first = at if first is None else first
        if len(found) >= limit and sorted(found)[limit - 1] < at:
            enough = True
            break
        if at > first and clock.monotonic() > deadline:
            reached = at  # of what is behind it, nothing is known
            break
        try:
            opened = Opened(chunk.body)
            for number in opened.numbers() if pattern is None else pattern.numbers(opened):
                line = opened.line(number)
                if within.has(line):
                    found[sign * line.seq] = (chunk.source.workload, line)
        except ValueError as error:  # the disk has changed it: told, and the others are read
            log.error("log_chunk_unreadable", workload=chunk.source.workload, error=str(error))
        if len(found) > 2 * limit:
            found = {key: found[key] for key in sorted(found)[: limit + 1]}
    keys = [key for key in sorted(found) if reached is None or key < reached]
    lines = [found[key] for key in keys[:limit]]
    if enough or len(keys) > limit:
        return Found(lines, False, abs(keys[limit - 1]))
    if reached is not None:
        return Found(lines, False, abs(reached - 1))
    return Found(lines, True, 0)
