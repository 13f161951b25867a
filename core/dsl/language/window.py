"""The stretch of time that one firing of a schedule is about, for `${time|start_time_…}` and `${time|end_time_…}`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, ClassVar, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from core import clock
from core.dsl.component import Config
from core.dsl.language import places
from core.dsl.language.duration import Duration
from core.errors import shorten

FORMAT = "%Y-%m-%d %H:%M:%S"


class Span(NamedTuple):
    """From `start_ns` (inclusive) to `end_ns` (exclusive), in ns since the epoch."""

    start_ns: int
    end_ns: int


class WindowStart(Config):
    """Where the first window begins."""

    scalar = "start-time"
    spellings: ClassVar = {"start_time": "start-time"}

    start_time: str = ""
    """UTC, as YYYY-MM-DD HH:MM:SS. From there on each window follows the one before it without a gap."""
    tracked: Annotated[str, places.WRITTEN] = Field(default="", max_length=4096)
    """A file on the worker that keeps the end of the last successful window; a restart goes on from there."""

    @field_validator("start_time")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        if value and "{{" not in value:
            parse(value)
        return value


class Window(WindowStart):
    """Without a start, a window ends at the time that the firing is for. With one, windows follow each other and each
    is taken once.

    A window of a sequence that is not over yet is waited for; when several are over, they follow each other at once.
    One whose run fails is taken again.
    """

    scalar = "size"
    spellings: ClassVar = {"start_time": "start-time"}

    size: Duration | None = None
    """How long it is. Left out with an interval: the interval."""
    offset: Duration = 0.0
    """How far it lies back, so that late data has settled."""
    start: WindowStart | None = None
    """The same as start-time and tracked beside it."""

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.start is not None and (self.start_time or self.tracked):
            raise ValueError("start-time and tracked stand either in `start` or beside it")
        if self.size is not None and self.size < 0.001:
            raise ValueError("a window is at least 1ms long")
        return self

    @property
    def begin(self) -> WindowStart:
        return self.start or self

    @property
    def sequenced(self) -> bool:
        """Whether windows follow each other, so that the place of the next one is kept."""
        return bool(self.begin.start_time or self.begin.tracked)

    @property
    def size_ns(self) -> int:
        assert self.size is not None  # the schedule has filled it in
        return round(self.size * clock.NANOSECONDS)

    @property
    def offset_ns(self) -> int:
        return round(self.offset * clock.NANOSECONDS)

    def sliding(self, scheduled_ns: int) -> Span:
        """The window of a firing without a start: it ends with the time that the firing is for, whenever it begins."""
        end = scheduled_ns - self.offset_ns
        return Span(end - self.size_ns, end)

    def following(self, mark_ns: int) -> Span:
        """The window after the one that ended at `mark_ns`."""
        return Span(mark_ns, mark_ns + self.size_ns)

    def ready_ns(self, mark_ns: int) -> int:
        """When that window may be taken."""
        return mark_ns + self.size_ns + self.offset_ns

    def first_mark(self, now_ns: int) -> int:
        """Where a sequence begins that has no place kept: at start-time, else so that one window is over now."""
        if self.begin.start_time:
            return parse(self.begin.start_time)
        start = now_ns - self.offset_ns - self.size_ns
        return start - start % clock.NANOSECONDS


def parse(text: str) -> int:
    """The ns of a time written as YYYY-MM-DD HH:MM:SS in UTC, with a fraction if need be. Raises ValueError."""
    head, dot, fraction = text.strip().partition(".")
    try:
        whole = datetime.strptime(head, FORMAT).replace(tzinfo=UTC)
        if dot and not (fraction.isascii() and fraction.isdigit() and len(fraction) <= 9):
            raise ValueError
    except ValueError:
        raise ValueError(f"{shorten(text, 40)!r} is not a time; write it as YYYY-MM-DD HH:MM:SS (UTC)") from None
    return int(whole.timestamp()) * clock.NANOSECONDS + int(fraction.ljust(9, "0") if dot else 0)


def render(ns: int) -> str:
    """The text that `parse` reads."""
    seconds, rest = divmod(ns, clock.NANOSECONDS)
    text = datetime.fromtimestamp(seconds, UTC).strftime(FORMAT)
    return f"{text}.{rest:09}" if rest else text
