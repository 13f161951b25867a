"""The order in which tests run. xdist's `worksteal` gives each process a part of the list and moves tests from its end.

Files that start something come first: what is left at the end is small, so no process waits long for the last one.
"""

from __future__ import annotations

import itertools
import random
import subprocess
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests import quick

ROOT = Path(__file__).parents[1]
FAR = 99


def arrange(items: list[pytest.Item], *, near: str | None, shuffle: str | None) -> None:
    """Order items in place, each file in one piece.

    `near`: a revision of git; the fewer imports lie between a test file and what changed since, the earlier it runs.
    `shuffle`: the seed of a random order.
    """
    files = [(path, list(group)) for path, group in itertools.groupby(items, key=lambda item: item.path)]
    if shuffle is not None:
        chance = random.Random(shuffle)
        chance.shuffle(files)
        for _, group in files:
            chance.shuffle(group)
    elif near is not None:
        distance = distances(changed_since(near), {path for path, _ in files})
        files.sort(key=lambda file: distance[file[0]])
    else:
        files.sort(key=lambda file: not quick.starts(file[0]))
    items[:] = [item for _, group in files for item in group]


def changed_since(revision: str) -> set[Path]:
    """The files that differ between a revision and the working tree."""
    listed = subprocess.run(
        ["git", "diff", "--name-only", revision], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return {ROOT / name for name in listed.splitlines()}


def distances(changed: Iterable[Path], files: Iterable[Path]) -> dict[Path, int]:
    """How many imports lead from each file to the nearest changed one; FAR where none does."""
    importers: dict[Path, set[Path]] = {}
    left, seen = list(files), set()
    while left:
        one = left.pop()
        if one in seen:
            continue
        seen.add(one)
        for other in quick.imported_files(one):
            importers.setdefault(other, set()).add(one)
            left.append(other)
    known: dict[Path, int] = dict.fromkeys(changed, 0)
    ahead = deque(known)
    while ahead:
        path = ahead.popleft()
        for importer in importers.get(path, ()):
            if importer not in known:
                known[importer] = known[path] + 1
                ahead.append(importer)
    return {path: known.get(path, FAR) for path in files}
