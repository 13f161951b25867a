"""A fixed sample of 200 mutants of core, and whether the suite kills them: what a clean-up of the tests is held to.

`sample.json` holds the mutants, made once by cosmic-ray 8.7 (seed 20261130) over core/triggers, deployments, store,
identity, dsl and worker: the lines before and after, and `killed`, whether the suite of 2026-11-30 killed it. A change
may lower no `killed`. Code that moves takes its mutants along: change `file`, `scope` and the lines in the same commit.

    make mutants        about an hour: both steps below
    pytest -p tests.mutants.reach -n auto           which tests reach which mutant (build/mutants/reach-*.json)
    python -m tests.mutants [--jobs 2] [ID ...]     run each mutant against the tests that reach it
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SAMPLE = Path(__file__).parent / "sample.json"
BUILD = ROOT / "build" / "mutants"


class Mutant(NamedTuple):
    """One change of one place of the source."""

    id: str
    file: str
    """Below the root of the checkout."""
    scope: str
    """The qualified name of the function or class around it; empty for the module."""
    operator: str
    before: str
    """The whole lines that are replaced; they occur once in the scope."""
    after: str
    killed: bool

    def first_line(self, source: str) -> int:
        """The number of the first replaced line, from 1. Raises LookupError when `before` is not in the scope."""
        low, high = span(source, self.scope)
        lines, wanted = source.splitlines(), self.before.splitlines()
        starts = [at for at in range(low, high + 1) if lines[at - 1 : at - 1 + len(wanted)] == wanted]
        if not starts:
            raise LookupError(
                f"{self.id}: {self.file} has no such lines in {self.scope or 'the module'}: {self.before}"
            )
        return starts[0]

    def apply(self, source: str) -> str:
        """The source of the file with the mutant in it."""
        lines, at = source.splitlines(), self.first_line(source) - 1
        return "\n".join([*lines[:at], *self.after.splitlines(), *lines[at + len(self.before.splitlines()) :], ""])


def sample() -> list[Mutant]:
    return [Mutant(**one) for one in json.loads(SAMPLE.read_text(encoding="utf-8"))]


def span(source: str, scope: str) -> tuple[int, int]:
    """The first and last line of a scope, its decorators included. Raises LookupError when there is none."""
    import ast

    node: ast.AST = ast.parse(source)
    first, last = 1, len(source.splitlines())
    for name in filter(None, scope.split(".")):
        inner = [one for one in _scopes(node) if one.name == name]
        if not inner:
            raise LookupError(f"no scope {scope}")
        node = inner[0]
        first = min([inner[0].lineno, *(one.lineno for one in inner[0].decorator_list)])
        last = inner[0].end_lineno or first
    return first, last


def _scopes(node: object) -> list:  # type: ignore[type-arg]
    import ast

    found, left = [], list(ast.iter_child_nodes(node))  # type: ignore[arg-type]
    while left:
        one = left.pop(0)
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(one)
        else:
            left += ast.iter_child_nodes(one)
    return found
