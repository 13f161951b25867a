"""Events through the steps of a workflow: who is traced after whom, and with what."""

from __future__ import annotations

from typing import Any, cast

import pytest

from core import errors
from core.deployments import walk
from core.model.deployment import Job, Role, State

pytestmark = pytest.mark.anyio


def job(name: str, reads: str = "", output: Any = None, role: Role = Role.STEP, origin: str = "b@1") -> Job:
    source = {"worker-channel": {"channel": reads}} if reads else {"files": {"paths": "x"}}
    sink = {"worker-channel": {"channel": output}} if isinstance(output, str) else output or {"print": "STDOUT"}
    return Job(name, name, role, origin, "default", 1, {"input": source, "output": sink}, "")


def state(*jobs: Job) -> State:
    return State(jobs={one.name: one for one in jobs})


async def passing(one: Job, given: walk.Events | None) -> Any:
    """Every job hands on what it gets."""
    kind, settings = next(iter(one.document["output"].items()))
    told = settings if isinstance(settings, dict) else {}
    sent = [{**told, "kind": kind, "content": event} for event in given or []]
    return {"events_in": given, "events_out": given, "would_emit": sent, "steps": [{"dropped": 1}], "errors": []}


async def walked(wish: State, events: walk.Events | None, step: str | None = None) -> dict[str, Any]:
    """Step -> the events that it was traced with; or why it was not."""
    found = await walk.through(wish, events, step, cast(Any, passing))
    return {one["step"]: one["passed_over"] or one["events_in"] for one in found}


EVENTS: walk.Events = [{"n": 1, "to": "a"}, {"n": 2, "to": 7}, {"n": 3}]


async def test_what_a_step_hands_over_goes_into_every_step_behind_it_whatever_their_order() -> None:
    wish = state(job("last", "two"), job("also", "two"), job("middle", "one", "two"), job("first", output="one"))
    found = await walked(wish, EVENTS)
    assert list(found)[:2] == ["first", "middle"]
    assert all(given == EVENTS for given in found.values()) and len(found) == 4


async def test_events_pass_the_adapters_of_a_durable_channel_as_they_are() -> None:
    adapters = (
        job("w", "one", {"file-store": {}}, Role.WRITER, "channel spool"),
        job("r", "", "two", Role.READER, "channel spool"),
    )
    found = await walked(state(job("last", "two"), *adapters, job("first", output="one")), EVENTS)
    assert found == {"first": EVENTS, "last": EVENTS}


@pytest.mark.parametrize(
    ("config", "left", "right"),
    [
        ({"mode": "clone"}, [1, 2, 3], [1, 2, 3]),
        ({"mode": "round-robin"}, [1, 3], [2]),
        ({"mode": "conditional", "field": "to", "routes": {"a": "l", "7": "r"}}, [1], [2]),
        ({"mode": "conditional", "field": "to", "routes": {"a": "l"}, "default": "r"}, [1], [2, 3]),
    ],
)
async def test_a_dispatch_decides_for_each_event(config: dict[str, Any], left: list[int], right: list[int]) -> None:
    spread = {"dispatch": {**config, "outputs": {"l": "left", "r": "right"}}}
    found = await walked(state(job("first", output=spread), job("l", "left"), job("r", "right")), EVENTS)
    assert [[event["n"] for event in found[side]] for side in ("l", "r")] == [left, right]


async def test_an_event_without_a_route_is_told() -> None:
    spread = {"dispatch": {"mode": "conditional", "field": "to", "routes": {"a": "l"}, "outputs": {"l": "left"}}}
    wish = state(job("first", output=spread), job("l", "left"))
    first, _ = await walk.through(wish, EVENTS, None, cast(Any, passing))
    assert [(one["step"], one["event"], one["message"]) for one in first["errors"]] == [
        ("output", 1, walk.NO_ROUTE),
        ("output", 2, walk.NO_ROUTE),
    ]


async def test_more_jobs_than_a_trace_takes_are_refused_and_none_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MOST_JOBS", 1)
    with pytest.raises(errors.InvalidParams, match="2 jobs"):
        await walked(state(job("first", output="one"), job("last", "one")), EVENTS)


async def test_who_gets_nothing_says_so_and_can_be_given_events() -> None:
    wish = state(job("first", output="one"), job("woken", output="two"), job("last", "two"))
    found = await walked(wish, EVENTS, "woken")
    assert found == {"first": walk.PASSED_OVER, "woken": EVENTS, "last": EVENTS}
    assert set((await walked(wish, None)).values()) == {walk.PASSED_OVER}


async def test_a_circle_is_told_and_does_not_keep_the_others() -> None:
    found = await walked(state(job("a", "two", "one"), job("b", "one", "two"), job("first")), EVENTS)
    assert found == {"first": EVENTS, "a": walk.IN_A_CIRCLE, "b": walk.IN_A_CIRCLE}
