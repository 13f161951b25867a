"""What is so of a workload, by type, decided by what was seen of it. Pure; conditions.py keeps it.

A fact of another room (letters, schedules) is a field of `About`, None as long as nobody tells it, and an entry of
`told` in `decide`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.fleet.evidence import Evidence
from core.fleet.health import UP
from core.fleet.targets import Target
from core.model.schedule import Punctuality
from core.model.states import WorkloadState
from core.model.typed_condition import Finding, Status, Type, Typed

Findings = Mapping[Type, Finding | None]
"""By type; None: nothing says that it is otherwise than it was."""

_SOFT = (Type.INPUT_CONNECTED, Type.OUTPUT_ACCEPTING, Type.EVENTS_ACCEPTED, Type.KEEPING_UP)


def _nothing() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a workload beside its state; None is what nobody tells."""

    evidence: Evidence | None = None
    said: Callable[[], str] = _nothing  # the last warning in its log; asked when something is wrong
    schedule: Finding | None = None  # whether it runs at its times
    letters: Finding | None = None  # whether there is room for what is refused


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a workload. `failing` is the failure that stands; None: none does."""

    state: str
    reason: str
    worker: str
    failing: str | None
    about: About


def decide(facts: Facts, before: Typed, now: float) -> Findings:
    """What is so now; `now` is on the monotonic clock."""
    about = facts.about
    found: dict[Type, Finding | None] = {Type.PLACED: _placed(facts), Type.RUNNING: _running(facts)}
    false, known = {one.type for one in before if one.status is Status.FALSE}, {one.type for one in before}
    told = {Type.ON_SCHEDULE: about.schedule, Type.ROOM_FOR_LETTERS: about.letters}
    found |= {type: finding for type, finding in told.items() if finding is not None or type in known}
    if facts.state not in UP or about.evidence is None:
        unseen = Finding(Status.UNKNOWN, "NotRunning" if facts.state not in UP else "NothingToldYet")
        return {**found, **{type: None if type in false else unseen for type in _SOFT}}
    seen = about.evidence
    return {
        **found,
        Type.INPUT_CONNECTED: _reads(seen, facts, now) or _unseen(Type.INPUT_CONNECTED in false, "NothingReadYet"),
        Type.OUTPUT_ACCEPTING: _writes(seen, now),
        Type.EVENTS_ACCEPTED: _accepts(seen, facts),
        Type.KEEPING_UP: _keeps_up(seen),
    }


def of_schedule(told: Punctuality) -> Finding:
    """Whether a job runs at its times."""
    if told.on_time is None:
        return Finding(Status.UNKNOWN, "Paused", told.message)
    if told.on_time:
        return Finding(Status.TRUE, "OnTime")
    return Finding(Status.FALSE, "FiringMissed" if told.code == "missed" else "FiringLate", told.message)


def _placed(facts: Facts) -> Finding:
    if facts.state == WorkloadState.QUARANTINED:
        return Finding(Status.FALSE, "Quarantined", facts.reason)
    if not facts.worker:
        return Finding(Status.FALSE, "NoWorker", facts.reason or "no worker can take it")
    if facts.state == WorkloadState.ASSIGNED:
        if facts.reason:
            return Finding(Status.FALSE, "Withheld", facts.reason)
        return Finding(Status.UNKNOWN, "NotConfirmed", f"{facts.worker} has not confirmed it yet")
    return Finding(Status.TRUE, "OnWorker", facts.worker)


def _running(facts: Facts) -> Finding:
    if facts.state == WorkloadState.QUARANTINED:
        return Finding(Status.FALSE, "Quarantined", facts.reason)
    if facts.failing is not None or facts.state == WorkloadState.FAILED:
        return Finding(Status.FALSE, "Failing", facts.failing or facts.reason)
    if facts.state in UP:
        return Finding(Status.TRUE, "Up")
    return Finding(Status.FALSE, "Starting" if facts.state == WorkloadState.STARTING else "NotStarted", facts.reason)


def _unseen(was_false: bool, reason: str) -> Finding | None:
    """What was false stays so until the contrary is seen."""
    return None if was_false else Finding(Status.UNKNOWN, reason)


def _because(how: str, facts: Facts) -> str:
    said = facts.about.said()
    return f"{how}: {said}" if said else how


def _reads(seen: Evidence, facts: Facts, now: float) -> Finding | None:
    if seen.skips_all(now):
        return Finding(Status.FALSE, "EverythingSkipped", _because("whatever its input sees is skipped", facts))
    if seen.source.stands:
        return _outage(seen.source, "NotConnected", "it goes on once that answers")
    if seen.read:
        return Finding(Status.TRUE, "EventsRead")
    return Finding(Status.TRUE, "Connected") if seen.source.back else None


def _writes(seen: Evidence, now: float) -> Finding | None:
    if seen.sink.stands:
        return _outage(seen.sink, "NotAccepting", "events wait until it takes them")
    if seen.writes(now):
        return Finding(Status.TRUE, "EventsWritten")
    return Finding(Status.UNKNOWN, "NothingWrittenLately" if seen.written else "NothingWrittenYet")


def _outage(target: Target, reason: str, then: str) -> Finding | None:
    """That of a target which is not reached, with the way out; one that an earlier engine saw is left as it was."""
    if not target.how:
        return None
    return Finding(Status.FALSE, reason, f"{target.how}; {then}: mend it, or what the job says of it")


def _accepts(seen: Evidence, facts: Facts) -> Finding | None:
    if seen.refused.stands:
        return Finding(Status.FALSE, "EventsRefused", _because(seen.refused.how, facts)) if seen.refused.how else None
    if seen.unjudged.stands:
        return Finding(Status.FALSE, "ConditionsFail", _because(seen.unjudged.how, facts))
    if seen.unanswered.stands:
        return Finding(Status.FALSE, "CallsFail", _because(seen.unanswered.how, facts))
    well = seen.written or seen.settled
    return Finding(Status.TRUE, "EventsAccepted") if well else Finding(Status.UNKNOWN, "NoEventsYet")


def _keeps_up(seen: Evidence) -> Finding | None:
    if seen.behind.stands:
        return Finding(Status.FALSE, "Lagging", seen.behind.how) if seen.behind.how else None
    return Finding(Status.TRUE, "KeepsUp")
