"""Since when, and what was down, as explanations say it; and that explanations lead down and never back."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from core.explain import conditions, deployments, jobs, workers
from core.explain.chain import Cause, Explanation
from core.model.condition import Condition, Health
from core.model.enrolment import EnrolmentState
from core.store.conditions import OutageRow, TransitionRow
from core.store.deaths import DeathRow
from tests.explain.test_chain import NOW, RUNNING, SECOND, check, deployment

ROW = {
    "name": "w1",
    "group": "default",
    "state": "online",
    "kind": "local",
    "drained": False,
    "restarts": 0,
    "sandbox": "full",
}
FAILING = Condition(Health.FAILING, NOW, "full", "abc", 3, NOW, NOW + 9 * SECOND)


def outage(workload: str, began: int, ended: int = 0, worker: str = "w1", cause: str = "worker-lost") -> OutageRow:
    return OutageRow("t", workload, NOW + began, "d", worker, cause, NOW + ended if ended else 0)


def test_what_went_down_together_is_one_outage() -> None:
    rows = [
        outage("a#0", 0, 5 * SECOND),
        outage("b#0", SECOND // 2, 7 * SECOND),
        outage("a#0", 60 * SECOND, 61 * SECOND),
        outage("c#0", 0, 2 * SECOND, worker="w2"),
        outage("a#0", 120 * SECOND, cause="engine-lost"),
        outage("c#0", 120 * SECOND, 121 * SECOND, worker="w2", cause="engine-lost"),
    ]
    found = conditions.outages(rows, 10)
    assert [(one.cause, one.worker, one.workloads) for one in found] == [
        ("engine-lost", "", ("a#0", "c#0")),
        ("worker-lost", "w1", ("a#0",)),
        ("worker-lost", "w1", ("a#0", "b#0")),
        ("worker-lost", "w2", ("c#0",)),
    ]
    now = NOW + 130 * SECOND
    assert found[0].to_cause(now).what == "the engine was gone: a#0, c#0 are down since then (10.0 s by now)"
    assert found[0].to_dict(now)["to"] is None
    assert found[2].to_cause(now).what.startswith("worker w1 was lost: a#0, b#0 were down until 2025-")
    assert found[2].seconds(now) == 7.0


def test_a_condition_says_since_when_and_how_often_it_failed() -> None:
    assert conditions.since(None) == ""
    told = conditions.since(FAILING)
    assert told.startswith("failing since 2025-11-24T16:00:00.000Z, it failed 3 times from 2025-11-24T16:00:00.000Z to")
    well = dataclasses.replace(FAILING, health=Health.HEALTHY, failures=1)
    assert "before that it failed once at" in conditions.since(well)


def explained(**more: Any) -> Explanation:
    facts: dict[str, Any] = {
        "row": ROW,
        "condition": Condition(Health.HEALTHY, NOW),
        "moves": [],
        "workloads": [RUNNING],
        "down": [],
        "deaths": [],
        "deeds": [],
        "may_operate": True,
        "now_ns": NOW + SECOND,
    }
    return workers.explain(workers.Facts(**{**facts, **more}))


LOST = {**ROW, "state": "lost"}
DOWN = Condition(Health.DOWN, NOW, "it fell silent or died")


@pytest.mark.parametrize(
    ("more", "calls", "says"),
    [
        ({}, ["worker_get"], "1 workload of this tenant runs there"),
        ({"row": {**ROW, "state": "draining", "drained": True}}, ["worker_resume", "worker_get"], "is draining"),
        ({"row": {**ROW, "drained": True}, "may_operate": False}, ["worker_get"], "is online"),
        ({"row": LOST, "condition": DOWN}, ["deployment_reconcile"], "is lost since 2025-11-24T16:00:00.000Z"),
        (
            {"row": {**LOST, "kind": "external"}},
            ["deployment_reconcile", "worker_remove"],
            "when 'sluice worker' runs on its machine again",
        ),
        ({"row": LOST, "workloads": []}, ["worker_get"], "Its engine starts it again by itself"),
        (
            {"row": {**LOST, "kind": "external"}, "credential": EnrolmentState.SUSPENDED},
            ["deployment_reconcile", "worker_credential_list", "worker_approve", "worker_revoke"],
            "Its credential is suspended, since there may be a copy of it",
        ),
        ({"workloads": [dataclasses.replace(RUNNING, state="quarantined")]}, ["job_get", "worker_get"], "0 workloads"),
    ],
)
def test_a_worker_is_explained_with_what_helps(more: dict[str, Any], calls: list[str], says: str) -> None:
    found = check(explained(**more))
    assert [call["call"] for call in found["next"]] == calls
    assert says in found["summary"]


def test_a_worker_tells_when_it_went_what_ended_it_and_what_was_down_with_it() -> None:
    move = TransitionRow("worker", "", "w1", NOW, "healthy", "down", "it fell silent or died")
    death = DeathRow(NOW + 1, "t", "d--a", "abc", "t/d--a#0", "w1", "silent")
    down = conditions.outages([outage("d--a#0", 2)])
    found = check(explained(row=LOST, condition=DOWN, moves=[move], deaths=[death], down=down))
    assert [cause["what"] for cause in found["because"]] == [
        "it went: it fell silent or died",
        "it ended while d--a was at work: silent",
        "worker w1 was lost: d--a#0 is down since then (1.0 s by now)",
        "it should run d--a#0",
    ]
    assert "1 are down because of it" in found["summary"]
    assert (found["condition"]["health"], found["outages"][0]["names"]) == ("down", ["d--a#0"])


def test_explanations_lead_down_and_never_back() -> None:
    depth = {"deployment": 1, "job": 2, "workload": 2, "worker": 3}
    failed = dataclasses.replace(RUNNING, state="failed", reason="full", condition=FAILING)
    away = dataclasses.replace(RUNNING, state="assigned", reason="worker w1 is gone")
    drift = [{"kind": "worker-offline", "id": RUNNING.id, "expected": "w1", "observed": "lost"}]
    found = [
        deployments.explain(deployment("degraded", workloads=[failed], absent=["w1"])),
        deployments.explain(deployment("degraded", workloads=[away], drift=drift, absent=["w1"])),
        jobs.explain(jobs.Facts("d--a", [failed, away], [], [], [], None, absent=["w1"])),
        jobs.explain(jobs.Facts("d--a", [away], [Cause("x")], [], [], 1, "d--a#0", absent=["w1"])),
        explained(row=LOST, condition=DOWN),
        explained(row={**LOST, "kind": "external", "drained": True}),
    ]
    calls = [(one.kind, call) for one in found for call in check(one)["next"]]
    led = [(of, call["arguments"]["kind"]) for of, call in calls if call["call"] == "explain"]
    assert all(depth[of] < depth[to] for of, to in led), led
    assert {to for _, to in led} == {"workload", "worker"}
