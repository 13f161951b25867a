"""`sluice up`: what it asks of the engine, and where it stops."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mcp_server.cli import connect, main

WORKFLOW = "kind: workflow\nslug: my_flow\nsteps: [{id: a, use: blueprint:mine@1.0.0}]\n"
BLUEPRINT = "kind: blueprint\nslug: mine\nversion: 1.0.0\n"
NOT_THERE = {"pointer": "/steps/0/use", "message": "Step a uses blueprint:mine@1.0.0, which is not in the catalog."}
CHECKED = ["workflow_validate", "workflow_validate"]
PUBLISHED = ["workflow_save_draft", "workflow_publish"]


class Engine:
    """Keeps what it is asked; a workflow that uses another file is refused until that one is published."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.faults: list[dict[str, Any]] = []
        self.plan: dict[str, Any] = {"blockers": [], "summary": {"create": 2, "unchanged": 0}}
        self.state = "running"
        self.reason = ""

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _ in self.asked]

    async def call(self, operation: str, /, **given: Any) -> dict[str, Any]:
        self.asked.append((operation, {name: value for name, value in given.items() if value not in (None, {})}))
        kind = (
            "workflow" if "workflow" in str(given.get("document")) or given.get("type") == "workflow" else "blueprint"
        )
        match operation:
            case "workflow_validate":
                faults = [*self.faults, *([NOT_THERE] if kind == "workflow" else [])]
                return {"valid": not faults, "message": "", "errors": faults}
            case "workflow_save_draft":
                return {"slug": "my_flow" if kind == "workflow" else "mine", "type": kind, "draft_revision": 1}
            case "workflow_publish":
                return {"source": f"{kind}:{given['slug']}@1", "version": 1, "changed": True}
            case "deployment_plan":
                return {"plan_id": "plan_1", "name": given["name"], "text": "What would change", **self.plan}
            case "deployment_get":
                return {"state": self.state, "reason": self.reason}
        return {"state": self.state, "rolled_back": False, "deployment": "my-flow", "workloads": []}

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


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name, text in (("flow.yaml", WORKFLOW), ("mine.yaml", BLUEPRINT)):
        (tmp_path / name).write_text(text)
    return [str(tmp_path / "flow.yaml"), str(tmp_path / "mine.yaml")]


def test_files_become_what_runs_and_what_is_used_goes_first(engine: Engine, files: list[str]) -> None:
    assert main.run(["up", *files, "--set", "n=1", "--yes", "--wait", "5"]) == 0
    assert engine.operations == [*CHECKED, *PUBLISHED, *PUBLISHED, "deployment_plan", "deployment_apply"]
    assert [given["slug"] for operation, given in engine.asked if operation == "workflow_publish"] == [
        "mine",
        "my_flow",
    ]
    assert engine.asked[-2][1] == {"name": "my-flow", "source": "workflow:my_flow@1", "values": {"n": 1}}
    assert engine.asked[-1][1] == {"plan_id": "plan_1", "wait_seconds": 5}


def test_its_name_is_that_of_the_deployment(
    engine: Engine, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["up", *files, "--yes", "-o", "name"]) == 0
    assert capsys.readouterr().out == "my-flow\n"


@pytest.mark.parametrize(("state", "code"), [("degraded", 6), ("failed", 1), ("applying", 7)])
def test_it_ends_as_what_was_applied_stands(engine: Engine, files: list[str], state: str, code: int) -> None:
    engine.state = state
    assert main.run(["up", *files, "--yes"]) == code


def test_the_faults_of_all_files_are_told_before_anything_is_changed(
    engine: Engine, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.faults = [{"pointer": "", "message": "It lacks a title.", "hint": "catalog_search() finds one."}]
    (tmp_path / "torn.yaml").write_text("kind: [")
    assert main.run(["up", *files, str(tmp_path / "torn.yaml"), "--yes"]) == 1
    assert engine.operations == CHECKED
    said = capsys.readouterr().err
    assert said.count("It lacks a title. 'sluice catalog search' finds one.") == 2 and "torn.yaml:1" in said
    assert "nothing was changed" in said


def test_a_file_of_several_documents_is_told_once(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "all.yaml").write_text(f"{BLUEPRINT}---\n{BLUEPRINT}---\n{WORKFLOW}")
    assert main.run(["up", str(tmp_path / "all.yaml"), "--yes"]) == 1
    said = capsys.readouterr().err
    assert said.count("a file holds one document here") == 1 and "1 fault;" in said and not engine.operations


@pytest.mark.parametrize(
    ("plan", "typed", "code", "said"),
    [
        ({"blockers": [{"message": "no"}]}, ["--yes"], 5, "Blocked: nothing was applied. What was published stays"),
        ({}, [], 4, "Not applied. The plan stays for a while: sluice apply plan_1"),
    ],
)
def test_a_plan_is_applied_only_when_it_can_changes_something_and_somebody_agrees(
    engine: Engine,
    files: list[str],
    plan: dict[str, Any],
    typed: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine.plan |= plan
    assert main.run(["up", *files, *typed]) == code
    assert engine.operations[-1] == "deployment_plan"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [
        ("running", 0, "Nothing to change: it runs as the files say."),
        ("degraded", 6, "Nothing to change; it is degraded: my-flow--a is down."),
        ("failed", 1, "Nothing to change; it is failed: my-flow--a is down."),
        ("applying", 7, "Nothing to change; it is applying: my-flow--a is down."),
    ],
)
def test_where_nothing_is_to_be_changed_it_ends_as_the_deployment_stands(
    engine: Engine, files: list[str], state: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.plan["summary"] = {"create": 0, "unchanged": 9}
    engine.state, engine.reason = state, "my-flow--a is down."
    assert main.run(["up", *files, "--yes"]) == code
    assert engine.operations[-2:] == ["deployment_plan", "deployment_get"] and said in capsys.readouterr().err
