"""Drift: what is told, and what is done about it."""

from __future__ import annotations

from collections.abc import Iterable

from core.deployments import healing, reconcile
from core.deployments.reconcile import Decision, Drift, DriftKind, Presence, Seen, Step, StepAction
from core.model.deployment import State, Worker, workloads
from tests.deployments.documents import make, quickstart

HERE = (Presence(Worker("w1", "default")), Presence(Worker("w2", "default")))


def wish() -> State:
    return make(quickstart(), values={"path": "/tmp/x"}, workers=[one.worker for one in HERE]).desired


def all_running(state: State) -> dict[str, Seen]:
    return {one.id: Seen(one.id, one.worker, one.version, "running") for one in workloads("t", state)}


def drift(state: State, seen: dict[str, Seen], workers: Iterable[Presence] = HERE) -> list[reconcile.Drift]:
    return reconcile.drift("t", state, seen, {one.worker.name: one for one in workers})


def decide(
    state: State, seen: dict[str, Seen], workers: Iterable[Presence] = HERE, patience: float = 10.0
) -> reconcile.Decision:
    return reconcile.decide("t", state, seen, list(workers), patience_seconds=patience)


PRINT = "t/demo--print#0"
GONE = (HERE[0], Presence(Worker("w2", "default", online=False), gone_seconds=5.0))


def test_what_runs_as_applied_has_no_drift_and_needs_no_step() -> None:
    state = wish()
    assert drift(state, all_running(state)) == []
    decided = decide(state, all_running(state))
    assert decided.steps == ()
    assert decided.assignments == state.assignments


def test_a_completed_job_is_no_drift_even_when_its_worker_is_gone() -> None:
    state = wish()
    seen = all_running(state)
    for id, one in seen.items():
        seen[id] = Seen(id, one.worker, one.version, "completed")
    assert drift(state, seen, GONE) == []


def test_a_replica_that_is_not_there_is_missing_and_assigned() -> None:
    state = wish()
    seen = all_running(state)
    del seen[PRINT]
    assert [(d.kind, d.id) for d in drift(state, seen)] == [(DriftKind.MISSING, PRINT)]
    assert [(s.action, s.id, s.worker) for s in decide(state, seen).steps] == [(StepAction.ASSIGN, PRINT, "w2")]


def test_something_that_nobody_wished_for_is_extra_and_unassigned() -> None:
    state = wish()
    seen = all_running(state) | {"t/x#0": Seen("t/x#0", "w1", "v", "running")}
    assert [(d.kind, d.expected, d.observed) for d in drift(state, seen)] == [
        (DriftKind.EXTRA, "nothing", "running on w1")
    ]
    assert [(s.action, s.worker) for s in decide(state, seen).steps] == [(StepAction.UNASSIGN, "w1")]


def test_another_version_is_out_of_sync_and_another_worker_is_moved() -> None:
    state = wish()
    version = state.jobs["demo--print"].version
    for other, kind in (
        (Seen(PRINT, "w2", "old", "running"), DriftKind.OUT_OF_SYNC),
        (Seen(PRINT, "w1", version, "running"), DriftKind.MOVED),
    ):
        seen = all_running(state) | {PRINT: other}
        assert [d.kind for d in drift(state, seen)] == [kind]
        assert [s.action for s in decide(state, seen).steps] == [StepAction.ASSIGN]


def test_a_failed_job_is_not_running_and_mends_itself() -> None:
    state = wish()
    seen = all_running(state)
    seen[PRINT] = Seen(PRINT, "w2", seen[PRINT].version, "failed", "no such directory")
    assert [(d.kind, d.observed) for d in drift(state, seen)] == [(DriftKind.NOT_RUNNING, "failed: no such directory")]
    assert [s.action for s in decide(state, seen).steps] == [StepAction.WAIT]


def test_a_worker_that_has_just_gone_keeps_its_replicas() -> None:
    state = wish()
    assert {d.kind for d in drift(state, all_running(state), GONE)} == {DriftKind.WORKER_OFFLINE}
    decided = decide(state, all_running(state), GONE)
    assert {step.action for step in decided.steps} == {StepAction.WAIT}
    assert decided.assignments == state.assignments


def test_a_worker_that_stays_away_loses_its_replicas_within_its_group() -> None:
    state = wish()
    decided = decide(state, all_running(state), GONE, patience=3.0)
    moved = {step.id: step.worker for step in decided.steps if step.action is StepAction.MOVE}
    assert moved == {PRINT: "w1", "t/demo--print--roundtrip-reader#0": "w1"}
    assert decided.assignments["demo--print"] == ("w1",)
    assert decided.assignments["demo--generate"] == state.assignments["demo--generate"]


def test_a_job_that_is_complete_is_not_run_again_elsewhere() -> None:
    state = wish()
    seen = all_running(state)
    seen[PRINT] = Seen(PRINT, "w2", seen[PRINT].version, "completed")
    drained = (HERE[0], Presence(Worker("w2", "default", drained=True)))
    for workers in (GONE, drained):
        moved = {step.id for step in decide(state, seen, workers, patience=3.0).steps}
        assert moved == {"t/demo--print--roundtrip-reader#0"}


def test_replicas_stay_when_no_worker_of_the_group_could_take_them() -> None:
    state = wish()
    nobody = tuple(Presence(Worker(name, "default", online=False), 99.0) for name in ("w1", "w2"))
    decided = decide(state, all_running(state), nobody, patience=3.0)
    assert decided.assignments == state.assignments
    assert {step.action for step in decided.steps} == {StepAction.WAIT}


def test_taking_the_moves_leaves_no_drift() -> None:
    state = wish()
    decided = decide(state, all_running(state), GONE, patience=3.0)
    after = State.from_dict({**state.to_dict(), "assignments": {k: list(v) for k, v in decided.assignments.items()}})
    assert drift(after, all_running(after), GONE) == []


def test_what_is_done_for_one_reason_is_told_together() -> None:
    drained = [Step(StepAction.MOVE, f"t/d--a#{n}", "w2", "w1 is drained") for n in range(50)]
    others = [Step(StepAction.ASSIGN, f"t/d--{name}#0", "w1", f"{name} was edited") for name in "bcd"]
    waiting = Step(StepAction.WAIT, "t/d--e#0", "w1", "it restarts")
    drift = (Drift(DriftKind.MODIFIED, "t/d--b#0", "x", "y"),)
    assert healing.explain(Decision(drift, (*drained, waiting, *others), {})) == (
        "1 modified: move d--a#0, d--a#1, d--a#2 and 47 more: w1 is drained; assign d--b#0: b was edited;"
        " assign d--c#0: c was edited (and 1 more)"
    )


def test_what_is_up_again_after_a_failure_is_not_running_and_is_waited_for() -> None:
    state = wish()
    seen = all_running(state)
    id = next(iter(seen))
    seen[id] = Seen(id, seen[id].worker, seen[id].version, "running", "up again after it failed: x", failing="x")
    decided = reconcile.decide("t", state, seen, HERE, patience_seconds=60)
    assert [(one.kind, one.id, one.observed) for one in decided.drift] == [
        (DriftKind.NOT_RUNNING, id, "up again after it failed: x")
    ]
    assert [step.action for step in decided.steps] == [StepAction.WAIT] and not decided.acts
