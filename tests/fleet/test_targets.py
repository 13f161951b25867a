"""Whether what a workload connects to is there: when an outage is told, what ends it, and what it says."""

from __future__ import annotations

from core.fleet import targets, verdicts
from core.fleet.evidence import Evidence, Totals
from core.fleet.verdicts import About, Facts
from core.model import frames, typed_condition
from core.model.typed_condition import Finding, Status, Type, Typed, TypedCondition

LONG = targets.OUTAGE_SECONDS
REFUSED = frames.TargetOutage("http-post", "HTTP server", 10**18, 4, "http://a/ cannot be reached: refused")
BEFORE: Typed = (TypedCondition(Type.OUTPUT_ACCEPTING, Status.FALSE, "NotAccepting", "as it was", 5, 1),)


def over(outage: frames.TargetOutage = REFUSED) -> frames.TargetOutage:
    return frames.TargetOutage("http-post", "HTTP server", outage.since_ns, outage.tries, outage.reason, 2 * 10**18)


def decide(seen: Evidence, now: float, before: Typed = (), state: str = "running") -> dict[Type, Finding | None]:
    seen.age(now)
    return dict(verdicts.decide(Facts(state, "", "w", None, About(seen)), before, now))


def accepting(seen: Evidence, now: float, before: Typed = (), state: str = "running") -> str:
    """Status and reason; empty: it is left as it was."""
    found = decide(seen, now, before, state)[Type.OUTPUT_ACCEPTING]
    return "" if found is None else f"{found.status} {found.reason}"


def connected(seen: Evidence, now: float) -> str:
    found = decide(seen, now)[Type.INPUT_CONNECTED]
    return "" if found is None else f"{found.status} {found.reason}"


def tell(seen: Evidence, now: float, outage: frames.TargetOutage | None, written: int = 0) -> None:
    seen.count(Totals(written, written), 0.0, now, sink=outage)


def test_an_output_that_tries_in_vain_for_long_accepts_nothing_and_says_why_and_what_to_do() -> None:
    seen = Evidence("1")
    tell(seen, 1.0, None, written=3)
    tell(seen, 2.0, REFUSED, written=3)
    assert accepting(seen, 1 + LONG) == "true EventsWritten", "a moment is no outage"
    assert seen.open, "time alone may make it one"
    before = seen.turns(1 + LONG)
    assert accepting(seen, 2 + LONG) == "false NotAccepting"
    assert seen.turns(2 + LONG) != before, "it is to be decided anew"
    found = decide(seen, 2 + LONG)[Type.OUTPUT_ACCEPTING]
    assert found is not None
    for said in ("http-post", "HTTP server", "4 tries since 2001-09-09T01:46:40Z", "refused", "mend it"):
        assert said in found.message


def test_it_accepts_again_as_soon_as_a_try_comes_through() -> None:
    seen = Evidence("1")
    tell(seen, 0.0, REFUSED)
    assert accepting(seen, LONG) == "false NotAccepting"
    tell(seen, LONG + 1, over(), written=1)
    assert accepting(seen, LONG + 1) == "true EventsWritten" and not seen.open


def test_outages_that_end_before_they_are_long_are_told_by_nobody() -> None:
    """A target that takes some requests and refuses others begins an outage each time, and is there."""
    seen = Evidence("1")
    for number in range(30):
        again = frames.TargetOutage("http-post", "HTTP server", 10**18 + number, 1, "503")
        tell(seen, number * LONG / 2, again, written=number)
        assert not accepting(seen, number * LONG / 2).startswith("false")


def test_a_worker_that_began_anew_has_not_tried_yet_and_says_nothing_of_the_outage() -> None:
    seen = Evidence("1")
    tell(seen, 0.0, None, written=9)
    tell(seen, 0.0, REFUSED, written=9)
    assert accepting(seen, LONG) == "false NotAccepting"
    assert accepting(seen, LONG, BEFORE, "assigned") == "", "it stays false while the job is down"
    tell(seen, LONG + 1, None)
    assert accepting(seen, LONG + 1) == "false NotAccepting"
    tell(seen, LONG + 2, None, written=1)
    assert accepting(seen, LONG + 2) == "true EventsWritten"


def test_an_outage_that_an_earlier_engine_saw_stays_as_it_was_told_until_it_ends() -> None:
    seen = Evidence("1")
    seen.sink.stands = True
    tell(seen, 0.0, REFUSED, written=7)  # the worker of another machine has gone on
    assert accepting(seen, 1.0, BEFORE) == ""
    assert accepting(seen, LONG, BEFORE) == "false NotAccepting"
    tell(seen, LONG + 1, over(), written=8)
    assert accepting(seen, LONG + 1, BEFORE) == "true EventsWritten"


def test_a_long_outage_is_put_in_words_again_now_and_then() -> None:
    seen = Evidence("1")
    tell(seen, 0.0, REFUSED)
    seen.age(LONG)
    before = seen.turns(LONG)
    tell(seen, LONG + 1, frames.TargetOutage("http-post", "HTTP server", REFUSED.since_ns, 50, "answered 503"))
    seen.age(LONG + 1)
    assert seen.turns(LONG + 1) == before
    seen.age(LONG + targets.WORDED_SECONDS)
    assert "50 tries" in seen.sink.how and "answered 503" in seen.sink.how


def test_an_input_that_does_not_reach_what_it_reads_from_is_not_connected_until_it_does() -> None:
    seen = Evidence("1")
    seen.count(Totals(4, 4), 0.0, 0.0, source=REFUSED)
    assert connected(seen, 1.0) == "true EventsRead"
    assert connected(seen, LONG) == "false NotConnected"
    seen.count(Totals(4, 4), 0.0, LONG + 1, source=over())
    assert connected(seen, LONG + 1) == "true EventsRead"
    quiet = Evidence("1")
    quiet.count(Totals(), 0.0, 0.0, source=REFUSED)
    assert connected(quiet, LONG) == "false NotConnected"
    quiet.count(Totals(), 0.0, LONG + 1, source=over())
    assert connected(quiet, LONG + 1) == "true Connected", "it was reached, and had nothing"


def test_what_a_worker_says_is_one_line_and_short_and_the_way_out_is_kept() -> None:
    seen = Evidence("1")
    tell(seen, 0.0, frames.TargetOutage("a\nb" * 500, "c\x1b" * 500, 2**63 - 1, 2**63 - 1, "d\n" * 5000))
    found = decide(seen, LONG)[Type.OUTPUT_ACCEPTING]
    assert found is not None and found.message.isprintable()
    assert len(found.message) <= typed_condition.MOST_MESSAGE and found.message.endswith("what the job says of it")
