"""Every hint that is written in the engine, for the tests of what the doors make of them."""

from __future__ import annotations

import ast
from pathlib import Path

import core


def hints() -> list[str]:
    """The hints that are written in the engine."""
    found = []
    for file in sorted(Path(core.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                parts = [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
                found.append(" ".join(part for part in parts if isinstance(part, str)))
    return found
