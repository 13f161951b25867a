"""Tests wait in one place, and none of them takes half a line for a whole one (that nothing sleeps, ruff sees)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import waiting

TESTS = Path(__file__).parents[1]
READS = {"read_text", "read_bytes", "readlines"}


def called(node: ast.AST) -> str:
    """The name of what a call calls, without what stands before the last dot."""
    if not isinstance(node, ast.Call):
        return ""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def looks(tree: ast.AST) -> Iterator[ast.AST]:
    """What the calls of `until` look at again and again: lambdas, and functions of the same module (no fixtures)."""
    functions = {
        node.name: node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in ("until", "until_now"):
            reached = [*node.args, *(keyword.value for keyword in node.keywords)]
            known: set[str] = set()
            while reached:
                one = reached.pop()
                yield one
                names = {name.id for name in ast.walk(one) if isinstance(name, ast.Name)} & functions.keys()
                reached += [functions[name] for name in names - known]
                known |= names


def faults(source: str) -> list[int]:
    """The lines of a module that read a file which somebody may be writing to."""
    tree = ast.parse(source)
    return sorted({node.lineno for look in looks(tree) for node in ast.walk(look) if called(node) in READS})


MODULES = sorted(path for path in TESTS.rglob("*.py") if path.name != "waiting.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_what_is_waited_for_is_read_by_whole_lines(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == [], "read it with waiting.lines"


def test_the_rule_sees_a_read_in_a_lambda_and_behind_a_function() -> None:
    assert faults("waiting.until(lambda: path.read_text())") == [1]
    assert faults("def f():\n    return g()\ndef g():\n    return p.read_bytes()\nwaiting.until(f)") == [4]
    assert faults("waiting.until(lambda: waiting.lines(path))\npath.read_text()") == []


SLEEPS = re.compile(r"\bwaiting\.(turn|pause|pause_thread)\(.*\)(  # .+)?$")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_a_test_that_lets_time_or_rounds_go_by_says_why(path: Path) -> None:
    """They are no way to wait for something, so each of them is about the time or the rounds themselves."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [(number, SLEEPS.search(line)) for number, line in enumerate(lines, 1)]
    assert [number for number, sleep in found if sleep is not None and not sleep[2]] == []


def test_only_whole_lines_of_a_growing_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "grows"
    assert (waiting.lines(path), waiting.size(path)) == ([], 0)
    path.write_bytes('{"n": 1}\n{"n": ü'.encode()[:-1])
    assert waiting.lines(path) == ['{"n": 1}']


@pytest.mark.anyio
async def test_a_wait_ends_with_what_it_saw() -> None:
    seen = iter(range(5))
    assert await waiting.until(lambda: next(seen), lambda n: n == 3, every=0) == 3
    with pytest.raises(AssertionError, match="not enough after 0 s: 4"):
        await waiting.until(lambda: next(seen), lambda n: n > 4, seconds=0)
    with pytest.raises(AssertionError, match="not enough after 0 s: ''"):
        waiting.until_now(str, seconds=0)


PRODUCT = sorted(path for room in ("core", "mcp_server") for path in (TESTS.parent / room).rglob("*.py"))


def test_a_wait_that_is_called_off_ends() -> None:
    """asyncio.wait_for of Python 3.11 forgets a cancellation that comes with what it waits for."""
    assert [path for path in PRODUCT if "asyncio.wait_for(" in path.read_text(encoding="utf-8")] == []
    assert len(PRODUCT) > 400
