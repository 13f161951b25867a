"""Where replicas run: spread, deterministic, sticky, and never more than a worker can hold."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from core.deployments import placement
from core.model.deployment import Job, Role, Worker


def job(name: str, replicas: int = 1, group: str = "default") -> Job:
    return Job(name, name, Role.STEP, "blueprint:x@1.0.0", group, replicas, {}, "")


def jobs(*wanted: Job) -> dict[str, Job]:
    return {one.name: one for one in wanted}


TWO = [Worker("w1", "default"), Worker("w2", "default")]


def test_jobs_are_spread_over_the_workers_with_the_most_room() -> None:
    placed = placement.place(jobs(job("a"), job("b"), job("c")), [], TWO, {})
    assert placed.assignments == {"a": ("w1",), "b": ("w2",), "c": ("w1",)}


def test_the_load_of_others_counts() -> None:
    workers = [Worker("w1", "default", load=10), Worker("w2", "default")]
    assert placement.place(jobs(job("a")), [], workers, {}).assignments == {"a": ("w2",)}


def test_replicas_of_one_job_go_to_different_workers_when_they_can() -> None:
    assert set(placement.place(jobs(job("a", 2)), [], TWO, {}).assignments["a"]) == {"w1", "w2"}
    assert Counter(placement.place(jobs(job("a", 4)), [], TWO, {}).assignments["a"]) == {"w1": 2, "w2": 2}


def test_jobs_that_share_a_channel_share_a_worker() -> None:
    placed = placement.place(jobs(job("a", 2), job("b", 2)), [("a", "b")], TWO, {})
    assert placed.assignments["a"] == placed.assignments["b"]


def test_more_consumers_than_producers_sit_with_their_producer() -> None:
    placed = placement.place(jobs(job("a"), job("b", 3)), [("a", "b")], TWO, {})
    assert set(placed.assignments["b"]) == set(placed.assignments["a"])


def test_what_runs_stays_where_it_is() -> None:
    previous = {"a": ("w2",), "b": ("w2",)}
    assert placement.place(jobs(job("a"), job("b")), [], TWO, previous).assignments == previous


def test_recompute_places_everything_afresh() -> None:
    placed = placement.place(jobs(job("a"), job("b")), [], TWO, {"a": ("w2",), "b": ("w2",)}, recompute=True)
    assert placed.assignments == {"a": ("w1",), "b": ("w2",)}


def test_only_replicas_of_a_worker_that_is_gone_move() -> None:
    workers = [Worker("w1", "default", online=False), Worker("w2", "default"), Worker("w3", "default")]
    placed = placement.place(jobs(job("a"), job("b")), [], workers, {"a": ("w1",), "b": ("w2",)})
    assert placed.assignments == {"a": ("w3",), "b": ("w2",)}


def test_a_change_of_group_moves_a_job() -> None:
    workers = [*TWO, Worker("e1", "edge")]
    assert placement.place(jobs(job("a", group="edge")), [], workers, {"a": ("w1",)}).assignments == {"a": ("e1",)}


def test_an_unknown_group_is_a_warning_that_names_the_groups_there_are() -> None:
    placed = placement.place(jobs(job("a", group="nope")), [], TWO, {})
    assert placed.assignments == {"a": ("",)}
    assert [(w.code, "default" in w.hint) for w in placed.warnings] == [("missing_group", True)]


def test_a_group_without_an_online_worker_is_a_warning() -> None:
    placed = placement.place(jobs(job("a")), [], [Worker("w1", "default", online=False)], {})
    assert [w.code for w in placed.warnings] == ["no_workers"]


def test_what_was_placed_stays_when_no_other_worker_is_there_with_a_warning() -> None:
    for workers in ([], [Worker("w1", "default", online=False)]):
        placed = placement.place(jobs(job("a")), [], workers, {"a": ("w1",)})
        assert placed.assignments == {"a": ("w1",)}
        assert len(placed.warnings) == 1


def test_a_full_group_is_a_warning_and_leaves_the_rest_unplaced() -> None:
    workers = [Worker("w1", "default", slots=3, load=1)]
    placed = placement.place(jobs(job("a", 2), job("b")), [], workers, {})
    assert placed.assignments == {"a": ("w1", "w1"), "b": ("",)}
    assert [w.code for w in placed.warnings] == ["too_few_slots"]


def test_a_set_that_shares_a_worker_needs_room_for_all_of_it() -> None:
    workers = [Worker("w1", "default", slots=1), Worker("w2", "default", slots=2)]
    placed = placement.place(jobs(job("a"), job("b")), [("a", "b")], workers, {})
    assert placed.assignments == {"a": ("w2",), "b": ("w2",)}


FLEETS = st.lists(
    st.builds(
        Worker,
        st.sampled_from([f"w{n}" for n in range(6)]),
        st.sampled_from(["default", "edge"]),
        st.booleans(),
        st.integers(0, 12),
        st.integers(0, 4),
    ),
    max_size=6,
    unique_by=lambda worker: worker.name,
)
JOBS = st.lists(
    st.builds(
        job, st.sampled_from([f"j{n}" for n in range(8)]), st.integers(1, 4), st.sampled_from(["default", "edge"])
    ),
    max_size=8,
    unique_by=lambda one: one.name,
).map(lambda found: jobs(*found))


@given(JOBS, FLEETS)
def test_placement_is_deterministic_and_sticky(wanted: dict[str, Job], fleet: list[Worker]) -> None:
    first = placement.place(wanted, [], fleet, {})
    assert placement.place(wanted, [], list(reversed(fleet)), {}) == first
    again = placement.place(wanted, [], fleet, first.assignments)
    for name, chosen in first.assignments.items():
        for old, new in zip(chosen, again.assignments[name], strict=True):
            assert not old or old == new


@given(JOBS, FLEETS)
def test_no_worker_is_given_more_than_it_can_hold_nor_a_job_of_another_group(
    wanted: dict[str, Job], fleet: list[Worker]
) -> None:
    placed = placement.place(wanted, [], fleet, {})
    by_name = {worker.name: worker for worker in fleet}
    taken = Counter(worker for chosen in placed.assignments.values() for worker in chosen if worker)
    for name, count in taken.items():
        assert count <= by_name[name].slots - by_name[name].load
        assert by_name[name].online
    for name, chosen in placed.assignments.items():
        assert len(chosen) == wanted[name].replicas
        assert all(by_name[worker].group == wanted[name].group for worker in chosen if worker)
    assert bool(placed.warnings) == any("" in chosen for chosen in placed.assignments.values())


def test_a_drained_worker_gets_nothing_new_and_gives_away_what_has_room_elsewhere() -> None:
    drained = Worker("w1", "default", drained=True)
    assert placement.place(jobs(job("a")), [], [drained, TWO[1]], {}).assignments == {"a": ("w2",)}
    placed = placement.place(jobs(job("a"), job("b")), [], [drained, Worker("w2", "default", slots=1)], {"a": ("w1",)})
    assert placed.assignments == {"a": ("w2",), "b": ("",)}
    stays = placement.place(jobs(job("a")), [], [drained, Worker("w2", "default", slots=0)], {"a": ("w1",)})
    assert (stays.assignments, stays.warnings) == ({"a": ("w1",)}, [])


def test_a_group_that_exists_without_workers_is_not_a_missing_one() -> None:
    placed = placement.place(jobs(job("a", group="etl")), [], TWO, {}, groups={"etl"})
    assert [(w.code, "worker_update" in w.hint) for w in placed.warnings] == [("no_workers", True)]
    drained = [Worker("w1", "default", drained=True)]
    assert "worker_resume" in placement.place(jobs(job("a")), [], drained, {}).warnings[0].hint


def test_a_worker_that_is_expected_back_keeps_what_it_has_and_gets_nothing_new() -> None:
    away = [Worker("w1", "default", online=False), Worker("w2", "default")]
    placed = placement.place(jobs(job("a"), job("b")), [], away, {"a": ("w1",)}, staying={"w1"})
    assert placed.assignments == {"a": ("w1",), "b": ("w2",)}


def test_moving_a_job_with_files_warns_that_they_stay() -> None:
    one = replace(job("a"), document={"input": {"files": {"path": "/var/log/x"}}, "output": {"print": "STDOUT"}})
    gone = [Worker("w1", "default", online=False), Worker("w2", "default")]
    (warning,) = placement.place(jobs(one), [], gone, {"a": ("w1",)}).warnings
    assert warning.code == "files_stay" and "/var/log/x" in warning.message and "w1 to w2" in warning.message


SETS = st.lists(st.integers(0, 2), min_size=8, max_size=8)


@given(JOBS, FLEETS, SETS, st.data())
def test_placement_with_neighbours_keeps_its_promises(
    wanted: dict[str, Job], fleet: list[Worker], sets: list[int], data: st.DataObject
) -> None:
    fleet = [replace(worker, drained=data.draw(st.booleans())) for worker in fleet]
    by_set: dict[tuple[int, str], list[str]] = {}
    for name, one in wanted.items():
        if sets[int(name[1:])]:
            by_set.setdefault((sets[int(name[1:])], one.group), []).append(name)
    together = [tuple(members) for members in by_set.values() if len(members) > 1]
    first = placement.place(wanted, together, fleet, {})
    assert placement.place(wanted, together, fleet[::-1], {}) == first
    by_name = {worker.name: worker for worker in fleet}
    taken = Counter(worker for chosen in first.assignments.values() for worker in chosen if worker)
    for name, count in taken.items():
        assert by_name[name].online and not by_name[name].drained
        assert count <= by_name[name].slots - by_name[name].load
    for members in together:
        for seat in range(min(wanted[name].replicas for name in members)):
            assert len({first.assignments[name][seat] for name in members}) == 1
    # What is placed stays, whoever comes to the fleet.
    more = [*fleet, Worker("w9", "default"), Worker("w8", "edge")]
    again = placement.place(wanted, together, more, first.assignments)
    for name, chosen in first.assignments.items():
        assert all(not old or old == new for old, new in zip(chosen, again.assignments[name], strict=True))


def test_the_cost_of_a_placement_grows_with_its_jobs_and_no_faster() -> None:
    def seconds(count: int) -> float:
        many = jobs(*(job(f"j{n}") for n in range(count)))
        pairs = [(f"j{n}", f"j{n + 1}") for n in range(0, count, 4)]
        fleet = [Worker(f"w{n}", "default", slots=count) for n in range(50)]
        best = 1e9
        for _ in range(5):
            started = time.process_time()
            placement.place(many, pairs, fleet, {})
            best = min(best, time.process_time() - started)
        return best

    assert seconds(8000) < 8 * 3 * seconds(1000)
