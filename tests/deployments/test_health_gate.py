"""The health gate: it opens for what comes up and stays up, and closes on what fails again and again or is too late."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from core.deployments.health_gate import (
    MOST_FAILURES,
    SHOWN_REASONS,
    Fault,
    Gate,
    Verdict,
    Watch,
    excusing,
    explain_before,
    explain_faults,
)
from core.model.condition import Condition, Health
from core.model.workload import WorkloadRow, WorkloadView

WANTED = {"t/a#0": "a", "t/b#0": "b"}


def seen(id: str, state: str, restarts: int = 0, reason: str = "", failing: str = "") -> WorkloadView:
    return WorkloadView(id, "d", "", id[2], "1", 0, "default", "w1", state, reason, failing, restarts, {})


def watch(**gate: Any) -> Watch:
    return Watch(Gate(**gate), WANTED, started=100.0)


UP = [seen("t/a#0", "running"), seen("t/b#0", "completed")]


def test_it_is_healthy_when_everything_is_up_and_has_stayed_up() -> None:
    one = watch()
    assert one.judge(UP, 100.0) is Verdict.PENDING
    assert one.due(100.0) == pytest.approx(one.gate.steady_seconds)
    assert one.judge(UP, 100.01 + one.gate.steady_seconds) is Verdict.HEALTHY
    assert one.progress() == "2 of 2 workloads are up"


WARNED = Condition(Health.WARNING, 1, "EventsAccepted: none came through")


def test_only_a_strict_gate_takes_a_warning_for_not_come_up() -> None:
    odd = dataclasses.replace(UP[0], reason="EventsAccepted: none came through", condition=WARNED)
    plain, strict = watch(), watch(strict=True, seconds=8)
    for one in (plain, strict):
        one.judge([odd, UP[1]], 100.0)
    assert plain.judge([odd, UP[1]], 100.4) is Verdict.HEALTHY
    assert strict.judge([odd, UP[1]], 100.4) is Verdict.PENDING
    assert strict.judge([odd, UP[1]], 108.0) is Verdict.UNHEALTHY
    assert "a is running: EventsAccepted: none came through" in explain_faults(strict.faults, 2)
    assert Gate.from_text(strict.gate.to_text()) == strict.gate
    quick = watch(strict=True, seconds=8)
    quick.judge(UP, 100.0)
    assert quick.judge(UP, 103.9) is Verdict.PENDING, "it takes a while to see that events are refused"
    assert quick.judge(UP, 104.0) is Verdict.HEALTHY


def test_what_falls_over_in_between_starts_the_count_anew() -> None:
    one = watch()
    one.judge(UP, 100.0)
    assert one.judge([seen("t/a#0", "failed"), UP[1]], 100.1) is Verdict.PENDING
    assert one.judge([seen("t/a#0", "running", 1), UP[1]], 100.4) is Verdict.PENDING
    assert one.judge([seen("t/a#0", "running", 1), UP[1]], 100.8) is Verdict.HEALTHY


def test_a_restart_between_two_looks_is_seen() -> None:
    one = watch()
    one.judge(UP, 100.0)
    assert one.judge([seen("t/a#0", "running", 1), UP[1]], 110.0) is Verdict.PENDING


def test_a_version_that_may_be_taken_back_has_to_stay_up_for_longer() -> None:
    assert watch(back_to=0).gate.steady_seconds > watch().gate.steady_seconds


def test_what_fails_again_and_again_is_not_waited_for() -> None:
    one = watch(seconds=600)
    for failures in range(1, MOST_FAILURES):
        assert one.judge([seen("t/a#0", "failed", failures - 1, "no such file"), UP[1]], 100.0) is Verdict.PENDING
    assert one.judge([seen("t/a#0", "failed", MOST_FAILURES - 1, "no such file"), UP[1]], 100.0) is Verdict.UNHEALTHY
    assert explain_faults(one.faults, 2) == "1 of 2 workloads did not come up: a is failed: no such file"


def test_failures_before_the_apply_do_not_count() -> None:
    one = watch()
    assert one.judge([seen("t/a#0", "failed", 50), UP[1]], 100.0) is Verdict.PENDING
    assert one.judge([seen("t/a#0", "failed", 50 + MOST_FAILURES), UP[1]], 100.0) is Verdict.UNHEALTHY


def test_what_is_not_there_by_the_deadline_is_told_by_name() -> None:
    one = watch(seconds=5)
    assert one.judge([UP[0]], 104.9) is Verdict.PENDING
    assert one.due(104.9) == pytest.approx(0.1)
    assert one.judge([UP[0]], 105.0) is Verdict.UNHEALTHY
    assert one.faults == [Fault("t/b#0", "b", "", "missing", "nothing runs it")]
    assert one.progress().startswith("1 of 2 workloads are up; b is missing")


def test_many_faults_are_told_short() -> None:
    faults = [Fault(f"t/j{n}#0", f"j{n}", "w", "failed", "x") for n in range(10)]
    assert explain_faults(faults, 10).endswith(f"(and {10 - SHOWN_REASONS} more)")


def test_a_gate_survives_being_stored() -> None:
    gate = Gate(12, 3, "plan_x", frozenset({"t/b#0", "t/a#0"}), frozenset({"t/a#0"}))
    assert Gate.from_text(gate.to_text()) == gate
    assert Gate.from_text("") == Gate()


def test_what_is_up_again_after_a_failure_is_waited_for_until_it_has_come_through() -> None:
    one = watch()
    again = seen("t/a#0", "running", 1, "up again after it failed: no such file", failing="no such file")
    assert one.judge([again, UP[1]], 100.0) is Verdict.PENDING
    assert one.judge([again, UP[1]], 120.0) is Verdict.PENDING
    assert one.progress() == "1 of 2 workloads are up; a is running: up again after it failed: no such file"
    assert one.judge([seen("t/a#0", "running", 1), UP[1]], 120.0) is Verdict.PENDING
    assert one.judge([seen("t/a#0", "running", 1), UP[1]], 120.01 + one.gate.steady_seconds) is Verdict.HEALTHY


def stored(id: str, *, version: str = "1", worker: str = "w1", document: str = "{}") -> WorkloadRow:
    return WorkloadRow(id, "t", "d", "", id[2], version, 0, "default", worker, document, 0)


BROKEN = [
    seen("t/a#0", "running"),
    seen("t/b#0", "failed", 9, "no such file"),
    seen("t/c#0", "assigned", 0, "w2 is gone"),
]


def test_what_was_unwell_before_and_is_not_touched_is_not_judged() -> None:
    before = [stored("t/a#0"), stored("t/b#0"), stored("t/c#0")]
    assert excusing(Gate(), before, before, BROKEN, (), under_way=False).excused == {"t/b#0", "t/c#0"}
    touched = [stored("t/a#0"), stored("t/b#0", version="2"), stored("t/c#0", worker="w1", document="[]")]
    assert excusing(Gate(), touched, before, BROKEN, (), under_way=False).excused == set()
    assert excusing(Gate(), [stored("t/d#0")], before, BROKEN, (), under_way=False).excused == set()


def test_what_is_just_coming_up_is_judged() -> None:
    before = [stored("t/a#0"), stored("t/b#0")]
    coming = [seen("t/a#0", "assigned"), seen("t/b#0", "starting")]
    assert excusing(Gate(), before, before, coming, (), under_way=False).excused == set()


def test_a_gate_that_is_under_way_goes_on_to_judge_what_it_judged() -> None:
    before = [stored("t/a#0"), stored("t/b#0"), stored("t/c#0")]
    gate = Gate(excused=frozenset({"t/c#0"}))
    assert excusing(gate, before, before, BROKEN, (), under_way=True).excused == {"t/c#0"}
    moved = [*before[:2], stored("t/c#0", worker="w2")]
    assert excusing(gate, moved, before, BROKEN, (), under_way=True).excused == set()


def test_the_way_back_is_not_taken_for_what_was_unwell_before() -> None:
    one = Watch(Gate(seconds=5, back_to=1, excused=frozenset({"t/b#0"})), {"t/a#0": "a"}, started=100.0)
    assert one.judge(BROKEN, 100.0) is Verdict.PENDING
    assert one.judge(BROKEN, 104.0) is Verdict.HEALTHY
    assert explain_before(one.unwell_before) == "unwell before, and not touched: b is failed: no such file"
    assert one.judge([BROKEN[0], seen("t/b#0", "running")], 104.0) is Verdict.HEALTHY
    assert explain_before(one.unwell_before) == ""


def test_what_was_unwell_next_to_what_is_touched_is_waited_for_and_not_judged() -> None:
    before = [stored("t/a#0"), stored("t/b#0"), stored("t/c#0")]
    wanted = [stored("t/a#0", version="2"), *before[1:]]
    gate = excusing(Gate(seconds=5, back_to=1), wanted, before, BROKEN, [("a", "b"), ("c",)], under_way=False)
    assert (gate.excused, gate.awaited) == ({"t/b#0", "t/c#0"}, {"t/b#0"})
    later = [stored("t/b#0", worker="w2"), before[2]]
    assert excusing(gate, later, before, BROKEN, [("a", "b")], under_way=True).awaited == set()
    one = Watch(gate, {"t/a#0": "a"}, started=100.0)
    well, wait = [BROKEN[0], seen("t/b#0", "running")], one.gate.steady_seconds + 0.01
    one.judge(BROKEN, 100.0)
    assert one.judge(BROKEN, 100.0 + wait) is Verdict.PENDING
    assert one.due(100.0 + wait) == pytest.approx(5 - wait)
    assert one.judge(well, 103.0) is Verdict.HEALTHY
    assert one.judge(BROKEN, 105.0) is Verdict.HEALTHY  # the time is over, and it is not held against the apply
    assert sorted(fault.workload for fault in one.unwell_before) == ["t/b#0", "t/c#0"]
