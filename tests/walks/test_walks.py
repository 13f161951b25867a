"""Every task can be done with the text of the answers alone and with their structure alone, and costs what it may."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.walks import authoring, budgets, diagnosing, operating, walk
from tests.walks.budgets import Cost
from tests.walks.facts import Eye, at, unknown
from tests.walks.stage import Stage, open_stage
from tests.walks.walk import Task

TASKS = [*operating.TASKS, *diagnosing.TASKS, *authoring.TASKS]
SECONDS = 60


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def stage(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path_factory.mktemp("walks")) as opened:
        yield opened


async def walked(task: Task, eye: Eye, stage: Stage) -> Cost:
    session = await stage.session(eye.value, task.tools)
    with anyio.fail_after(SECONDS):
        one = await walk.walk(task, eye, session)
    print(*one.log, sep="\n")  # with -s, or when the test fails
    return Cost(one.calls, one.characters)


@pytest.mark.anyio
@pytest.mark.filterwarnings("default::tests.walks.budgets.CanFall")
@pytest.mark.parametrize("eye", Eye)
@pytest.mark.parametrize("task", TASKS, ids=[task.name for task in TASKS])
async def test_an_expert_does_the_task_within_its_budget(task: Task, eye: Eye, stage: Stage) -> None:
    measured = await walked(task, eye, stage)
    budget = budgets.read()
    allowed = budget.get(task.name, {}).get(eye)
    if budgets.MEASURE:
        budget.setdefault(task.name, {})[eye] = budgets.lowered(allowed, measured)
        budgets.write({one.name: budget[one.name] for one in TASKS if one.name in budget})
        return
    assert not (fault := budgets.judge(allowed, measured)), f"{task.name}, {eye}: {fault}"
    assert allowed is not None
    if budgets.can_fall(allowed, measured):
        warnings.warn(budgets.CanFall(f"{task.name}, {eye}: {allowed} can fall to {measured}"), stacklevel=1)


def test_every_task_has_a_budget_for_each_eye_and_a_name_of_its_own() -> None:
    assert len({task.name for task in TASKS}) == len(TASKS)
    if not budgets.MEASURE:
        assert {name: set(eyes) for name, eyes in budgets.read().items()} == {task.name: set(Eye) for task in TASKS}


def test_a_budget_only_falls(tmp_path: Path) -> None:
    allowed = Cost(4, 1000)
    assert budgets.judge(allowed, Cost(4, 1030)) == "" and "may have" in budgets.judge(allowed, Cost(4, 1031))
    assert "may take" in budgets.judge(allowed, Cost(5, 10)) and "no budget" in budgets.judge(None, allowed)
    measured = [Cost(4, 900), Cost(4, 800), Cost(3, 1000), Cost(3, 1100), Cost(5, 100)]
    assert [budgets.lowered(allowed, one) for one in measured] == [allowed, measured[1], measured[2], allowed, allowed]
    assert budgets.lowered(None, allowed) == allowed
    budgets.write({"one": {"text": allowed}}, file := tmp_path / "budget.json")
    assert budgets.read(file) == {"one": {"text": allowed}}


def test_a_fact_that_no_answer_gave_is_found_out() -> None:
    document = "steps: [{use: 'blueprint:echo-source@1.0.0'}]"
    assert unknown({"plan_id": "plan_1", "document": document, "limit": 25, "wait": True}, "plan_1 steps") == [
        *("blueprint", "echo-source@1.0.0"),
    ]
    assert unknown({"values": {"path": "/srv"}}, "path, /srv") == unknown({"values": {"path": "a"}}, "path") == []
    assert unknown({"values": {"path": "a"}}, "") == ["path"] and unknown({"limit": 5000}, "") == ["5000"]


def test_each_eye_finds_a_fact_where_it_looks() -> None:
    content, structure = ["items: 1\n- slug=mine, version=2"], {"items": [{"slug": "mine", "version": 3}]}
    path, pattern = "items.slug=mine.version", r"slug=mine, version=(\d+)"
    assert Eye.TEXT.find(content, structure, path, pattern) == "2"
    assert Eye.STRUCTURE.find(content, structure, path, pattern) == 3
    with pytest.raises(AssertionError, match="has no"):
        at(structure, "items.slug=yours.version")
    with pytest.raises(AssertionError, match="has no"):
        Eye.TEXT.find(content, structure, path, "plan_")
