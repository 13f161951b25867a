"""Which files of tests are quick: those that start neither processes nor engines nor doors (`make quick`).

It is read off what a file imports, itself or through helpers of the tests, so that no list has to be kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
STARTERS = frozenset({
    *("asyncio.subprocess", "multiprocessing", "nats", "playwright", "psutil", "pty", "subprocess", "uvicorn"),
    *("core.confinement", "core.engine", "core.fleet", "core.ownership", "mcp_server"),
})  # fmt: skip
IMPORT = re.compile(r"^[ \t]*(?:from ([\w.]+) import (\([^)]*\)|[^\n#]+)|import ([\w., ]+))", re.MULTILINE)
ATTRIBUTE = re.compile(r"\.([a-z_]+)")
CALLS = frozenset({"create_subprocess_exec", "create_subprocess_shell", "fork", "open_process", "run_process"})


@cache
def starts(path: Path) -> bool:
    """Whether a file of tests can start a process, an engine or a door."""
    return any(_starts(each) for each in _with_helpers(path))


@cache
def imported_files(path: Path) -> set[Path]:
    """The files of this checkout that a module imports itself."""
    places = [ROOT / name.replace(".", "/") for name in _names(path)[0]]
    files = {file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")}
    return {file for file in files if file.exists()}


def _with_helpers(path: Path) -> Iterator[Path]:
    known, left = {path}, [path]
    while left:
        yield (one := left.pop())
        new = {file for file in imported_files(one) - known if file.is_relative_to(ROOT / "tests")}
        known |= new
        left += new


@cache
def _names(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """What a module imports and the attributes that it reads. By patterns: each test process reads all test files."""
    text, imported = path.read_text(encoding="utf-8"), set()
    for module, names, modules in IMPORT.findall(text):
        imported |= set(re.findall(r"[\w.]+", modules))
        if module:
            imported |= {module, *(f"{module}.{name}" for name in re.findall(r"(?:^|[(,])\s*(\w+)", names))}
    return frozenset(imported), frozenset(ATTRIBUTE.findall(text))


def _starts(path: Path) -> bool:
    imported, read = _names(path)
    above = {name[:end] for name in imported for end in (*_dots(name), len(name))}
    return bool(above & STARTERS or read & CALLS)


def _dots(name: str) -> list[int]:
    return [at for at, sign in enumerate(name) if sign == "."]
