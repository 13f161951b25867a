"""What was seen of the events of one workload, in windows and series, as far as conditions are decided by it. Pure.

A worker tells totals with its beats (`count`), and the end of each run of a schedule or message (`run`). Nothing is
kept of a workload of which nothing was told, and what does nothing changes nothing: idle jobs cost nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from core.fleet.targets import Target
from core.model import frames

WINDOW_SECONDS = 300.0
LEAST_EVENTS = 100  # in a window, for a share to mean anything
MOST_SHARE = 0.01  # of the events of a window that may be refused
SERIES = 3  # runs, or events of a job that never ends, of which nothing came through
SETTLED_SECONDS = 10.0  # so long must it be so of a job that never ends: what it reads next may be well
MOST_LAG_SECONDS = 300.0
GOOD_WINDOWS = 2  # after so many in a row without the fault it is over
MESSAGE = "message"  # the trigger
ONCE = ("once", "continuous")  # triggers of which no second run makes up for the first


@dataclass(slots=True)
class Fault:
    """One thing that is wrong until it was not so for GOOD_WINDOWS that had something to say of it."""

    stands: bool = False
    how: str = ""  # in words, as it was seen last; empty of one that an earlier engine saw
    seen: bool = False  # in the window that lasts
    good: int = 0

    def see(self, how: str) -> None:
        self.stands = self.seen = True
        self.how, self.good = how, 0

    def end_window(self, *, told: bool) -> None:
        """A window is over; `told`: it had enough to say that all is well."""
        if told and not self.seen:
            self.good += 1
            self.stands = self.stands and self.good < GOOD_WINDOWS
        self.seen = False


class Totals(NamedTuple):
    """Of a workload, since its worker was told to run it."""

    events_in: int = 0
    events_out: int = 0
    refused: int = 0
    skipped: int = 0
    unjudged: int = 0  # a condition could not be worked out for them
    unanswered: int = 0  # a call for them gave no usable answer

    def since(self, before: Totals) -> Totals:
        """What was added; totals that are smaller have begun anew."""
        if any(new < old for new, old in zip(self, before, strict=True)):
            return self
        return Totals._make(new - old for new, old in zip(self, before, strict=True))


NOTHING = Totals()


@dataclass(slots=True)
class Evidence:
    """Of one version of a workload. Times are seconds on the monotonic clock."""

    version: str
    totals: Totals = NOTHING  # as told last
    read: bool = False  # something was read
    written: bool = False  # something was accepted by the output
    seen: tuple[int, int] = (0, 0)  # events, and those of them that were refused or skipped, of the window that lasts
    window_ends: float = 0.0
    refused: Fault = field(default_factory=Fault)  # too large a share of the events, or all of them
    asked: tuple[int, int, int, int] = (0, 0, 0, 0)  # of that window: read, accepted, unjudged, unanswered
    unjudged: Fault = field(default_factory=Fault)  # that is all of them
    unanswered: Fault = field(default_factory=Fault)  # the same
    behind: Fault = field(default_factory=Fault)  # a lag that is too long
    lag: float = 0.0
    written_at: float = 0.0
    lost_runs: int = 0  # in a row, whose events were all refused
    skipped_runs: int = 0  # in a row, which skipped all that they saw
    runs: int = 0
    lost: int = 0  # events refused in a row, of which none came through
    lost_since: float = 0.0
    skipped: int = 0  # files, objects and lines in a row without a single event
    skipped_since: float = 0.0
    settled: bool = False  # of what it had refused, nothing waits any more
    source: Target = field(default_factory=Target)  # what its input connects to, if it does
    sink: Target = field(default_factory=Target)  # its output
    decided: tuple[object, ...] = ()  # what `turns` gave when conditions were decided last
    dropped: int = 0  # refused events of which no letter was kept, as told last
    again: bool = False  # they are to be decided once more
    only_run: bool = False  # a run of which there is only one has ended
    last_of_all: bool = False  # and none of its events came through, or all that it saw was skipped

    def count(
        self,
        totals: Totals,
        lag_seconds: float,
        now: float,
        source: frames.TargetOutage | None = None,
        sink: frames.TargetOutage | None = None,
    ) -> None:
        """Take what a worker tells; `source` and `sink` are the outages of what its input and output connect to."""
        done, self.totals = totals.since(self.totals), totals
        self._add(done, now)
        self.source.tell(source, done.events_in > 0, now)
        self.sink.tell(sink, done.events_out > 0, now)
        self.waited(lag_seconds, now)

    def waited(self, lag_seconds: float, now: float) -> None:
        """So old is the oldest that this workload was given, or that waits for it, and that is not done."""
        self._window(now)
        self.lag = lag_seconds
        if lag_seconds > MOST_LAG_SECONDS:
            self.behind.see(f"the oldest that waits is {lag_seconds:.0f} s old")

    def _add(self, done: Totals, now: float) -> None:
        self._window(now)
        events_in, events_out, refused, skipped, unjudged, unanswered = done
        asked = self.asked
        self.asked = asked[0] + events_in, asked[1] + events_out, asked[2] + unjudged, asked[3] + unanswered
        self.seen = (self.seen[0] + events_in + skipped, self.seen[1] + refused + skipped)
        self.read = self.read or events_in > 0
        self.written = self.written or events_out > 0
        if self.seen[0] >= LEAST_EVENTS and self.seen[1] > MOST_SHARE * self.seen[0]:
            within = f"within {WINDOW_SECONDS / 60:.0f} minutes"
            self.refused.see(f"{self.seen[1]} of {self.seen[0]} events were refused {within}")
        if events_in:
            self.skipped = 0
        elif skipped:
            self.skipped_since = self.skipped_since if self.skipped else now
            self.skipped += skipped
        if events_out:
            self.lost, self.written_at = 0, now
        elif refused:
            self.lost_since = self.lost_since if self.lost else now
            self.lost += refused

    def settle(self) -> None:
        """What was refused has come through since, or was let go."""
        self.refused, self.settled = Fault(), True
        self.seen, self.lost_runs, self.lost = (0, 0), 0, 0

    def _window(self, now: float) -> None:
        if not self.window_ends:
            self.window_ends = now + WINDOW_SECONDS
        if now < self.window_ends:
            return
        self._see_conditions(SERIES)
        self.unjudged.end_window(told=self.asked[0] > 0)
        self.unanswered.end_window(told=self.asked[0] > 0)
        self.asked = (0, 0, 0, 0)
        enough = self.seen[0] > 0
        self.refused.end_window(told=enough)
        self.behind.end_window(told=True)
        self.seen, self.window_ends = (0, 0), now + WINDOW_SECONDS

    @property
    def _unjudged(self) -> bool:
        """Whether a condition failed for all events of the window so far."""
        return 0 < max(self.asked[:2]) <= self.asked[2]  # an action may make many of one event

    @property
    def _unanswered(self) -> bool:
        """Whether a call failed for all of them."""
        return 0 < max(self.asked[:2]) <= self.asked[3]

    def _see_conditions(self, least: int) -> None:
        if self._unjudged and self.asked[0] >= least:
            self.unjudged.see(f"a condition could be worked out for none of the last {self.asked[0]} events")
        if self._unanswered and self.asked[0] >= least:
            self.unanswered.see(f"a call gave no usable answer for any of the last {self.asked[0]} events")

    def run(
        self, trigger: str, runs: int, events_in: int, events_out: int, refused: int, skipped: int, *, ok: bool
    ) -> None:
        """A run, or several of a message-triggered job together, has ended.

        Of messages, those that failed are told apart from others of the same moment, which may have come through.
        """
        self.runs += runs
        if not ok and (not refused or trigger == MESSAGE):  # that it fails is told otherwise
            return
        lost, blind = refused > 0 and not events_out, skipped > 0 and not events_in
        self.only_run = trigger in ONCE
        self.last_of_all = self.only_run and (lost or blind)
        self.lost_runs = self.lost_runs + runs if lost else 0 if events_out else self.lost_runs
        self.skipped_runs = self.skipped_runs + runs if blind else 0 if events_in else self.skipped_runs

    def age(self, now: float) -> None:
        """Let time pass: windows end, and what has been so for long enough counts."""
        self._window(now)
        self.source.age(now)
        self.sink.age(now)
        lost_runs = self.lost_runs >= SERIES or (self.last_of_all and self.lost_runs > 0)
        if lost_runs or (not self.runs and self.lost >= SERIES and now - self.lost_since >= SETTLED_SECONDS):
            self.refused.see("none of the last events came through")
        self._see_conditions(1 if self.only_run else LEAST_EVENTS)

    # -- what follows --------------------------------------------------------------------------------------

    def skips_all(self, now: float) -> bool:
        """Whatever is seen is skipped, so that nothing is read."""
        if self.runs:
            return self.skipped_runs >= SERIES or (self.last_of_all and self.skipped_runs > 0)
        return self.skipped > 0 and now - self.skipped_since >= SETTLED_SECONDS

    def writes(self, now: float) -> bool:
        """The output has accepted something, and not only long before what waits now."""
        return self.written and (self.lag <= MOST_LAG_SECONDS or now - self.written_at <= MOST_LAG_SECONDS)

    def turns(self, now: float) -> tuple[object, ...]:
        """What conditions are decided by, so that they are decided anew only when it is another."""
        source, sink = self.source, self.sink
        faults = (self.refused, self.unjudged, self.unanswered, self.behind)
        reached = (source.stands, source.how, source.back, sink.stands, sink.how)
        return (self.read, self.writes(now), self.skips_all(now), *(fault.stands for fault in faults), *reached)

    def suspects(self, now: float) -> bool:
        """Whether something is wrong that the log of the job says more about."""
        return self.refused.stands or self.unjudged.stands or self.unanswered.stands or self.skips_all(now)

    @property
    def open(self) -> bool:
        """Whether time alone may change something, or something is still to be decided."""
        pending = not self.runs and (self.lost >= SERIES or self.skipped > 0)
        trying = self.source.lasts or self.sink.lasts
        pending = pending or (self._unjudged and not self.unjudged.stands)
        pending = pending or (self._unanswered and not self.unanswered.stands)
        return self.again or pending or trying or self.behind.stands or self.lag > 0
