"""The timers of a trigger, `interval` and `cron`, as values that compute when a job fires and never sleep."""

from __future__ import annotations

import hashlib
import itertools
from abc import abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from core import clock
from core.dsl.component import Config
from core.dsl.language import cron
from core.dsl.language.duration import Duration
from core.dsl.language.window import Window
from core.errors import shorten

CLOCK_SET_BACK_NS = 60 * clock.NANOSECONDS
CATCH_UP_SECONDS = (10.0, 30 * 86_400.0)
NEVER_NS = 2**63 - 1  # later than anything that fires
ALWAYS = (-NEVER_NS, NEVER_NS)  # no start and no end


def _ns(seconds: float) -> int:
    """A length of time that a document names."""
    return round(seconds * clock.NANOSECONDS)


def _jitter_ns(maximum: float, seed: str) -> int:
    """A delay of less than `maximum` seconds that one workload keeps for its whole life: it is drawn from its name."""
    digest = hashlib.blake2b(seed.encode(), digest_size=8).digest()
    return _ns(maximum) * int.from_bytes(digest, "big") // 2**64


class Timer(Config):
    """What both timers can be told."""

    spellings: ClassVar = {"random_offset": "random-offset"}

    immediate: bool = False
    random_offset: Duration = 0.0
    """Shift all firings by a delay up to this, chosen once for each workload."""
    window: Window | None = None
    """The stretch of time that a firing is about, read as `${time|start_time_…}` and `${time|end_time_…}`."""
    overlap: Literal["wait-one", "skip", "cancel"] = "wait-one"
    """What becomes of firings that come due while the last run is under way or its output tries again: one of them is
    made up for when that run has ended, all are skipped, or the run is canceled and the next one begins. Two runs of a
    job are never under way at the same time."""
    block: bool = False
    """The older way to write `overlap: skip`."""
    missed: Literal["skip", "last", "all"] = "skip"
    """What becomes of firings that came due while the engine or the worker was down: none is made up for, the last one,
    or each of them, at most 100. What is left out is told by a message `schedule-missed`."""
    catch_up: Annotated[Duration, Field(ge=CATCH_UP_SECONDS[0], le=CATCH_UP_SECONDS[1])] = 3600.0
    """How long ago a missed firing may have been due to be made up for, from 10s to 30d."""
    start: str = Field(default="", max_length=64)
    """Nothing fires before this time, e.g. 2026-12-01T06:00:00+01:00, or 2026-12-01 in its time zone."""
    end: str = Field(default="", max_length=64)
    """Nothing fires after this time."""
    pause_on_failure: Annotated[int, Field(ge=1, le=100)] | None = None
    """Pause the schedule after so many runs in a row that failed. Left out: never."""

    @property
    def zone(self) -> tzinfo:
        return UTC

    @property
    def skips(self) -> bool:
        """Whether what comes due during a run is left out."""
        return self.block or self.overlap == "skip"

    @property
    def sequenced(self) -> bool:
        """Whether its windows follow each other, so that none is ever missed."""
        return self.window is not None and self.window.sequenced

    @property
    @abstractmethod
    def text(self) -> str:
        """When it fires, for people."""

    @property
    @abstractmethod
    def timing(self) -> str:
        """Names the times at which it fires: schedules with another timing have nothing in common."""

    @abstractmethod
    def next_fire(
        self,
        started: int,
        last: int | None,
        now: int,
        seed: str,
        bounds: tuple[int, int] = ALWAYS,
    ) -> int:
        """The next firing in ns, on the clock of all arguments; NEVER_NS when there is none any more.

        Whole ns, here and wherever times of schedules go: seconds with a fraction of today name no ns exactly.
        `last` is the firing before, None when there was none; a result before `now` means: now. `bounds` are start and
        end on the same clock.
        """

    @abstractmethod
    def planned(self, after: int, seed: str, origin: int | None = None) -> Iterator[int]:
        """The firings after a time, in ns on the wall clock, and within start and end.

        `origin` is one of an interval, which has none of its own; without it they are counted from `after`.
        """

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """Start and end in ns since the epoch; those of ALWAYS where there is none."""
        start, end = ALWAYS
        return self._moment(self.start, start), self._moment(self.end, end)

    def _moment(self, text: str, otherwise: int) -> int:
        if not text:
            return otherwise
        at = datetime.fromisoformat(text)
        return clock.from_datetime(at if at.tzinfo is not None else at.replace(tzinfo=self.zone))

    @field_validator("start", "end")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        try:
            if value and "{{" not in value:
                datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError):
            raise ValueError(f"{shorten(value, 40)!r} is not a time; write it as 2026-12-01T06:00:00+01:00") from None
        return value

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.block and "overlap" in self.model_fields_set and self.overlap != "skip":
            raise ValueError("block means overlap: skip; keep one of the two")
        if self.overlap == "cancel" and self.sequenced:
            raise ValueError("windows that follow each other are each taken to their end; overlap: cancel has no place")
        if "{{" not in self.start + self.end and self.bounds[0] >= self.bounds[1]:
            raise ValueError("start lies before end")
        return self


class Interval(Timer):
    """Fire at once, then at equal distances from the start."""

    scalar = "duration"

    duration: Duration
    """The distance between two firings, e.g. 60s."""
    immediate: bool = True
    """Fire at the start, which also makes up for what was missed; false waits one interval first."""

    @model_validator(mode="after")
    def _window_has_a_size(self) -> Self:
        if self.window is not None and self.window.size is None:
            filled = self.window.model_copy(update={"size": self.duration})
            object.__setattr__(self, "window", filled)
        return self

    @field_validator("duration")
    @classmethod
    def _positive(cls, value: float) -> float:
        if value < 0.001:
            raise ValueError("an interval is at least 1ms; leave the trigger out to run once")
        return value

    @property
    def every_ns(self) -> int:
        return _ns(self.duration)

    @property
    def text(self) -> str:
        return f"interval {self.duration:g}s"

    @property
    def timing(self) -> str:
        return f"interval {self.duration:g} {self.start} {self.end}"

    def next_fire(
        self,
        started: int,
        last: int | None,
        now: int,
        seed: str,
        bounds: tuple[int, int] = ALWAYS,
    ) -> int:
        begin, end = bounds
        every = self.every_ns
        first = max(started, begin) + _jitter_ns(self.random_offset, seed) + (0 if self.immediate else every)
        if last is not None:
            # Equal spacing from the start: slow runs do not make the schedule drift, and what is past is skipped.
            steps = (max(last, now) - first) // every + 1
            first += max(steps, 0) * every
        return first if first <= end else NEVER_NS

    def planned(self, after: int, seed: str, origin: int | None = None) -> Iterator[int]:
        begin, end = self.bounds
        base = after if origin is None else origin
        every = self.every_ns
        steps = (max(after, begin) - base) // every + 1
        return iter(range(base + steps * every, end + 1, every))


class Cron(Timer):
    """Fire at clock times: five fields, minute hour day month weekday, or six with the second first, or a shortcut such
    as @hourly. docs/schedules.md has the rules for days and for the nights in which clocks change."""

    scalar = "expression"
    spellings: ClassVar = {"random_offset": "random-offset", "time_zone": "time-zone"}

    expression: str
    """Five fields, e.g. `*/5 * * * *`, or six with the second first, or @hourly, @daily, @weekly, @monthly, @yearly."""
    time_zone: str = Field(default="UTC", max_length=64)
    """Whose clocks it follows: an IANA name such as Europe/Berlin."""
    immediate: bool = False
    """Fire at the start as well."""

    @model_validator(mode="after")
    def _window_has_a_size(self) -> Self:
        if self.window is not None and self.window.size is None:
            raise ValueError("a window of a cron trigger needs a size, e.g. `window: {size: 1h}`")
        return self

    @field_validator("expression")
    @classmethod
    def _comes_true(cls, value: str) -> str:
        cron.fields_of(value)
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        cron.zone_of(value)
        return value

    @property
    def zone(self) -> tzinfo:
        return cron.zone_of(self.time_zone)

    @cached_property
    def fields(self) -> str:
        """The six fields."""
        return cron.fields_of(self.expression)

    @property
    def text(self) -> str:
        return f"cron {self.expression.strip()} ({self.time_zone})"

    @property
    def timing(self) -> str:
        return f"cron {self.fields} {self.time_zone} {self.start} {self.end}"

    def next_fire(
        self,
        started: int,
        last: int | None,
        now: int,
        seed: str,
        bounds: tuple[int, int] = ALWAYS,
    ) -> int:
        begin, end = bounds
        if last is None and self.immediate:
            fire = max(started, begin)
            return fire if fire <= end else NEVER_NS
        # A last firing far ahead of now means that the clock was set back: then only now counts.
        after = now if last is None or last - now > CLOCK_SET_BACK_NS else max(now, last)
        fire = next(self._from(after, seed, begin), NEVER_NS)
        return fire if fire <= end else NEVER_NS

    def planned(self, after: int, seed: str, origin: int | None = None) -> Iterator[int]:
        begin, end = self.bounds
        return itertools.takewhile(lambda at: at <= end, self._from(after, seed, begin))

    def _from(self, after: int, seed: str, begin: int) -> Iterator[int]:
        """The firings after a time, from `begin` on."""
        offset = _jitter_ns(self.random_offset, seed)
        first = max(after, begin - 1)
        found = (at + offset for at in cron.times(self.fields, self.zone, first - offset))
        return itertools.dropwhile(lambda at: at < begin, found)
