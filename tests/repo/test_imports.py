"""A helper of the tests has one name, the one that begins with `tests.`: two names are two modules with two states.

That no import is relative, ruff sees (ban-relative-imports).
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests import sources
from tests.sources import TESTS

STATEMENT = re.compile(r"\bfrom\s+([\w.]+)\s+import\s+(\([^)]*\)|.*)|\bimport\s+(.*)")


def nicknames(source: str, folder: Path) -> list[str]:
    """What a module imports from the tests by another name: from their top, or from its own folder as scripts can."""
    said: set[str] = set()
    for module, names, modules in STATEMENT.findall(source):
        said |= {module, *(f"{module}.{name}" for name in re.findall(r"\w+", names)), *re.findall(r"[\w.]+", modules)}
    if not any(named(name, folder) for name in said):
        return []  # without a look at its tree, which takes most of the time
    imported: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            imported += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in imported if named(name, folder)]


def named(name: str, folder: Path) -> bool:
    """Whether this is a helper, from the top of the tests or from the folder."""
    return any((top / f"{name.replace('.', '/')}.py").is_file() for top in (TESTS, folder))


def test_helpers_are_imported_by_their_one_name() -> None:
    modules = sources.files(TESTS)
    found = {path.relative_to(TESTS).as_posix(): nicknames(sources.text(path), path.parent) for path in modules}
    assert {name: names for name, names in found.items() if names} == {}
    assert len(modules) > 400


def test_the_rule_sees_the_other_names() -> None:
    source = "from engines import ADMIN\nfrom kv import stores\nimport rig\nfrom tests.engines import USER\nimport json"
    assert nicknames(source, TESTS / "dsl") == ["engines", "kv.stores", "rig"]
    for line, name in (("from engines import ADMIN", "engines"), ("from kv import stores", "kv.stores")):
        assert nicknames(f"def f():\n    {line}", TESTS / "dsl") == [name]
    assert nicknames("import json, rig", TESTS / "dsl") == ["rig"]
