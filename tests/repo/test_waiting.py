"""Tests wait in one place, and none of them takes half a line for a whole one (that nothing sleeps, ruff sees)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import sources, waiting

READS = {"read_text", "read_bytes", "readlines"}


def looks(tree: ast.AST) -> Iterator[ast.AST]:
    """What the calls of `until` look at again and again: lambdas, and functions of the same module (no fixtures)."""
    functions = {
        node.name: node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and sources.called(node) in ("until", "until_now"):
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
    if "until" not in source or not any(read in source for read in READS):
        return []  # without a look at its tree, which takes most of the time
    calls = (node for look in looks(ast.parse(source)) for node in ast.walk(look) if isinstance(node, ast.Call))
    return sorted({call.lineno for call in calls if sources.called(call) in READS})


MODULES = [path for path in sources.files(sources.TESTS) if path.name != "waiting.py"]


def test_what_is_waited_for_is_read_by_whole_lines() -> None:
    places = [f"{path.relative_to(sources.TESTS)}:{line}" for path in MODULES for line in faults(sources.text(path))]
    assert places == [], "read it with waiting.lines"
    assert len(MODULES) > 400


def test_the_rule_sees_a_read_in_a_lambda_and_behind_a_function() -> None:
    assert faults("waiting.until(lambda: path.read_text())") == [1]
    assert faults("def f():\n    return g()\ndef g():\n    return p.read_bytes()\nwaiting.until(f)") == [4]
    assert faults("waiting.until(lambda: waiting.lines(path))\npath.read_text()") == []


SLEEPS = re.compile(r"\bwaiting\.(turn|pause|pause_thread)\(.*\)(  # .+)?$")


def test_a_test_that_lets_time_or_rounds_go_by_says_why() -> None:
    """They are no way to wait for something, so each of them is about the time or the rounds themselves."""
    places = [
        f"{path.relative_to(sources.TESTS)}:{number}"
        for path in MODULES
        for number, line in enumerate(sources.text(path).splitlines(), 1)
        if "waiting." in line and (sleep := SLEEPS.search(line)) is not None and not sleep[2]
    ]
    assert places == []


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


def test_a_wait_that_is_called_off_ends() -> None:
    """asyncio.wait_for of Python 3.11 forgets a cancellation that comes with what it waits for."""
    product = sources.files(*sources.PRODUCT)
    assert [path for path in product if "asyncio.wait_for(" in sources.text(path)] == []
    assert len(product) > 400
