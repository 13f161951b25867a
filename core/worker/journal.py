"""The logs of the jobs of one worker: every line is kept for a while, and forwarded to the engine at a bounded rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from core import clock
from core.worker.link import Link

LINES_PER_SECOND = 200  # of one job, that the engine gets
KEPT_LINES = 200
KEPT_CHARACTERS = 128 * 1024  # of one job

Line = tuple[int, str, str, dict[str, Any]]
"""(at in ns, level, text, fields)"""


class Lines:
    """The last lines of one log, bounded in number and in size."""

    __slots__ = ("_characters", "_kept", "_most")

    def __init__(self, most: int = KEPT_LINES) -> None:
        self._kept: deque[Line] = deque()
        self._most = most
        self._characters = 0

    def __iter__(self) -> Iterator[Line]:
        return iter(self._kept)

    def add(self, line: Line) -> None:
        self._kept.append(line)
        self._characters += len(line[2])
        while len(self._kept) > self._most or (self._characters > KEPT_CHARACTERS and len(self._kept) > 1):
            self._characters -= len(self._kept.popleft()[2])


@dataclass(slots=True)
class _Log:
    lines: Lines = field(default_factory=Lines)
    second: int = 0
    told: int = 0  # lines in that second


class Journal:
    """Made by the runtime; `link` is asked for when a line comes, because it exists only while the worker serves."""

    def __init__(self, link: Callable[[], Link], now_ns: Callable[[], int] = clock.now_ns) -> None:
        self._link = link
        self._now_ns = now_ns
        self._logs: dict[str, _Log] = {}

    def write(self, workload: str, level: str, text: str, fields: dict[str, Any] | None = None) -> None:
        """Take one line; what the engine does not get is counted in a line of its own in the next second."""
        link = self._link()
        log = self._logs.get(workload)
        if log is None:
            log = self._logs[workload] = _Log()
        now = self._now_ns()
        second = now // clock.NANOSECONDS
        if second != log.second:
            left_out = log.told - LINES_PER_SECOND
            log.second, log.told = second, 0
            if left_out > 0:
                link.log(workload, now, "warning", f"{left_out} log lines were left out", {})
        text, given = link.clean(workload, text, fields or {})
        log.lines.add((now, level, text, given))
        log.told += 1
        if log.told <= LINES_PER_SECOND:
            link.log(workload, now, level, text, given)

    def tail(self, workload: str, lines: int, after_ns: int) -> list[Line]:
        """The last lines that are kept and younger than `after_ns`, the oldest first."""
        log = self._logs.get(workload)
        if log is None:
            return []
        young = [line for line in log.lines if line[0] > after_ns]
        return young[-lines:] if lines else []

    def forget(self, workload: str) -> None:
        self._logs.pop(workload, None)
