"""Keeps what was seen of the events and schedules of workloads, and has their conditions decided anew when it matters.

What workers tell all the time (totals, ends of runs) changes a condition only now and then: `Evidence` says when, and
only then is anything decided, kept and told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from core import clock
from core.bus.base import Bus
from core.fleet import verdicts
from core.fleet.conditions import Conditions
from core.fleet.connection import Observed
from core.fleet.evidence import Evidence, Fault, Totals
from core.fleet.health import UP
from core.model import frames
from core.model.schedule import Punctuality
from core.model.states import WorkloadState
from core.model.typed_condition import Finding, Status, Type
from core.model.workload import WorkloadRow

LOOKS_AT_SCHEDULES = 6  # every so many times that it ages: a firing is late after minutes


class Judge:
    """Of one engine."""

    def __init__(
        self,
        bus: Bus,
        conditions: Conditions,
        changed: Callable[[str, str], None],
        said: Callable[[str], str],
        punctuality: Callable[[str, str], Punctuality | None],
        full: Callable[[str, str], bool],
    ) -> None:
        """`changed` hears of the (tenant, deployment) of what is decided otherwise, `said` gives the last warning in
        the log of a workload, `punctuality` says of a (tenant, job) whether it runs at its times, `full` whether there
        is no room for its dead letters."""
        self._bus = bus
        self._conditions = conditions
        self._changed = changed
        self._said = said
        self._punctuality = punctuality
        self._full = full
        self._evidence: dict[str, Evidence] = {}  # by id, of the version that runs
        self._schedules: dict[str, Finding] = {}  # by id, of what runs by a timer
        self._letters: dict[str, tuple[str, Finding]] = {}  # by id, of a version that had no room for a letter once
        self._looks = 0

    def forget(self, id: str) -> None:
        """A workload is not wanted any more."""
        self._evidence.pop(id, None)
        self._schedules.pop(id, None)
        self._letters.pop(id, None)

    def saw(self, row: WorkloadRow, seen: Observed, *, failed: bool = False) -> None:
        """A workload is seen in a state; `failed`: it is a failure that was not told before."""
        evidence = self._evidence.get(row.id)
        if evidence is not None and evidence.version != row.version:
            evidence = None
        version, letters = self._letters.get(row.id, ("", None))
        told = (self._schedules.get(row.id), letters if version == row.version else None)
        about = verdicts.About(evidence, lambda: self._said(row.id), *told)
        self._conditions.saw(row, seen, about, failed=failed)

    def measured(self, row: WorkloadRow, seen: Observed, figures: frames.Figures) -> None:
        """A worker told the totals of a workload."""
        if (evidence := self._told_of(row, seen)) is not None:
            refused = figures.refused_by_actions + figures.refused_by_output
            events = figures.events_in, figures.events_out
            unsure = figures.conditions_failed, figures.calls_failed
            totals = Totals(*events, refused, figures.refused_by_input, *unsure)
            lag, outages = self.lag(row, figures.lag_seconds)[0], (figures.input_outage, figures.output_outage)
            evidence.count(totals, lag, clock.monotonic(), *outages)
            # What was dropped before somebody made room is counted, and no news of how it is now.
            if figures.letters_dropped > evidence.dropped and self._full(row.tenant, row.job):
                finding = Finding(Status.FALSE, "NoRoom", "refused events had no room, and were dropped")
                self._letters[row.id] = row.version, finding
                evidence.again = True
            evidence.dropped = figures.letters_dropped
            self._decide(row, seen, evidence)

    def run_ended(self, row: WorkloadRow, seen: Observed, run: frames.Run) -> None:
        """A worker told the end of a run, or of many together."""
        if (evidence := self._told_of(row, seen)) is not None:
            evidence.run(run.trigger, run.runs, run.events_in, run.events_out, run.refused, run.skipped, ok=run.ok)
            self._decide(row, seen, evidence)

    def letters_settled(self, row: WorkloadRow, seen: Observed) -> None:
        """All that a job has refused was replayed or let go; one that has completed does nothing more to show it."""
        if seen.state == WorkloadState.COMPLETED and (evidence := self._told_of(row, seen)) is not None:
            evidence.settle()
            self._again(row, seen)

    def timed(self, row: WorkloadRow, seen: Observed, *, came: bool = False) -> None:
        """A firing of a workload `came`, or may not have."""
        old = self._schedules.get(row.id)
        if came and old is not None and old.status is Status.TRUE:
            return
        told = self._punctuality(row.tenant, row.job)
        found = None if told is None else verdicts.of_schedule(told)
        if (old and old[:2]) == (found and found[:2]):
            return
        if found is None:
            del self._schedules[row.id]
        else:
            self._schedules[row.id] = found
        self._again(row, seen)

    def age(self, rows: Iterable[WorkloadRow], observed: Mapping[str, Observed]) -> None:
        """Let time count for what is open, for messages that nobody takes, and for firings that do not come."""
        now = clock.monotonic()
        self._looks += 1
        for row in rows:
            seen = observed[row.id]
            if self._looks % LOOKS_AT_SCHEDULES == 1:
                self.timed(row, seen)
                self.look_for_room(row, seen)
            known = self._evidence.get(row.id)
            waiting = self._bus.backlog((row.tenant, row.job))[0]
            if (waiting or (known is not None and known.open)) and (evidence := self._told_of(row, seen)) is not None:
                evidence.waited(self.lag(row, seen.metrics.get("lag_seconds", 0.0))[0], now)
                self._decide(row, seen, evidence)

    def look_for_room(self, row: WorkloadRow, seen: Observed) -> None:
        """What had no room for letters may have some again."""
        if self._conditions.lacks_room(row) and not self._full(row.tenant, row.job):
            self._letters[row.id] = row.version, Finding(Status.TRUE, "Room")
            self._again(row, seen)

    def lag(self, row: WorkloadRow, told: float) -> tuple[float, int]:
        """How old the oldest is that a workload was given, as it was told, or that waits; and how many wait."""
        waiting, oldest_ns = self._bus.backlog((row.tenant, row.job))
        age = max(0, clock.now_ns() - oldest_ns) / clock.NANOSECONDS if waiting else 0.0
        return max(age, told), waiting

    def _told_of(self, row: WorkloadRow, seen: Observed) -> Evidence | None:
        """What is known of the events of a workload that runs; of one that has not begun, what is told is of the
        version before."""
        if seen.state not in UP:
            return None
        known = self._evidence.get(row.id)
        if known is None or known.version != row.version:
            known = self._evidence[row.id] = Evidence(row.version)
            suffers = self._conditions.suffers(row)
            known.refused, known.behind = Fault(Type.EVENTS_ACCEPTED in suffers), Fault(Type.KEEPING_UP in suffers)
            known.source.stands, known.sink.stands = Type.INPUT_CONNECTED in suffers, Type.OUTPUT_ACCEPTING in suffers
        return known

    def _decide(self, row: WorkloadRow, seen: Observed, evidence: Evidence) -> None:
        """Decide anew when what was seen makes a difference."""
        now = clock.monotonic()
        evidence.age(now)
        turns = evidence.turns(now)
        if turns != evidence.decided or evidence.again:
            evidence.decided = turns
            # What its log says of a fault may still be on its way.
            evidence.again = evidence.suspects(now) and not self._said(row.id)
            self._again(row, seen)

    def _again(self, row: WorkloadRow, seen: Observed) -> None:
        self.saw(row, seen)
        self._changed(row.tenant, row.deployment)
