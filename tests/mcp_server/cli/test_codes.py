"""What scripts decide by: one exit code for each way that a command ends, and no other in the code."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import re
from pathlib import Path
from typing import Any

import pytest

from core import errors, ownership
from mcp_server.cli import codes, connect, console, deployments, failures, forms, main
from tests import cases, sources

HERE = Path(codes.__file__).parent


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound(), 1),
        (errors.InvalidParams(), 1),
        (errors.TargetUnavailable(), 1),
        (errors.NoEngine(), 3),
        (errors.Forbidden(), 4),
        (errors.StalePlan(), 4),
        (errors.PlanBlocked(), 5),
        (errors.Busy(), 7),
        (errors.Unconfirmed(), 7),
        (KeyError("a bug"), 1),
    ],
)
def test_a_fault_ends_a_command_with_the_code_of_its_class(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failures.report(error, as_json=False) == code
    assert capsys.readouterr().err.startswith("error: ")


@cases.table(
    ("state", "waited", "code"),
    [
        ("running", True, 0),
        ("warning", True, 0),
        ("removed", True, 0),
        ("failed", False, 1),
        ("degraded", True, 6),
        ("applying", True, 7),
        ("applying", False, 0),
    ],
)
def test_what_became_of_a_plan_has_a_code(state: str, waited: bool, code: int) -> None:
    assert codes.of_apply(state, waited=waited) == code


@cases.table(
    ("state", "given", "code"),
    [
        ("succeeded", {}, 0),
        ("failed", {"wait_timeout_seconds": 0}, 1),
        ("timed_out", {}, 1),
        ("dispatched", {}, 7),
        ("dispatched", {"wait_timeout_seconds": 0}, 0),
    ],
)
def test_a_run_that_goes_on_is_unfinished_only_for_who_waited(state: str, given: dict[str, Any], code: int) -> None:
    assert forms.outcome({"state": state}, given) == code


@cases.table(
    ("state", "given", "code"),
    [
        ("running", {}, 0),
        ("degraded", {}, 6),
        ("failed", {}, 1),
        ("degraded", {"dry_run": True}, 0),
        ("applying", {}, 7),
        ("applying", {"wait_seconds": 0}, 0),
    ],
)
def test_a_reconciliation_ends_as_the_deployment_stands(state: str, given: dict[str, Any], code: int) -> None:
    form = forms.FORMS["deployment_reconcile"]
    assert form.fails is not None and form.fails({"state": state}, given) == code


def test_how_deployments_are_is_told_by_the_worst() -> None:
    fine, drifting = {"state": "running", "drift": 0}, {"state": "running", "drift": [{"muted": False}]}
    muted, degraded = {"state": "running", "drift": [{"muted": True}]}, {"state": "degraded", "drift": 1}
    assert [deployments.standing(some) for some in ([], [fine, muted], [drifting], [drifting, degraded])] == [
        0,
        0,
        2,
        6,
    ]


def every(kind: type[errors.SluiceError]) -> list[type[errors.SluiceError]]:
    return [
        kind,
        *(one for below in kind.__subclasses__() if below.__module__ == kind.__module__ for one in every(below)),
    ]


def test_the_table_of_faults_is_what_runs() -> None:
    text = (HERE.parents[1] / "docs" / "cli.md").read_text(encoding="utf-8")
    table = text.partition("| code | faults |")[2].partition("\n\n")[0]
    told = {int(code): faults for code, faults in re.findall(r"^\| (\d+) \| (.+) \|$", table, re.MULTILINE)}
    for kind in every(errors.SluiceError):
        narrower = codes.NARROWER.get(kind)
        fault = rf"`{kind.code}`, {re.escape(narrower)}" if narrower else rf"`{kind.code}`(?=, `|$)"
        documented = [code for code, faults in told.items() if re.search(fault, faults)] or [codes.FAILED]
        assert documented == [codes.of_error(kind())], kind.__name__


def test_a_console_without_an_engine_is_told_by_its_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["console", "--home", str(tmp_path)]) == codes.NO_ENGINE
    owned = ownership.acquire(tmp_path)  # an engine of an MCP session, which serves no HTTP
    assert owned is not None
    try:
        with contextlib.closing(owned.listen()):
            assert asyncio.run(refused(tmp_path)) is errors.TargetUnavailable
    finally:
        owned.release()


async def refused(home: Path) -> type[errors.SluiceError]:
    with pytest.raises(errors.TargetUnavailable) as found:
        await console._address(connect.Common(home=home))
    return type(found.value)


def test_every_code_that_a_command_returns_is_named_and_documented() -> None:
    named = {value for name, value in vars(codes).items() if name.isupper() and isinstance(value, int)}
    assert named == set(codes.MEANING)
    assert set(codes.ERRORS.values()) <= named
    bare = []
    for path, tree in sources.trees(HERE, word="return "):
        for node in ast.walk(tree):
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Constant) and type(node.value.value) is int:
                bare += [f"{path.name}:{node.lineno}"] if node.value.value not in (0, 1) else []
    assert bare == [], "a code has a name"
