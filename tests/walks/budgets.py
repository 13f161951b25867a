"""What each walk may cost, for each eye: calls and characters of answers. Budgets only fall.

`SLUICE_WALKS=measure` writes what has become less, and walks that are new. Who needs more than before changes the file
by hand (without its entry a walk is new), and says in the commit what for.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import orjson

FILE = Path(__file__).with_name("budget.json")
MEASURE = os.environ.get("SLUICE_WALKS") == "measure"
NOISE = 0.03  # ids, times and numbers are not always of one length
FAR = 0.15  # so far below, a budget says nothing any more


class Cost(NamedTuple):
    calls: int
    characters: int


Budget = dict[str, dict[str, Cost]]
"""Task -> eye -> cost."""


class CanFall(UserWarning):
    """A walk costs much less than it may."""


def read(file: Path = FILE) -> Budget:
    raw = orjson.loads(file.read_bytes()) if file.exists() else {}
    return {task: {eye: Cost(*cost) for eye, cost in eyes.items()} for task, eyes in raw.items()}


def judge(allowed: Cost | None, measured: Cost) -> str:
    """Why the walk costs too much; empty when it does not."""
    if allowed is None:
        return "it has no budget yet: SLUICE_WALKS=measure pytest -p no:xdist tests/walks writes it"
    if measured.calls > allowed.calls:
        return f"it takes {measured.calls} calls, and may take {allowed.calls}"
    if measured.characters > allowed.characters * (1 + NOISE):
        return f"its answers have {measured.characters} characters, and may have {allowed.characters}"
    return ""


def can_fall(allowed: Cost, measured: Cost) -> bool:
    return measured.calls < allowed.calls or measured.characters < allowed.characters * (1 - FAR)


def lowered(allowed: Cost | None, measured: Cost) -> Cost:
    """The budget after a measurement: never more than before, and noise is no reason to touch it."""
    if allowed is None or (can_fall(allowed, measured) and not judge(allowed, measured)):
        return measured
    return allowed


def write(budget: Budget, file: Path = FILE) -> None:
    """In the order of tasks, a line for each eye."""
    tasks = []
    for task, eyes in budget.items():
        lines = [f'    "{eye}": [{cost.calls}, {cost.characters}]' for eye, cost in sorted(eyes.items())]
        tasks.append(f'  "{task}": {{\n' + ",\n".join(lines) + "\n  }")
    file.write_text("{\n" + ",\n".join(tasks) + "\n}\n", encoding="utf-8")
