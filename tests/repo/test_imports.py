"""A helper of the tests has one name, the one that begins with `tests.`: two names are two modules with two states.

That no import is relative, ruff sees (ban-relative-imports).
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MODULES = sorted(TESTS.rglob("*.py"))


def nicknames(source: str, folder: Path) -> list[str]:
    """What a module imports from the tests by another name: from their top, or from its own folder as scripts can."""
    named: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            named += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in named for top in {TESTS, folder} if (top / f"{name.replace('.', '/')}.py").exists()]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_helpers_are_imported_by_their_one_name(path: Path) -> None:
    assert nicknames(path.read_text(encoding="utf-8"), path.parent) == []


def test_the_rule_sees_the_other_names() -> None:
    source = "from engines import ADMIN\nfrom kv import stores\nimport rig\nfrom tests.engines import USER\nimport json"
    assert nicknames(source, TESTS / "dsl") == ["engines", "kv.stores", "rig"]
