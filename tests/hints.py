"""Every hint that is written in the engine, for the tests of what the doors make of them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import core
from tests import sources


@cache
def hints() -> tuple[str, ...]:
    """The hints that are written in the engine."""
    found = []
    for _, tree in sources.trees(Path(core.__file__).parent, word="hint="):
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                parts = [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
                found.append(" ".join(part for part in parts if isinstance(part, str)))
    return tuple(found)
