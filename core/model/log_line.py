"""A line of the log of a workload, as the engine keeps it."""

from __future__ import annotations

from typing import Any, NamedTuple

LEVELS = ("print", "debug", "info", "warning", "error")


class LogLine(NamedTuple):
    seq: int
    """Grows with every line that an engine takes, of whatever workload, also over its restarts."""
    at_ns: int
    """By the clock of the worker."""
    level: str
    text: str
    fields: dict[str, Any]


def mask(level: str) -> int:
    """The bit of a level; those that we do not know share one."""
    return 1 << (LEVELS.index(level) if level in LEVELS else len(LEVELS))


def mask_from(least: str | None) -> int:
    """The bits of a level and of those above it; of all levels without one."""
    every = (1 << len(LEVELS) + 1) - 1
    return every if least is None else (1 << len(LEVELS)) - mask(least)
