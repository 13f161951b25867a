"""What is so of a workload by what was seen of its events: thresholds, what clears them, and what nobody has seen."""

from __future__ import annotations

from typing import Any

import pytest

from core.fleet import evidence, verdicts
from core.fleet.evidence import WINDOW_SECONDS, Evidence, Fault, Totals
from core.fleet.verdicts import About, Facts
from core.model import typed_condition
from core.model.schedule import Punctuality
from core.model.typed_condition import Finding, Status, Type, Typed, TypedCondition


def decided(seen: Evidence | None, now: float = 0.0, before: Typed = (), **more: Any) -> dict[Type, str]:
    """Status and reason by type; what is left as it was is not there."""
    about = About(seen, schedule=more.pop("schedule", None))
    facts = Facts(**{"state": "running", "reason": "", "worker": "w", "failing": None, "about": about, **more})
    if seen is not None:
        seen.age(now)
    found = verdicts.decide(facts, before, now)
    return {type: f"{one.status} {one.reason}" for type, one in found.items() if one is not None}


def refused(seen: Evidence, now: float = 0.0) -> bool:
    return decided(seen, now).get(Type.EVENTS_ACCEPTED) == "false EventsRefused"


def skipped(seen: Evidence, now: float = 0.0) -> bool:
    return decided(seen, now).get(Type.INPUT_CONNECTED) == "false EverythingSkipped"


def test_nothing_is_true_of_which_nothing_was_seen() -> None:
    assert decided(None) == {
        Type.PLACED: "true OnWorker",
        Type.RUNNING: "true Up",
        **dict.fromkeys(verdicts._SOFT, "unknown NothingToldYet"),
    }
    idle = decided(Evidence("1"))
    assert idle[Type.INPUT_CONNECTED] == "unknown NothingReadYet"
    assert idle[Type.OUTPUT_ACCEPTING] == "unknown NothingWrittenYet"
    assert idle[Type.EVENTS_ACCEPTED] == "unknown NoEventsYet"
    assert Type.ON_SCHEDULE not in idle and Type.ROOM_FOR_LETTERS not in idle


def test_a_fact_of_another_room_is_a_type_of_its_own() -> None:
    missed = verdicts.of_schedule(Punctuality(False, "missed", "02:00 was missed", 1, 5))
    assert decided(None, schedule=missed)[Type.ON_SCHEDULE] == "false FiringMissed"
    assert verdicts.of_schedule(Punctuality(None, "paused", "by ada", 0, 5)).status is Status.UNKNOWN
    before = (TypedCondition(Type.ON_SCHEDULE, *missed, 5, 1),)
    kept = verdicts.decide(Facts("running", "", "w", None, About()), before, 0.0)
    assert kept[Type.ON_SCHEDULE] is None, "until the schedules are read, it is left as it was"


@pytest.mark.parametrize(("events", "errors", "bad"), [(99, 99, False), (100, 1, False), (100, 2, True)])
def test_more_than_one_in_a_hundred_of_a_hundred_events_is_too_much(events: int, errors: int, bad: bool) -> None:
    seen = Evidence("1")
    seen.count(Totals(events, events - errors or 1, errors, 0), 0.0, 1.0)
    assert refused(seen, 1.0) is bad


def test_it_is_over_after_two_windows_that_were_well_and_silence_says_nothing() -> None:
    seen = Evidence("1")
    seen.count(Totals(1000, 900, 100, 0), 0.0, 1.0)
    assert refused(seen, 1.0)
    seen.age(1 + WINDOW_SECONDS)  # ends the window in which it was seen
    seen.age(1 + 2 * WINDOW_SECONDS)
    assert refused(seen, 1 + 3 * WINDOW_SECONDS), "nothing came in these windows"
    seen.count(Totals(1500, 1400, 100, 0), 0.0, 2 + 3 * WINDOW_SECONDS)
    assert refused(seen, 2 + 4 * WINDOW_SECONDS), "one good window is not enough"
    seen.count(Totals(2000, 1900, 100, 0), 0.0, 3 + 4 * WINDOW_SECONDS)
    assert not refused(seen, 3 + 5 * WINDOW_SECONDS)
    assert decided(seen, 3 + 5 * WINDOW_SECONDS)[Type.EVENTS_ACCEPTED] == "true EventsAccepted"


def test_three_runs_of_which_nothing_came_through_are_enough() -> None:
    seen = Evidence("1")
    for number in (1, 2, 3):
        assert not refused(seen)
        seen.run("interval", 1, 1, 0, 1, 0, ok=True)
        seen.count(Totals(number, 0, number, 0), 0.0, float(number))
    assert refused(seen, 3.0)


def test_a_run_that_brings_something_through_begins_the_series_anew() -> None:
    seen = Evidence("1")
    for out in (0, 0, 1, 0, 0):
        seen.run("interval", 1, 1, out, 1 - out, 0, ok=True)
    assert not refused(seen)


def test_a_run_that_never_comes_again_is_enough_alone() -> None:
    seen = Evidence("1")
    seen.run("once", 1, 0, 0, 0, 4, ok=True)
    assert skipped(seen) and not refused(seen)


def test_a_run_that_failed_is_told_otherwise() -> None:
    seen = Evidence("1")
    for _ in range(5):
        seen.run("interval", 1, 1, 0, 0, 0, ok=False)
    assert not refused(seen)


def test_runs_that_failed_because_all_of_their_events_were_refused_are_evidence_of_that() -> None:
    seen = Evidence("1")
    for _ in range(5):
        seen.run("interval", 1, 1, 0, 1, 0, ok=False)
    assert refused(seen)


def test_a_reader_that_never_ends_and_skips_all_that_it_sees_is_told_once_that_has_settled() -> None:
    seen = Evidence("1")
    seen.count(Totals(0, 0, 0, 2), 0.0, 1.0)
    assert not skipped(seen, 2.0), "what it reads next may be well"
    assert seen.open and skipped(seen, 1 + evidence.SETTLED_SECONDS)
    seen.count(Totals(1, 1, 0, 2), 0.0, 30.0)
    assert decided(seen, 30.0)[Type.INPUT_CONNECTED] == "true EventsRead"
    assert not seen.open


def test_three_events_of_a_job_that_never_ends_are_a_series() -> None:
    seen = Evidence("1")
    seen.count(Totals(3, 0, 3, 0), 0.0, 1.0)
    assert refused(seen, 1 + evidence.SETTLED_SECONDS)
    other = Evidence("1")
    other.count(Totals(2, 0, 2, 0), 0.0, 1.0)
    assert not refused(other, 1 + evidence.SETTLED_SECONDS)


def test_a_condition_that_fails_for_every_event_of_a_window_is_told_and_is_over_when_it_holds_or_not() -> None:
    seen = Evidence("1")
    seen.count(Totals(3, 0, 0, 0, 3), 0.0, 1.0)
    assert not refused(seen, 1.0) and seen.open, "the next ones may be well"
    assert decided(seen, 1 + WINDOW_SECONDS)[Type.EVENTS_ACCEPTED] == "false ConditionsFail"
    for number in (1, 2):
        seen.count(Totals(3 + 5 * number, number, 0, 0, 3), 0.0, 2 + number * WINDOW_SECONDS)
    assert decided(seen, 3 + 3 * WINDOW_SECONDS)[Type.EVENTS_ACCEPTED] == "true EventsAccepted"


def test_calls_that_fail_for_every_event_of_a_window_are_told_although_the_events_go_on() -> None:
    seen = Evidence("1")
    seen.count(Totals(100, 100, 0, 0, 0, 99), 0.0, 1.0)
    assert decided(seen, 2.0)[Type.EVENTS_ACCEPTED] == "true EventsAccepted"
    other = Evidence("1")
    other.count(Totals(100, 100, 0, 0, 0, 100), 0.0, 1.0)
    assert decided(other, 2.0)[Type.EVENTS_ACCEPTED] == "false CallsFail"
    assert other.suspects(2.0)
    for number in (1, 2):
        other.count(Totals(100 + 5 * number, 100 + 5 * number, 0, 0, 0, 100), 0.0, 2 + number * WINDOW_SECONDS)
    assert decided(other, 3 + 3 * WINDOW_SECONDS)[Type.EVENTS_ACCEPTED] == "true EventsAccepted"


@pytest.mark.parametrize(
    ("totals", "trigger", "bad"),
    [
        (Totals(100, 0, 0, 0, 100), "continuous", True),
        (Totals(100, 100, 0, 0, 99), "continuous", False),
        (Totals(99, 0, 0, 0, 99), "interval", False),  # not before the window has ended
        (Totals(2, 0, 0, 0, 2), "once", True),
        (Totals(1, 100, 0, 0, 2), "once", False),  # an action makes many of one
    ],
)
def test_a_condition_that_fails_is_told_at_once_of_many_events_and_of_a_run_that_never_comes_again(
    totals: Totals, trigger: str, bad: bool
) -> None:
    seen = Evidence("1")
    if trigger == "once":
        seen.run(trigger, 1, totals.events_in, totals.events_out, 0, 0, ok=True)
    seen.count(totals, 0.0, 1.0)
    assert (decided(seen, 2.0).get(Type.EVENTS_ACCEPTED) == "false ConditionsFail") is bad


def test_what_was_refused_is_well_again_when_its_letters_are_settled() -> None:
    seen = Evidence("1")
    seen.run("once", 1, 2, 0, 2, 0, ok=True)
    assert refused(seen, 1.0)
    seen.settle()
    assert decided(seen, 2.0)[Type.EVENTS_ACCEPTED] == "true EventsAccepted"
    seen.run("once", 1, 2, 0, 2, 0, ok=True)
    assert refused(seen, 3.0)


def test_totals_that_begin_anew_are_no_faults() -> None:
    seen = Evidence("1")
    seen.count(Totals(5000, 5000, 10, 0), 0.0, 1.0)
    seen.count(Totals(3, 3, 0, 0), 0.0, 2.0)
    assert seen.totals == (3, 3, 0, 0, 0, 0) and not refused(seen, 3.0)


def test_what_waits_for_more_than_five_minutes_is_behind_until_two_windows_without() -> None:
    seen = Evidence("1")
    seen.count(Totals(10, 10, 0, 0), 301.0, 1.0)
    assert decided(seen, 1.0)[Type.KEEPING_UP] == "false Lagging"
    seen.waited(0.0, 2.0)
    for windows in (1, 2):
        seen.waited(0.0, 3 + windows * WINDOW_SECONDS)
        assert decided(seen, 3 + windows * WINDOW_SECONDS)[Type.KEEPING_UP] == "false Lagging"
    assert decided(seen, 4 + 3 * WINDOW_SECONDS)[Type.KEEPING_UP] == "true KeepsUp"


def test_an_output_that_has_taken_nothing_while_something_waits_is_not_said_to_accept() -> None:
    seen = Evidence("1")
    seen.count(Totals(5, 5, 0, 0), 0.0, 1.0)
    assert decided(seen, 2.0)[Type.OUTPUT_ACCEPTING] == "true EventsWritten"
    seen.count(Totals(6, 5, 0, 0), 400.0, 402.0)
    assert decided(seen, 402.0)[Type.OUTPUT_ACCEPTING] == "unknown NothingWrittenLately"


def test_what_an_earlier_engine_saw_stands_until_the_contrary_is_seen() -> None:
    before = tuple(
        TypedCondition(type, Status.FALSE, "EventsRefused", "3 of 3", 5, 1)
        for type in (Type.INPUT_CONNECTED, Type.EVENTS_ACCEPTED)
    )
    down = decided(None, before=before, state="assigned", reason="worker w is gone")
    assert down[Type.PLACED] == "false Withheld" and down[Type.KEEPING_UP] == "unknown NotRunning"
    assert Type.EVENTS_ACCEPTED not in down, "it is left as it was"
    seen = Evidence("1", refused=Fault(True))
    again = decided(seen, 1.0, before)
    assert Type.EVENTS_ACCEPTED not in again and Type.INPUT_CONNECTED not in again
    kept = typed_condition.after(
        before, verdicts.decide(Facts("running", "", "w", None, About(seen)), before, 1.0), 99, 2
    )
    one = next(one for one in kept if one.type is Type.EVENTS_ACCEPTED)
    assert (one.since_ns, one.message, one.observed_revision) == (5, "3 of 3", 2)


def test_since_moves_with_the_status_and_not_with_the_reason() -> None:
    def after(before: Typed, status: Status, reason: str, now_ns: int) -> TypedCondition:
        return typed_condition.after(before, {Type.RUNNING: Finding(status, reason)}, now_ns, 1)[0]

    one = after((), Status.FALSE, "Starting", 1)
    two = after((one,), Status.FALSE, "Failing", 2)
    assert (two.since_ns, two.reason) == (1, "Failing")
    three = after((two,), Status.TRUE, "Up", 3)
    assert after((three,), Status.FALSE, "Failing", 2).since_ns == 3, "a clock that went back moves nothing back"
    assert typed_condition.from_row(typed_condition.to_row((three,))) == (three,)


def test_a_deployment_is_as_the_worst_of_its_workloads() -> None:
    def one(type: Type, status: Status, since_ns: int = 1) -> TypedCondition:
        return TypedCondition(type, status, "Why", "because", since_ns, 1)

    found = typed_condition.of_all(
        [
            ("a#0", (one(Type.PLACED, Status.TRUE), one(Type.EVENTS_ACCEPTED, Status.FALSE, 9))),
            ("b#0", (one(Type.PLACED, Status.TRUE), one(Type.EVENTS_ACCEPTED, Status.FALSE, 5))),
            ("c#0", (one(Type.PLACED, Status.TRUE), one(Type.KEEPING_UP, Status.UNKNOWN))),
        ]
    )
    assert found[Type.PLACED].status is Status.TRUE
    assert found[Type.EVENTS_ACCEPTED] == (Status.FALSE, "Why", "b#0: because (and 1 more)")
    assert found[Type.KEEPING_UP].status is Status.UNKNOWN
    told = typed_condition.after((), found, 1, 1)
    assert typed_condition.warning(told) == "EventsAccepted: b#0: because (and 1 more)"
    assert typed_condition.warning((one(Type.RUNNING, Status.FALSE),)) == "", "its state tells that"
