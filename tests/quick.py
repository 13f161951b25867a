"""Which files of tests are quick: those that start neither processes nor engines nor doors (`make quick`).

It is read off what a file imports, itself or through helpers of the tests, so that no list has to be kept.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
STARTERS = frozenset({
    *("asyncio.subprocess", "multiprocessing", "nats", "playwright", "psutil", "pty", "subprocess", "uvicorn"),
    *("core.confinement", "core.engine", "core.fleet", "core.ownership", "mcp_server"),
})  # fmt: skip
CALLS = frozenset({"create_subprocess_exec", "create_subprocess_shell", "fork", "open_process", "run_process"})


def starts(path: Path) -> bool:
    """Whether a file of tests can start a process, an engine or a door."""
    return any(_starts(each) for each in _with_helpers(path))


def _with_helpers(path: Path) -> Iterator[Path]:
    known, left = {path}, [path]
    while left:
        yield (one := left.pop())
        helpers = {ROOT / f"{name.replace('.', '/')}.py" for name in _names(one)[0] if name.startswith("tests.")}
        new = {helper for helper in helpers - known if helper.exists()}
        known |= new
        left += new


@cache
def _names(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """What a module imports, and the attributes that it reads."""
    imported, read = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Attribute):
            read.add(node.attr)
    return frozenset(imported), frozenset(read)


def _starts(path: Path) -> bool:
    imported, read = _names(path)
    above = {name[:end] for name in imported for end in (*_dots(name), len(name))}
    return bool(above & STARTERS or read & CALLS)


def _dots(name: str) -> list[int]:
    return [at for at, sign in enumerate(name) if sign == "."]
