"""Plans: what changes and why, as values that lead from what is to what is wished for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import orjson
from hypothesis import given
from hypothesis import strategies as st

from core.deployments import changes, compute
from core.model.deployment import Channel, Job, Role, State
from core.model.plan import Action, Finding, Kind, Plan
from tests.deployments.documents import WORKERS, make, quickstart

VALUES = {"path": "/tmp/store"}


def lines(made: Plan) -> list[tuple[str, str, str]]:
    return [(c.action.value, c.kind.value, c.id) for c in made.changes if c.action is not Action.UNCHANGED]


def test_a_first_plan_creates_everything_in_the_order_of_the_data() -> None:
    made = make(quickstart(), values=VALUES)
    assert lines(made) == [
        ("create", "job", "demo--generate"),
        ("create", "transport", "demo--generate--roundtrip-writer"),
        ("create", "transport", "demo--print--roundtrip-reader"),
        ("create", "job", "demo--print"),
        ("create", "channel", "roundtrip"),
        ("create", "placement", "demo--generate"),
        ("create", "placement", "demo--generate--roundtrip-writer"),
        ("create", "placement", "demo--print--roundtrip-reader"),
        ("create", "placement", "demo--print"),
    ]
    assert made.summary == {"create": 9, "update": 0, "remove": 0, "move": 0, "unchanged": 0}
    assert all(change.reason and change.where for change in made.changes)


def test_the_same_wish_again_changes_nothing() -> None:
    first = make(quickstart(), values=VALUES)
    again = make(quickstart(), values=VALUES, current=first.desired)
    assert lines(again) == []
    assert again.digest == first.digest


def test_a_changed_value_updates_only_what_depends_on_it_and_shows_the_difference() -> None:
    first = make(quickstart(), values=VALUES)
    made = make(quickstart(), values={**VALUES, "guid_prefix": "prod"}, current=first.desired)
    assert lines(made) == [("update", "transport", "demo--generate--roundtrip-writer")]
    change = next(change for change in made.changes if change.action is Action.UPDATE)
    assert change.reason == "output changed"
    shown = changes.diff(change).splitlines()
    assert '-      "guid-prefix": "demo-",' in shown
    assert '+      "guid-prefix": "prod-",' in shown


def test_a_job_that_goes_to_another_group_is_a_move_with_its_reason() -> None:
    first = make(quickstart(), values=VALUES)
    made = make(quickstart(), values=VALUES, current=first.desired, placement={"print": "edge"})
    assert lines(made) == [
        ("move", "placement", "demo--print--roundtrip-reader"),
        ("move", "placement", "demo--print"),
    ]
    assert {change.reason for change in made.changes if change.action is Action.MOVE} == {"group default -> edge"}


def test_more_replicas_are_one_update_of_the_placement() -> None:
    first = make(quickstart(), values=VALUES)
    made = make(quickstart(), values=VALUES, current=first.desired, replicas={"generate": 2})
    assert [line[:2] for line in lines(made)] == [("update", "placement"), ("update", "placement")]
    assert {c.reason for c in made.changes if c.action is Action.UPDATE} == {"replicas 1 -> 2"}


def test_recomputing_the_placement_shows_what_would_move() -> None:
    first = make(quickstart(), values=VALUES, workers=WORKERS[:1])
    calm = make(quickstart(), values=VALUES, current=first.desired)
    assert lines(calm) == []
    moved = make(quickstart(), values=VALUES, current=first.desired, recompute=True)
    assert moved.summary["move"] == 2
    assert {change.reason for change in moved.changes if change.action is Action.MOVE} == {"was on w1"}


def test_a_removal_removes_everything() -> None:
    first = make(quickstart(), values=VALUES)
    made = compute.remove("demo", first.desired)
    assert made.summary == {"create": 0, "update": 0, "remove": 9, "move": 0, "unchanged": 0}
    assert made.desired.jobs == {} and made.desired.assignments == {}
    assert compute.compare("demo", made.desired, made.desired).changes == ()


def test_the_way_back_is_the_earlier_wish_with_its_workers_as_far_as_they_are_there() -> None:
    first = make(quickstart(), values=VALUES)
    second = make(quickstart(), values={**VALUES, "guid_prefix": "v2"}, current=first.desired)
    there = compute.back("demo", first.desired, WORKERS, second.desired)
    assert there.desired == first.desired
    assert lines(there) == [("update", "transport", "demo--generate--roundtrip-writer")]
    elsewhere = compute.back("demo", first.desired, WORKERS[:1], second.desired)
    assert {worker for workers in elsewhere.desired.assignments.values() for worker in workers} <= {"w1"}
    none = compute.back("demo", first.desired, [], second.desired)
    assert [finding.code for finding in none.warnings] == ["missing_group"]


def test_only_the_detailed_form_shows_the_documents_of_what_comes_and_goes() -> None:
    made = make(quickstart(), values=VALUES)
    assert changes.diff(made.changes[0]) == ""
    whole = changes.diff(made.changes[0], whole=True).splitlines()
    assert all(line.startswith(("+", "-", "@")) for line in whole) and any('"demo--generate"' in line for line in whole)


def test_more_blockers_are_part_of_the_plan() -> None:
    made = compute.with_blockers(make(quickstart(), values=VALUES), [Finding("name_taken", "Taken.", "Rename it.")])
    assert [finding.code for finding in made.blockers] == ["name_taken"]


def test_a_wish_survives_being_stored() -> None:
    wish = make(quickstart(), values=VALUES, replicas={"generate": 2}).desired
    assert State.from_dict(orjson.loads(orjson.dumps(wish.to_dict()))) == wish


def job(name: str, word: str, group: str = "default", replicas: int = 1) -> Job:
    return Job(name, name, Role.STEP, "blueprint:x@1.0.0", group, replicas, {"name": name, "word": word}, word)


NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
WISHES = st.builds(
    lambda jobs, channels, workers: State(
        "workflow:x@1",
        jobs={one.name: one for one in jobs},
        channels={one.name: one for one in channels},
        assignments={one.name: workers[: one.replicas] for one in jobs},
    ),
    st.lists(st.builds(job, NAMES, st.sampled_from("xyz"), st.sampled_from(["default", "edge"]), st.integers(1, 3))),
    st.lists(
        st.builds(
            Channel, NAMES, st.sampled_from(["worker-channel", "file-store"]), st.just({}), st.just(()), st.just(())
        )
    ),
    st.tuples(*[st.sampled_from(["w1", "w2", ""])] * 3),
)


@given(WISHES)
def test_a_wish_compared_with_itself_has_no_change(wish: State) -> None:
    made = compute.compare("x", wish, wish)
    assert made.empty
    assert made.summary["unchanged"] == len(made.changes)


@given(WISHES, WISHES)
def test_the_changes_lead_from_what_is_to_what_is_wished_for(current: State, wish: State) -> None:
    """Carry out the changes alone, each on its own kind of thing, and arrive at the wish."""
    made = compute.compare("x", wish, current)
    for kind, before, after in (
        (Kind.JOB, {n: j.document for n, j in current.jobs.items()}, {n: j.document for n, j in wish.jobs.items()}),
        (Kind.CHANNEL, dict(current.channels), dict(wish.channels)),
        (Kind.PLACEMENT, dict(current.assignments), dict(wish.assignments)),
    ):
        result: dict[str, object] = dict(before)
        for change in made.changes:
            if change.kind is not kind:
                continue
            match change.action:
                case Action.REMOVE:
                    del result[change.id]
                case Action.UNCHANGED:
                    assert change.id in before
                case _:
                    result[change.id] = after[change.id]  # type: ignore[index]
        assert result == after
    assert sum(made.summary.values()) == len(made.changes)


@given(WISHES)
def test_a_removal_plan_empties_every_wish(wish: State) -> None:
    made = compute.remove("x", wish)
    assert {change.action for change in made.changes} <= {Action.REMOVE}
    assert not made.desired.jobs and not made.desired.channels and not made.desired.assignments


@given(WISHES, WISHES)
def test_different_wishes_have_different_digests(one: State, other: State) -> None:
    same = _without_values(one) == _without_values(other)
    assert (compute.digest(one) == compute.digest(other)) is same


def _without_values(state: State) -> Mapping[str, object]:
    return {
        f.name: getattr(state, f.name)
        for f in dataclasses.fields(state)
        if f.name in ("source", "jobs", "channels", "assignments")
    } | {"order": (list(state.jobs), list(state.channels))}


def test_the_way_back_warns_of_files_that_stay_where_they_are_now() -> None:
    text = "kind: workflow\nslug: w\nsteps: [{id: a, use: 'blueprint:echo-source@1.0.0', out: channel:c}, %s]\n%s"
    sink = "{id: b, use: 'blueprint:file-printer@1.0.0', in: channel:c}"
    spooled = text % (sink, "channels: {c: {transport: file-store, with: {path: /x}}}")
    first = make(spooled, workers=WORKERS[:1]).desired  # on w1
    moved = make(spooled, workers=WORKERS[1:2], current=first).desired  # on w2, and so are its files
    still = compute.back("demo", first, WORKERS[1:2], moved)
    assert (still.summary["move"], [one.code for one in still.warnings]) == (0, [])
    back = compute.back("demo", first, WORKERS, moved)
    assert back.summary["move"] == 4
    assert {one.code for one in back.warnings} == {"files_stay"}
    assert all("moves from w2 to w1" in one.message for one in back.warnings)
