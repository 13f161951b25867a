"""Of which changes of health a message is sent."""

from __future__ import annotations

from typing import Any

from core.fleet.health_changes import HealthChanges
from core.model.condition import Condition, Health, Kind, Subject
from core.model.typed_condition import Status, Type, TypedCondition

DEPLOYMENT = Subject(Kind.DEPLOYMENT, "acme", "shop")
FALSE = TypedCondition(Type.EVENTS_ACCEPTED, Status.FALSE, "EventsRefused", "all of them", 5, 2)
TRUE = TypedCondition(Type.RUNNING, Status.TRUE, "Up", "", 5, 2)


def told(*healths: Health, subject: Subject = DEPLOYMENT, deployment: str = "", begun: Health | None = None) -> Any:
    heard: list[dict[str, Any]] = []
    changes = HealthChanges(lambda subject, data: heard.append(data))
    if begun is not None:
        changes.begin(subject, begun)
    for number, health in enumerate(healths):
        changes.moved(subject, deployment, Condition(health, number, "why"), (TRUE, FALSE))
    return [(one["before"], one["health"]) for one in heard], heard


def test_a_deployment_that_comes_up_is_no_news_and_what_becomes_of_it_is() -> None:
    moves, heard = told(Health.PROGRESSING, Health.HEALTHY, Health.WARNING, Health.DEGRADED, Health.HEALTHY)
    assert moves == [("healthy", "warning"), ("warning", "degraded"), ("degraded", "healthy")]
    first = heard[0]
    assert (first["kind"], first["name"], first["reason"]) == ("deployment", "shop", "why")
    assert [one["type"] for one in first["conditions"]] == ["EventsAccepted"]


def test_a_new_engine_tells_nothing_as_long_as_all_is_as_it_was_told() -> None:
    assert told(Health.DEGRADED, Health.WARNING, begun=Health.DEGRADED)[0] == [("degraded", "warning")]
    assert told(Health.PROGRESSING, Health.WARNING, begun=Health.WARNING)[0] == []


def test_a_deployment_tells_of_its_workloads_and_a_job_on_its_own_of_itself() -> None:
    workload = Subject(Kind.WORKLOAD, "acme", "one#0")
    assert told(Health.FAILING, subject=workload, deployment="shop")[0] == []
    moves, heard = told(Health.FAILING, subject=workload)
    assert moves == [("healthy", "failing")] and heard[0]["kind"] == "job"
    assert told(Health.DOWN, subject=Subject(Kind.WORKER, "", "local-1"))[0] == []
