"""Levelling a worker group: as few moves as even it out, the same for the same input, and none that helps nobody."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.deployments import saved_plans
from core.deployments.leveling import Seat, level, moved, seats
from core.model.deployment import Job, Role, State, Worker
from tests.deployments.running import apply, publish
from tests.engines import ADMIN, engine_on

WAITS = """
kind: blueprint
slug: waits
version: 1.0.0
jobs: [{name: wait, input: {echo: {event: x, trigger: {interval: 1h}}}, output: {discard: {}}}]
"""
NAMES = ("a", "b", "c", "d")


def worker(name: str, load: int, slots: int = 16, *, online: bool = True, drained: bool = False) -> Worker:
    return Worker(name, "edge", online, slots, load, drained)


def seat(number: int, name: str, weight: int = 1) -> Seat:
    return Seat(f"d{number}", tuple((f"j{number}", one) for one in range(weight)), name)


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[Worker], list[Seat]]:
    workers = [
        worker(name, 0, draw(st.integers(1, 40)), online=draw(st.booleans()), drained=draw(st.booleans()))
        for name in draw(st.permutations(NAMES))
    ]
    taken = [
        seat(number, draw(st.sampled_from(NAMES)), draw(st.integers(1, 4)))
        for number in range(draw(st.integers(0, 30)))
    ]
    fixed = {name: draw(st.integers(0, 10)) for name in NAMES}
    load = Counter(fixed)
    for one in taken:
        load[one.worker] += len(one.members)
    return [Worker(one.name, one.group, one.online, one.slots, load[one.name], one.drained) for one in workers], taken


@given(groups())
def test_afterwards_no_move_evens_out_more_and_nothing_moves_in_vain(given_: tuple[list[Worker], list[Seat]]) -> None:
    workers, movable = given_
    moves = level(workers, movable)
    assert moves == level(list(reversed(workers)), list(movable)), "the same input, the same moves"
    free = {one.name: one.slots - one.load for one in workers if one.online and not one.drained}
    where = {one: one.worker for one in movable}
    assert len({one for one, _ in moves}) == len(moves), "nothing moves twice"
    before = sum(room * room for room in free.values())
    for one, to in moves:
        assert one.worker in free and to in free and one.worker != to
        free[one.worker] += len(one.members)
        free[to] -= len(one.members)
        where[one] = to
        after = sum(room * room for room in free.values())
        assert after < before, "each move evens out"
        before = after
    settled = {one for one, _ in moves}
    for one in movable:
        if one not in settled and one.worker in free:
            assert len(one.members) >= max(free.values()) - free[one.worker]


def test_many_small_deployments_do_not_all_go_to_the_new_worker() -> None:
    moves = level([worker("a", 10), worker("b", 0)], [seat(number, "a") for number in range(10)])
    assert Counter(to for _, to in moves) == {"b": 5}


def test_what_shares_a_worker_moves_as_one() -> None:
    def job(name: str, replicas: int) -> Job:
        return Job(name, name, Role.STEP, "", "edge", replicas, {}, "")

    wish = State(
        jobs={"x": job("x", 2), "y": job("y", 4), "z": job("z", 1)},
        together=(("x", "y"),),
        assignments={"x": ("a", "b"), "y": ("a", "b", "a", "b"), "z": ("a",)},
    )
    found = list(seats("d", wish, "edge", {"a", "b"}))
    assert [one.members for one in found] == [
        (("x", 0), ("y", 0), ("y", 2)),
        (("x", 1), ("y", 1), ("y", 3)),
        (("z", 0),),
    ]
    assert moved(wish, [(found[0], "c")]) == {"x": ("c", "b"), "y": ("c", "b", "c", "b"), "z": ("a",)}


@pytest.mark.anyio
async def test_a_worker_that_takes_jobs_again_gets_its_share_when_somebody_asks(tmp_path: Path) -> None:
    with anyio.fail_after(90):
        async with engine_on(tmp_path / "home", workers=2) as engine:
            (source,) = await publish(engine, WAITS)
            await engine.call("worker_drain", {"name": "local-2"}, ADMIN)
            for number in range(4):
                await apply(engine, source, f"d{number}")
            await engine.call("worker_resume", {"name": "local-2"}, ADMIN)
            found = await engine.call("worker_group_rebalance", {"name": "default"}, ADMIN)
            assert len(found["plans"]) == 2, "half of them, each with a plan of its own"
            noted = await engine.call("audit_list", {"operation": "worker_group_rebalance"}, ADMIN)
            assert len(noted["items"]) == 2, "each is on record"
            before = await engine.call("worker_list", {}, ADMIN)
            assert [row["jobs"] for row in before["items"]] == [4, 0], "nothing has moved yet"
            for one in found["plans"]:
                assert "local-2" in one["text"] and one["text"] in found["text"]
                await engine.call("deployment_apply", {"plan_id": one["plan_id"]}, ADMIN)
            after = await engine.call("worker_list", {}, ADMIN)
            assert [row["jobs"] for row in after["items"]] == [2, 2]
            again = await engine.call("worker_group_rebalance", {"name": "default"}, ADMIN)
            assert again["plans"] == [] and again["text"].startswith("Nothing moves")
            one, other = found["plans"]
            short = saved_plans.together(found["plans"], characters=1)
            assert short == f"{one['text']}\n\nAnd {other['name']}: {other['plan_id']}", "the first is always told"
