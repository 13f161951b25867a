"""Explanations: always short, in the order of time, and with calls that can be made as they stand."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from core.explain import chain, deployments, invocations, jobs, saved_plans
from core.explain.chain import ANSWER_BYTES, Call, Cause, Explanation
from core.model.deployment import HistoryEntry
from core.model.plan import Finding, PlanBody, SavedPlan
from core.model.workload import WorkloadView
from core.operations import REGISTRY

SECOND = 1_000_000_000
NOW = 1_764_000_000 * SECOND


def check(found: Explanation) -> dict[str, Any]:
    """The answer, whose calls fit the schemas of their operations."""
    out = found.to_dict()
    for call in out["next"]:
        REGISTRY[call["call"]].validate(call["arguments"])
    return out


def entry(revision: int, action: str = "apply", **more: Any) -> HistoryEntry:
    summary = {"create": 9, "unchanged": 1}
    found = HistoryEntry(
        id=NOW + revision * SECOND,
        tenant="t",
        name="d",
        revision=revision,
        action=action,
        source="workflow:x@1",
        plan_id=f"plan_{revision}",
        username="alice",
        surface="mcp",
        summary=summary,
    )
    return dataclasses.replace(found, **more)


RUNNING = WorkloadView("t/d--a#0", "d", "a", "d--a", "abc", 0, "default", "local-1", "running", "", "", 0, {})


def workload(state: str, **more: Any) -> WorkloadView:
    return dataclasses.replace(RUNNING, state=state, **more)


def deployment(state: str, **more: Any) -> deployments.Facts:
    facts: dict[str, Any] = {
        "history": [entry(1)],
        "workloads": [workload("running")],
        "drift": [],
        "failures": [],
        "workers": [],
    }
    return deployments.Facts("d", 1, state, "", **{**facts, **more})


def test_causes_are_in_the_order_of_time_with_what_is_so_now_last() -> None:
    out = Explanation("job", "x", "failed", "", [Cause("now"), Cause("late", 2 * SECOND), Cause("early", SECOND)])
    assert [cause["what"] for cause in out.to_dict()["because"]] == ["early", "late", "now"]
    assert out.to_dict()["because"][0]["at"] == "1970-01-01T00:00:01.000Z" and out.to_dict()["because"][2]["at"] is None


@given(st.lists(st.builds(Cause, st.text(max_size=600), st.integers(0, 10**18)), max_size=60), st.text(max_size=2000))
def test_an_answer_is_short_whatever_happened(causes: list[Cause], summary: str) -> None:
    out = Explanation("job", "x", "failed", summary, causes, [Call("job_get", {"name": "x"}, "look")] * 9).to_dict()
    assert len(out["because"]) <= chain.MOST_CAUSES and len(out["next"]) <= chain.MOST_CALLS
    assert len(orjson.dumps(out)) <= 2 * ANSWER_BYTES


def test_of_a_long_chain_the_start_and_the_end_are_kept() -> None:
    out = Explanation("job", "x", "failed", "", [Cause(f"c{n}", n + 1) for n in range(50)]).to_dict()
    told = [cause["what"] for cause in out["because"]]
    assert told[:2] == ["c0", "c1"] and told[-1] == "c49" and "more in between" in told[2]


def test_a_deployment_that_is_well_says_who_applied_what_and_that_nothing_differs() -> None:
    out = check(deployments.explain(deployment("running")))
    told = [cause["what"] for cause in out["because"]]
    assert told[0] == "alice applied workflow:x@1 as revision 1 through mcp with plan_1: 9 to create"
    assert told[-1] == "all 1 workloads are up, and nothing differs from what was applied"
    assert [call["call"] for call in out["next"]] == ["deployment_get"]


def test_a_failing_job_is_named_with_its_reason_and_leads_to_its_workload_and_the_way_back() -> None:
    facts = deployment(
        "degraded",
        history=[entry(2), entry(1)],
        workloads=[workload("failed", reason="no such file", restarts=4)],
        failures=[Cause("d--a failed: no such file", NOW + 3 * SECOND)],
        drift=[{"kind": "not-running", "id": "t/d--a#0", "expected": "running", "observed": "failed"}],
        earlier=1,
    )
    out = check(deployments.explain(facts))
    assert "d--a on local-1 is failed after 4 restarts: no such file" in [cause["what"] for cause in out["because"]]
    assert [(call["call"], call["arguments"]) for call in out["next"]] == [
        ("explain", {"kind": "workload", "id": "d--a#0"}),
        ("deployment_plan", {"name": "d", "to_revision": 1}),
    ]


def test_a_lost_worker_leads_to_reconcile_and_a_rollback_tells_its_reason() -> None:
    drift = [{"kind": "worker-offline", "id": "t/d--a#0", "expected": "w online", "observed": "w is not there"}]
    history = [entry(3, "rollback", plan_id="", reason="revision 2 was taken back: x is failed"), entry(2)]
    out = check(deployments.explain(deployment("degraded", drift=drift, history=history)))
    told = [cause["what"] for cause in out["because"]]
    assert any("took back workflow:x@1 as revision 3 through mcp: revision 2 was taken back" in what for what in told)
    assert "deployment_reconcile" in [call["call"] for call in out["next"]]


def test_a_removed_deployment_leads_to_what_ran_last() -> None:
    facts = deployment("removed", workloads=[], history=[entry(2, "remove"), entry(1)], earlier=1)
    out = check(deployments.explain(facts))
    assert out["next"][0]["arguments"] == {"name": "d", "to_revision": 1}


def record(state: str, *events: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "invocation_id": "inv_1",
        "trigger_slug": "smoke",
        "trigger_revision": 1,
        "state": state,
        "params": {"env": "prod"},
        "caller": {"username": "bob"},
        "surface": "http",
        "requested_at_ns": NOW,
        "deadline_ns": NOW + 5 * SECOND,
        "finished_at_ns": NOW + 6 * SECOND,
        "attempts": 1,
        "result": {},
        "events": [{"type": "accepted", "at_ns": NOW}, {"type": "dispatched", "at_ns": NOW + 1}, *events],
        **more,
    }


def invoked(one: dict[str, Any], there: list[WorkloadView]) -> dict[str, Any]:
    return check(invocations.explain(invocations.Facts(one, "handler", there, [], [])))


def test_a_run_that_timed_out_tells_the_deadline_and_what_was_redelivered() -> None:
    again = {"type": "redelivered", "at_ns": NOW + SECOND, "attempt": 2}
    late = {"type": "timed_out", "at_ns": NOW + 5 * SECOND}
    out = invoked(record("timed_out", again, late, attempts=2), [workload("running", job="handler")])
    told = " / ".join(cause["what"] for cause in out["because"])
    assert "the worker that had the message died; it was delivered again (attempt 2)" in told
    assert "the deadline for a valid trigger_response passed" in told
    assert "in 2 attempts" in out["summary"] and "No valid response came before" in out["summary"]
    assert [call["call"] for call in out["next"]] == ["explain", "trigger_get", "trigger_invoke"]


def test_a_run_without_a_deployed_job_says_so_and_does_not_suggest_to_repeat_it() -> None:
    result = {"error_code": "target_unavailable", "error_message": "No deployed job handler listens."}
    out = invoked(record("failed", result=result), [])
    told = [cause["what"] for cause in out["because"]]
    assert "job handler is not deployed now" in told
    assert "target_unavailable: No deployed job handler listens." in told
    assert "trigger_invoke" not in [call["call"] for call in out["next"]]


def test_a_run_that_is_under_way_leads_to_waiting_and_one_that_succeeded_to_its_result() -> None:
    under_way = invoked(record("dispatched", finished_at_ns=None), [workload("running")])
    assert under_way["next"][0]["arguments"] == {"invocation_id": "inv_1", "wait_seconds": 30}
    done = invoked(record("succeeded", {"type": "succeeded", "at_ns": NOW + SECOND, "by": "response"}), [])
    assert done["because"][-1]["what"] in (
        "the record ended as succeeded (response)",
        "job handler is not deployed now",
    )


def test_the_worst_replica_decides_what_a_job_is_said_to_be() -> None:
    there = [workload("running"), workload("failed", id="t/d--a#1", reason="boom")]
    out = check(jobs.explain(jobs.Facts("d--a", there, [], [], [])))
    assert out["state"] == "failed" and "1 of 2 replicas up; it belongs to deployment d." in out["summary"]
    staged = check(jobs.explain(jobs.Facts("j", [], [], [], [], staged=3)))
    assert staged["state"] == "staged" and staged["next"][0]["call"] == "job_deploy"


def saved(standing: str, blockers: tuple[Finding, ...] = ()) -> SavedPlan:
    desired = {"source": "workflow:x@1", "values": {"path": "/p"}}
    return SavedPlan(
        id="plan_1",
        tenant="t",
        name="d",
        state=standing,
        base_revision=1,
        digest="",
        username="alice",
        created_at_ns=NOW,
        expires_at_ns=NOW + SECOND,
        body=PlanBody(desired, False, (), (), {"create": 2}, (), blockers),
        standing=standing,
        applied_as=2,
    )


def test_a_stale_plan_tells_what_moved_and_leads_to_the_same_plan_anew() -> None:
    out = check(saved_plans.explain(saved_plans.Facts(saved("stale"), 2, [entry(2)])))
    assert "is at revision 2" in out["summary"]
    assert "as revision 2" in out["because"][1]["what"]
    assert out["next"][0]["arguments"] == {"name": "d", "source": "workflow:x@1", "values": {"path": "/p"}}


def test_a_blocked_plan_tells_every_blocker_and_an_open_one_leads_to_its_apply() -> None:
    blockers = (Finding("missing_secret", "missing secret a/b.", "Set it."),)
    blocked = check(saved_plans.explain(saved_plans.Facts(saved("open", blockers=blockers), 1, [])))
    assert "blocker missing_secret: missing secret a/b. Set it." in [cause["what"] for cause in blocked["because"]]
    assert [call["call"] for call in blocked["next"]] == ["deployment_plan"]
    fine = check(saved_plans.explain(saved_plans.Facts(saved("open"), 1, [])))
    assert [call["call"] for call in fine["next"]] == ["plan_get", "deployment_apply"]
    for standing in ("applied", "expired", "discarded"):
        assert check(saved_plans.explain(saved_plans.Facts(saved(standing), 2, [])))["state"] == standing
