"""The floor of a plan: read a document of steps, order them (Kahn), and compare them with what was applied."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import orjson


def plan(text: bytes, applied: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(action, step) along the data; raises ValueError for a circle."""
    steps = {step["id"]: step for step in orjson.loads(text)["steps"]}
    changes = []
    for name in _ordered(steps):
        old = applied.get(name)
        if old is None:
            changes.append(("create", name))
        elif old != steps[name]:
            changes.append(("update", name))
        else:
            changes.append(("unchanged", name))
    changes += [("remove", name) for name in applied if name not in steps]
    return changes


def _ordered(steps: Mapping[str, Any]) -> list[str]:
    waits = {name: len(step["after"]) for name, step in steps.items()}
    followers: dict[str, list[str]] = {name: [] for name in steps}
    for name, step in steps.items():
        for before in step["after"]:
            followers[before].append(name)
    ready = deque(name for name, count in waits.items() if count == 0)
    out = []
    while ready:
        name = ready.popleft()
        out.append(name)
        for after in followers[name]:
            waits[after] -= 1
            if waits[after] == 0:
                ready.append(after)
    if len(out) != len(steps):
        raise ValueError("the steps run in a circle")
    return out
