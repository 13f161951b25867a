"""A line of the log of a workload, as the engine keeps it."""

from __future__ import annotations

from typing import Any, NamedTuple

LEVELS = ("print", "debug", "info", "warning", "error")


class InRun(NamedTuple):
    """In which run a line was written; nothing is known of lines of before there was this."""

    run: str
    """What its worker calls it; empty when it was in none."""
    invocation: str
    """The id of the invocation whose message started it; empty when none did."""


NO_RUN = InRun("", "")


class LogLine(NamedTuple):
    seq: int
    """Grows with every line that an engine takes, of whatever workload, also over its restarts."""
    at_ns: int
    """By the clock of the worker."""
    level: str
    text: str
    fields: dict[str, Any]
    in_run: InRun = NO_RUN


def mask(level: str) -> int:
    """The bit of a level; those that we do not know share one."""
    return 1 << (LEVELS.index(level) if level in LEVELS else len(LEVELS))


def mask_from(least: str | None) -> int:
    """The bits of a level and of those above it; of all levels without one."""
    every = (1 << len(LEVELS) + 1) - 1
    return every if least is None else (1 << len(LEVELS)) - mask(least)
