"""`sluice apply --file`: the difference first, and nothing when there is none."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core import errors
from mcp_server.cli import applying, connect, main

TRIGGER = {"slug": "go", "target_job_name": "handler", "publication": {"mcp": True}}
DEFINITION = {
    **TRIGGER,
    "tenant_id": "default",
    "publication": {"mcp": True, "ui_admin": False, "ui_user": False},
    "response_timeout_seconds": 15,
    "response_slot": None,
    "tags": [],
}
JOB = {"name": "one", "input": {"echo": {}}, "output": {"print": "STDOUT"}}


class Engine:
    """Has a trigger and a job, or neither."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.has: dict[str, dict[str, Any]] = {}
        self.workloads: list[dict[str, Any]] = []

    async def call(self, operation: str, given: Any = None, caller: Any = None, /, **named: Any) -> dict[str, Any]:
        self.asked.append((operation, given or named))
        match operation:
            case "trigger_get" | "job_get":
                if operation not in self.has:
                    raise errors.NotFound()
                return self.has[operation]
            case "workload_list":
                return {"items": self.workloads}
            case "job_deploy":
                return {"name": "one", "version": 2, "workloads": [{"state": "running", "job": "one"}]}
        return {"slug": "go", "revision": 2}

    @property
    def changed(self) -> list[tuple[str, dict[str, Any]]]:
        return [one for one in self.asked if one[0] not in ("trigger_get", "job_get", "workload_list")]

    caller = None

    @property
    def session(self) -> Engine:
        return self

    def subscribe(self, notice: Any) -> Callable[[], None]:
        return lambda: None


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    stands_in = Engine()

    @contextlib.asynccontextmanager
    async def opened(common: connect.Common, *, follows: bool = False) -> AsyncIterator[Engine]:
        yield stands_in

    monkeypatch.setattr(connect, "engine", opened)
    return stands_in


def apply(tmp_path: Path, document: dict[str, Any], *more: str) -> int:
    file = tmp_path / "file.json"
    file.write_text(json.dumps(document))
    return main.run(["apply", "--file", str(file), *more])


def test_a_trigger_that_is_new_is_published_and_one_that_differs_is_revised(engine: Engine, tmp_path: Path) -> None:
    assert apply(tmp_path, TRIGGER, "--yes") == 0
    engine.has["trigger_get"] = {"definition": DEFINITION, "active": True}
    assert apply(tmp_path, {**TRIGGER, "tags": ["night"]}, "--yes") == 0
    assert engine.changed == [("trigger_publish", TRIGGER), ("trigger_revise", {**TRIGGER, "tags": ["night"]})]


def test_what_a_trigger_leaves_out_is_no_difference_but_an_inactive_one_is_offered_again(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.has["trigger_get"] = {"definition": DEFINITION, "active": True}
    assert apply(tmp_path, TRIGGER) == 0
    assert engine.changed == [] and "Nothing to change" in capsys.readouterr().err
    engine.has["trigger_get"]["active"] = False
    assert apply(tmp_path, TRIGGER) == 0
    assert engine.changed == [("trigger_revise", TRIGGER)]


def test_a_job_that_differs_runs_again_where_it_ran(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.has["job_get"] = {"document": {**JOB, "output": {"drop": {}}}}
    engine.workloads = [{"group": "etl"}, {"group": "etl"}]
    assert apply(tmp_path, JOB) == 4, "nobody was there to agree"
    said = capsys.readouterr()
    assert "-  drop: {}" in said.out and "+  print: STDOUT" in said.out and engine.changed == []
    assert apply(tmp_path, JOB, "--yes", "--wait", "5") == 0
    assert [operation for operation, _ in engine.changed] == ["job_put", "job_deploy"]
    assert engine.changed[-1][1] == {"name": "one", "wait_seconds": 5, "worker_group": "etl", "replicas": 2}


def test_a_job_that_is_the_same_is_deployed_only_when_it_runs_nowhere(engine: Engine, tmp_path: Path) -> None:
    engine.has["job_get"] = {"document": JOB}
    engine.workloads = [{"group": "default"}]
    assert apply(tmp_path, JOB) == 0
    assert engine.changed == []
    engine.workloads = []
    assert apply(tmp_path, JOB) == 0
    assert [operation for operation, _ in engine.changed] == ["job_deploy"]


def test_one_of_a_plan_and_a_file_is_named(engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["apply"]) == apply(tmp_path, TRIGGER, "plan_1") == apply(tmp_path, {"kind": "workflow"}) == 1
    said = capsys.readouterr().err
    assert said.count("Name a plan, or a file with --file.") == 2 and "For a workflow: sluice up FILE." in said
    assert engine.asked == []


def test_the_order_of_keys_is_no_difference() -> None:
    assert applying.difference({"a": 1, "b": {"c": 2, "d": [3]}}, {"b": {"d": [3], "c": 2}, "a": 1}) == []
    assert applying.difference(None, {"a": 1})[-1] == "+a: 1"
