"""Explanations: always short, in the order of time, and with calls that can be made as they stand."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from core import clock
from core.explain import chain, deployments, invocations, jobs, saved_plans, targets, triggers
from core.explain.chain import ANSWER_BYTES, Call, Cause, Explanation
from core.explain.schedules import Timing
from core.model.deployment import HistoryEntry
from core.model.plan import Finding, PlanBody, SavedPlan
from core.model.schedule import Punctuality, Schedule
from core.model.trigger import Definition
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


def invoked(one: dict[str, Any], there: list[WorkloadView], **more: Any) -> dict[str, Any]:
    return check(invocations.explain(invocations.Facts(one, "handler", there, [], [], **more)))


def test_a_run_that_timed_out_tells_the_deadline_and_what_was_redelivered() -> None:
    again = {"type": "redelivered", "at_ns": NOW + SECOND, "attempt": 2}
    late = {"type": "timed_out", "at_ns": NOW + 5 * SECOND}
    out = invoked(record("timed_out", again, late, attempts=2), [workload("running", job="handler")])
    told = " / ".join(cause["what"] for cause in out["because"])
    assert "its worker or the engine went away" in told and "delivered again (attempt 2)" in told
    assert "the deadline for a valid trigger_response passed" in told
    assert "in 2 attempts" in out["summary"] and "No valid response came before" in out["summary"]
    assert "handler had not ended its run by then" in out["summary"]
    assert [call["call"] for call in out["next"]] == ["explain", "trigger_get"]


def test_a_run_again_is_offered_where_it_does_no_harm_and_can_be_made() -> None:
    for again, offered in ((True, ["explain", "trigger_get", "trigger_invoke"]), (False, ["explain", "trigger_get"])):
        out = invoked(record("timed_out"), [workload("running")], again=again)
        assert [call["call"] for call in out["next"]] == offered


NEVER = targets.Mismatch("never_answers", "The document of job handler has no trigger_response.", [])


def test_a_run_whose_job_ended_and_said_nothing_tells_exactly_that() -> None:
    end = invocations.RunEnd(NOW + 2 * SECOND, 1, 1, "file /data/report.csv")
    out = invoked(record("timed_out"), [workload("running")], slot="export.reply", mismatches=[NEVER], end=end)
    assert (
        "handler ended ok at 2025-11-24T16:00:02.000Z, 1 event to file /data/report.csv, and sent nothing valid to "
        "slot export.reply; its document has no trigger_response: add respond, as output or emit, or remove "
        "response_slot. The work may be done already; a run again would do it once more."
    ) in out["summary"]
    assert out["next"][0]["arguments"] == {"kind": "trigger", "id": "smoke"}
    several = invocations.RunEnd(NOW + 2 * SECOND, 7, 3, "print")
    failed = {"type": "run_failed", "at_ns": NOW + SECOND, "reason": "disk full"}
    out = invoked(record("timed_out", failed), [workload("running")], slot="s", end=several)
    assert "handler failed (disk full) at" in out["summary"]
    assert "7 events to print in the 3 runs around then" in out["summary"]


def test_a_message_that_nobody_took_did_nothing() -> None:
    late = {"type": "timed_out", "at_ns": NOW + 5 * SECOND, "withdrawn": True}
    out = invoked(record("timed_out", late), [workload("failed")])
    assert "No replica of handler had taken its message, which was withdrawn: nothing of it was done." in out["summary"]


def test_a_trigger_tells_what_does_not_fit_and_what_mends_it_who_may() -> None:
    definition = Definition(slug="smoke", tenant_id="t", target_job_name="handler")
    mend = [Call("job_deploy", {"name": "handler"}, "run it")]
    gone = targets.Mismatch("target_not_deployed", "No job handler is deployed.", mend)
    facts = triggers.Facts(definition, 2, True, [Cause("alice published revision 2", NOW)], [gone], 0, 0, True)
    out = check(triggers.explain(facts))
    assert (out["state"], out["next"]) == ("active", [mend[0].to_dict()])
    assert "No job handler is deployed." in out["summary"]
    read_only = check(triggers.explain(replace(facts, may_write=False)))
    assert [call["call"] for call in read_only["next"]] == ["trigger_get"]
    off = check(triggers.explain(replace(facts, active=False, mismatches=[], replicas=2, running=1)))
    assert off["state"] == "inactive"
    assert [call["call"] for call in off["next"]] == ["trigger_revise", "explain"]


def timing(code: str, message: str = "", **more: Any) -> Timing:
    schedule = Schedule("t", "d--a", timing="", settled_ns=NOW, **more)
    on_time = {"on_time": True, "paused": None}.get(code, False)
    return Timing(schedule, Punctuality(on_time, code, message, 0, NOW), "2026-11-28T02:30:00+01:00")


FINE = timing("on_time")
PAUSED = timing("paused", paused_at_ns=NOW, paused_by="alice", pause_reason="the source moves")
MISSED = timing("missed", "2 firings were missed, the last one of 2026-11-27T02:30:00.000Z", missed_since=2)
LATE = timing("late", "the firing of 2026-11-27T02:30:00.000Z has not come")
TIMINGS = (FINE, PAUSED, MISSED, LATE)
DEPTH = {"invocation": 0, "plan": 0, "trigger": 1, "deployment": 1, "job": 2, "workload": 2, "worker": 3}


def test_no_two_explanations_point_at_each_other() -> None:
    """Each leads to what is further down, so that who follows them arrives."""
    bad, fine = workload("failed", failing="boom"), workload("running")
    definition = Definition(slug="smoke", tenant_id="t", target_job_name="handler")
    drift = [{"kind": "missing", "id": "t/d--a#0", "expected": "running", "observed": "gone"}]
    found = [
        *(invocations.Facts(record(state), "handler", there, [], [], again=True, mismatches=gaps)
          for state in ("dispatched", "succeeded", "failed", "timed_out", "canceled")
          for there in ([], [fine], [bad]) for gaps in ([], [NEVER])),
        *(triggers.Facts(definition, 1, active, [], gaps, 2, up, True)
          for active in (True, False) for gaps in ([], [NEVER]) for up in (0, 2)),
        *(deployment(state, workloads=[one], drift=more)
          for state in ("running", "degraded", "removed", "applying")
          for one in (fine, bad, workload("quarantined")) for more in ([], drift)),
        *(deployment("running", workloads=[one], timings=[timing], absent=away)
          for one in (fine, bad) for timing in TIMINGS for away in ([], ["w"])),
        *(jobs.Facts("j", [one], [], [], [], timing=timing, absent=away)
          for one in (fine, bad) for timing in TIMINGS for away in ([], ["w"])),
        *(jobs.Facts("j", there, [], [], [], staged, name)
          for there in ([], [fine], [bad], [workload("quarantined")], [workload("assigned")])
          for staged in (None, 1) for name in ("", "j#0")),
        *(saved_plans.Facts(saved(state), 2, []) for state in ("open", "applied", "stale", "expired", "discarded")),
    ]  # fmt: skip
    explain = {
        invocations.Facts: invocations.explain,
        triggers.Facts: triggers.explain,
        deployments.Facts: deployments.explain,
        jobs.Facts: jobs.explain,
        saved_plans.Facts: saved_plans.explain,
    }
    pairs = set()
    for facts in found:
        out = check(explain[type(facts)](facts))
        ways = [call["arguments"]["kind"] for call in out["next"] if call["call"] == "explain"]
        assert all(DEPTH[out["kind"]] < DEPTH[kind] for kind in ways), (out["kind"], ways)
        pairs |= {(out["kind"], kind) for kind in ways}
    assert {("invocation", "trigger"), ("invocation", "job"), ("trigger", "job"), ("deployment", "workload")} <= pairs
    assert {("deployment", "job"), ("deployment", "worker"), ("job", "worker")} <= pairs


def test_a_pause_is_told_with_who_since_why_and_the_call_that_resumes() -> None:
    of_job = check(jobs.explain(jobs.Facts("d--a", [workload("running")], [], [], [], timing=PAUSED)))
    of_deployment = check(deployments.explain(deployment("running", timings=[FINE, PAUSED])))
    for out in (of_job, of_deployment):
        said = f"The schedule of d--a is paused by alice since {clock.iso(NOW)}: the source moves"
        assert f"{said}." in out["summary"]
        assert {"at": clock.iso(NOW), "what": said} in out["because"]
        assert out["next"][0]["call"] == "schedule_resume"
        assert out["next"][0]["arguments"] == {"name": "d--a"}


def test_missed_and_late_firings_are_told_and_a_schedule_in_time_only_by_its_job() -> None:
    for timing, said in ((MISSED, "2 firings were missed"), (LATE, "has not come")):
        out = check(jobs.explain(jobs.Facts("d--a", [workload("running")], [], [], [], timing=timing)))
        assert said in out["summary"]
        assert "its schedule fires next at 2026-11-28T02:30:00+01:00" in [one["what"] for one in out["because"]]
        assert out["next"][0]["call"] == "schedule_get"
        assert said in check(deployments.explain(deployment("running", timings=[timing])))["summary"]
    quiet = check(jobs.explain(jobs.Facts("d--a", [workload("running")], [], [], [], timing=FINE)))
    assert "schedule" not in quiet["summary"] and "schedule_get" not in [one["call"] for one in quiet["next"]]
    assert "fires next" not in str(check(deployments.explain(deployment("running", timings=[FINE]))))


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
    blockers = (Finding("missing_value", "path has no value.", "Give it."),)
    blocked = check(saved_plans.explain(saved_plans.Facts(saved("open", blockers=blockers), 1, [])))
    assert "blocker missing_value: path has no value. Give it." in [cause["what"] for cause in blocked["because"]]
    assert [call["call"] for call in blocked["next"]] == ["deployment_plan"]
    fine = check(saved_plans.explain(saved_plans.Facts(saved("open"), 1, [])))
    assert [call["call"] for call in fine["next"]] == ["plan_get", "deployment_apply"]
    for standing in ("applied", "expired", "discarded"):
        assert check(saved_plans.explain(saved_plans.Facts(saved(standing), 2, [])))["state"] == standing
