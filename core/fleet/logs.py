"""What jobs wrote to their logs, as their workers sent it: all of it goes to the logbook, the last lines stay here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from core import clock
from core.model.log_line import LogLine
from core.store.log_chunks import Source
from core.store.logbook import Logbook

LOG_LINES = 500  # of one workload
LOG_CHARACTERS = 128 * 1024
MOST_LOGS = 5000  # workloads whose lines are kept, also when they are gone


class _Last:
    """The last lines of one log, bounded in number and in size."""

    __slots__ = ("_characters", "_kept")

    def __init__(self) -> None:
        self._kept: deque[LogLine] = deque()
        self._characters = 0

    def __iter__(self) -> Iterator[LogLine]:
        return iter(self._kept)

    def add(self, line: LogLine) -> None:
        self._kept.append(line)
        self._characters += len(line.text)
        while len(self._kept) > LOG_LINES or (self._characters > LOG_CHARACTERS and len(self._kept) > 1):
            self._characters -= len(self._kept.popleft().text)


class JobLogs:
    """The last lines of every workload, and who waits for one."""

    def __init__(self, book: Logbook) -> None:
        self.book = book
        self._lines: dict[str, _Last] = {}
        self._waiters: dict[str, set[asyncio.Event]] = {}

    def add(self, source: Source, at_ns: int, level: str, text: str, fields: dict[str, Any]) -> None:
        line = self.book.add(source, at_ns, level, text, fields)
        workload = source.workload
        lines = self._lines.get(workload)
        if lines is None:
            if len(self._lines) >= MOST_LOGS:
                del self._lines[next(iter(self._lines))]
            lines = self._lines[workload] = _Last()
        lines.add(line)
        for waiter in self._waiters.get(workload, ()):
            waiter.set()

    def of(self, workload: str) -> list[LogLine]:
        """The last lines of one workload, the oldest first."""
        return list(self._lines.get(workload, ()))

    def workloads(self, tenant: str, job: str) -> list[str]:
        """The ids of a job's replicas that have lines here, also of those that are gone."""
        start = f"{tenant}/{job}#"
        return [id for id in self._lines if id.startswith(start)]

    def seq(self, tenant: str, job: str) -> int:
        """The seq of the last line of a job that came since the engine has started; 0 when there is none."""
        return max((line.seq for id in self.workloads(tenant, job) for line in self.of(id)[-1:]), default=0)

    @contextmanager
    def watch(self, workloads: Sequence[str]) -> Iterator[asyncio.Event]:
        """An event that is set by the next line of any of these workloads."""
        arrived = asyncio.Event()
        for id in workloads:
            self._waiters.setdefault(id, set()).add(arrived)
        try:
            yield arrived
        finally:
            for id in workloads:
                self._waiters[id].discard(arrived)
                if not self._waiters[id]:
                    del self._waiters[id]


def to_answer(workload: str, line: LogLine) -> dict[str, Any]:
    """A line as operations answer it."""
    out = {"workload": workload, "at": clock.iso(line.at_ns), "level": line.level, "text": line.text}
    return {**out, "fields": line.fields} if line.fields else out
