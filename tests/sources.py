"""The modules of the repository, for tests that read the source: each file is read and parsed once in a process.

Syntax trees are large, so what is kept of a module is a summary. `trees` parses again, but only modules with a word.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
PRODUCT = (ROOT / "core", ROOT / "mcp_server")


@dataclass(frozen=True)
class Module:
    """What most rules ask of a module."""

    path: Path
    docstring: str
    imported: tuple[tuple[str, tuple[str, ...]], ...]
    """Each import: the module, and the names that are taken from it (none of `import x`)."""
    loaded: tuple[str, ...]
    """The constant arguments of `import_module`."""
    functions: tuple[str, ...]
    """The functions at its top, and those of its classes."""

    @property
    def name(self) -> str:
        """The path from the root of the repository."""
        return self.path.relative_to(ROOT).as_posix()


def files(*tops: Path) -> list[Path]:
    """Every Python file below these folders."""
    return [path for top in tops for path in sorted(top.rglob("*.py"))]


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def trees(*tops: Path, word: str) -> Iterator[tuple[Path, ast.Module]]:
    """The syntax tree of every module below these folders that has the word in it."""
    for path in files(*tops):
        if word in text(path):
            yield path, ast.parse(text(path))


def called(node: ast.Call) -> str:
    """The name of what a call calls, without what stands before the last dot."""
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


@cache
def product() -> tuple[Module, ...]:
    """Every module of `core` and `mcp_server`."""
    return tuple(_summary(path) for path in files(*PRODUCT))


def _summary(path: Path) -> Module:
    tree = ast.parse(text(path))
    imported: list[tuple[str, tuple[str, ...]]] = []
    loaded: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported += [(alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            imported.append((node.module, tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Call) and called(node) == "import_module":
            loaded += [str(node.args[0].value)] if isinstance(node.args[0], ast.Constant) else []
    functions = [
        node.name
        for top in tree.body
        for node in (top.body if isinstance(top, ast.ClassDef) else [top])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return Module(path, ast.get_docstring(tree) or "", tuple(imported), tuple(loaded), tuple(functions))
