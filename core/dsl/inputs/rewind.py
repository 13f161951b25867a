"""Where a reader stands, set from outside: where a new one begins, and what one with a past reads once more or leaves
out. Which inputs have this is told by their key `replay`."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from core.dsl.component import Config
from core.dsl.files import memory
from core.dsl.inputs.spooled import Seen
from core.errors import shorten

BEGINNING, NOW = "beginning", "now"
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2}))?")


def _check_point(text: str) -> str:
    if text not in (BEGINNING, NOW):
        _seconds(text)
    return text


def _seconds(text: str) -> float:
    """Seconds since the epoch of a written time; a date alone is its midnight in UTC."""
    if _MOMENT.fullmatch(text):
        with contextlib.suppress(ValueError):  # there is no such day or hour
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    raise ValueError(f"{shorten(text, 40)} is no point to read from; write beginning, now, or 2026-01-31T00:00:00Z")


class Replay(Config):
    """Where reading begins, and what is read once more when this changes."""

    scalar: ClassVar[str] = "from"

    from_: Annotated[str, Field(max_length=40), AfterValidator(_check_point)] = BEGINNING
    """`beginning`, `now`, or a time: of a reader without a past the first objects that it reads. A reader with a past
    reads what is since then once more, and misses nothing that it has not read yet; `now` changes nothing for it."""
    marker: str = Field(default="", max_length=100)
    """Any text; another one makes it another replay."""
    skip_unread: bool = False
    """A reader with a past also leaves out what lies before that point and was not read yet: with `now`, all that is
    there."""

    @property
    def name(self) -> str:
        """Tells one replay from another."""
        return f"{self.from_} {self.marker}".rstrip()

    def since(self, now: float) -> float:
        """The point in seconds since the epoch."""
        return -math.inf if self.from_ == BEGINNING else now if self.from_ == NOW else _seconds(self.from_)


class Rewind:
    """Whether a replay is still to be carried out, by what the state of the workload says of the last one."""

    def __init__(self, config: Replay | None, directory: Path, now: float) -> None:
        self._places = memory.Places(directory / "replay.json")
        self.due = config is not None and self._places.data.get("replay") != config.name
        wanted = config or Replay()
        self._name = wanted.name
        self.since = wanted.since(now)
        self.again = wanted.from_ != NOW  # whether a reader with a past reads anything once more
        self.skip_unread = wanted.skip_unread

    def done(self) -> None:
        """It was carried out; that is remembered."""
        self.due = False
        self._places.set("replay", self._name, 0.0)


class ObjectRewind(Rewind):
    """A replay of objects, of which fingerprints are remembered. What an earlier one left out stays out."""

    def __init__(self, config: Replay | None, directory: Path, now: float) -> None:
        super().__init__(config, directory, now)
        skip = self._places.data.get("skip_before")
        self.skip_before: float = -math.inf if skip is None else skip  # objects that are never read

    def carry_out(self, marks: memory.Fingerprints, present: Iterable[Seen], now: float) -> None:
        """Forget which objects were read, of those that are to be read again; pass over those that are not."""
        there = list(present)
        if marks.new:
            self.skip_before = self.since
        elif self.again:
            self.skip_before = min(self.skip_before, self.since)
            marks.forget([seen.mark for seen in there if seen.at >= self.since])
        if self.skip_unread and not marks.new:  # what is written later counts, whatever time it bears
            passed = [seen.mark for seen in there if not self.again or seen.at < self.since]
            marks.add([mark for mark in passed if mark not in marks], now)
        skip = self.skip_before if math.isfinite(self.skip_before) else None
        self._places.set("skip_before", skip, math.inf)
        self.done()
